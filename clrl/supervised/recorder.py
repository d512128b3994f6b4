"""Writes down what happens in training, and has all tasks scored after each visit."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import fmean

from torch.utils.tensorboard import SummaryWriter

from clrl import records
from clrl.metrics import Consolidated, RunningMeans
from clrl.progress import Listener, Status
from clrl.records import Labelling
from clrl.relabelling import (
    TrueLabels,
    label_in_words,
    relabelled,
    relabellings,
)
from clrl.supervised.evaluate import TaskScore, score_task, score_tasks
from clrl.supervised.train import Trainer
from clrl.types import TaskId


class Recorder:
    """Turns training into records, TensorBoard points and status lines.

    A training example stands for an agent step, a task for a game, an accuracy for a
    return. It reads the true task from the stream; the trainer does not.

    Args:
        write: Takes records.
        tensorboard: Takes points.
        listener: Is told about the run while it goes on.
        record_updates: Gradient steps between records of kind ``train``.
        also_under: Other labels than the inferred one to score each task under.
    """

    def __init__(
        self,
        write: Callable[[Sequence[records.Record]], None],
        tensorboard: SummaryWriter,
        listener: Listener,
        record_updates: int = 100,
        also_under: Sequence[Labelling] = (),
    ) -> None:
        self._write_records = write
        self._tensorboard = tensorboard
        self._listener = listener
        self._record_updates = record_updates
        self._means = RunningMeans()
        self._visit = 0
        self._label: TaskId = 0
        self._next_record = record_updates
        self._also_under = also_under
        self._true_labels = TrueLabels()

    def started(self, trainer: Trainer) -> None:
        """Scores the untrained network."""
        self._evaluate(trainer, stage=0)

    def labelled(self, trainer: Trainer) -> None:
        """Writes the new label down."""
        self._write([records.Label(agent_steps=trainer.examples, label=trainer.task)])

    def left(self, trainer: Trainer, consolidated: Consolidated) -> None:
        """Writes down what was consolidated."""
        metrics = dict(consolidated.metrics)
        self._write(
            [
                records.Consolidation(
                    agent_steps=trainer.examples,
                    task=consolidated.task,
                    metrics=metrics,
                )
            ]
        )
        self._plot(trainer, "consolidation", metrics)

    def visit_started(self, trainer: Trainer, visit: int) -> None:
        """Writes down which task is visited."""
        self._visit = visit
        self._write(
            [
                records.Visit(
                    agent_steps=trainer.examples,
                    visit=visit,
                    game=self._true_name(trainer),
                )
            ]
        )

    def updated(self, trainer: Trainer, metrics: Mapping[str, float]) -> None:
        """Gathers the update's numbers, and writes their means now and then."""
        self._means.add(metrics)
        self._label = trainer.task
        if trainer.updates >= self._next_record:
            self._record_training(trainer)
        self._listener.status(
            Status(
                game=self._true_name(trainer),
                visit=self._visit,
                visits=len(trainer.stream.visits),
                agent_steps=trainer.examples,
                total_agent_steps=trainer.stream.total_examples,
                label=trainer.task,
                exploration_rate=None,
                last_return=None,
            )
        )

    def visit_ended(self, trainer: Trainer, visit: int) -> None:
        """Scores all tasks."""
        self._record_training(trainer)
        self._evaluate(trainer, stage=visit + 1)

    def _true_name(self, trainer: Trainer) -> str:
        stream = trainer.stream
        return stream.tasks[stream.visits[self._visit]].name

    def _record_training(self, trainer: Trainer) -> None:
        self._next_record = trainer.updates + self._record_updates
        means = self._means.drain()
        if not means:
            return
        self._write(
            [
                records.Train(
                    agent_steps=trainer.examples,
                    visit=self._visit,
                    game=self._true_name(trainer),
                    # Of the updates: a told learner may have changed over since.
                    label=self._label,
                    loss=means["loss"],
                    penalty=means["penalty"],
                    gradient_norm=means["gradient_norm"],
                    exploration_rate=0.0,
                )
            ]
        )
        self._plot(trainer, "train", means)
        recognition = {
            "true_task": float(trainer.stream.visits[self._visit]),
            "label": float(self._label),
            "contexts": float(trainer.recogniser.contexts),
        }
        self._plot(trainer, "recognition", recognition)

    def _evaluate(self, trainer: Trainer, stage: int) -> None:
        true_labels = {}
        if self._also_under:
            names = [task.name for task in trainer.stream.tasks]
            true_labels = self._true_labels.at(trainer.examples, names)
        accuracies: dict[str, dict[str, float]] = {}
        for record in evaluations(
            trainer, trainer.examples, stage, self._also_under, true_labels
        ):
            self._write([record])
            group = "score"
            if isinstance(record, records.Relabelled):
                group = f"score_{record.labelling}"
            accuracies.setdefault(group, {})[record.game] = record.returns[0]
            self._plot(trainer, group, {record.game: record.returns[0]})
        visited = [trainer.stream.tasks[v].name for v in trainer.stream.visits[:stage]]
        self._listener.message(stage_in_words(accuracies, visited))

    def _write(self, new: Sequence[records.Record]) -> None:
        self._write_records(new)
        for record in new:
            self._true_labels.add(record)

    def _plot(self, trainer: Trainer, group: str, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._tensorboard.add_scalar(f"{group}/{name}", value, trainer.examples)


def stage_in_words(
    accuracies: Mapping[str, Mapping[str, float]], visited: Sequence[str]
) -> str:
    """How well all that was learnt is known after a visit, on one line.

    Args:
        accuracies: On each task, under ``score`` and perhaps ``score_true_label`` and
            ``score_no_label``.
        visited: The tasks of all visits so far; the last one has just ended.
    """
    known = accuracies["score"]
    met = list(dict.fromkeys(visited)) or list(known)
    means = {
        group.removeprefix("score").replace("_", " "): fmean(values[t] for t in met)
        for group, values in accuracies.items()
        if all(task in values for task in met)
    }
    over = ", ".join(
        f"{mean:.3f}{f' under{under}' if under else ''}"
        for under, mean in means.items()
    )
    if not visited:
        return f"untrained: accuracy {over} over {len(met)} tasks"
    after = f"after visit {len(visited)}, {visited[-1]}: accuracy"
    if len(met) == 1:
        return f"{after} {over} on it"
    return (
        f"{after} {known[visited[-1]]:.3f} on it, {over} over the {len(met)} tasks met"
    )


def evaluations(
    trainer: Trainer,
    examples: int,
    stage: int,
    also_under: Sequence[Labelling],
    true_labels: Mapping[str, TaskId],
) -> Iterator[records.Evaluation | records.Relabelled]:
    """The accuracy on each task as a record, and again under other labels.

    Args:
        trainer: Learns nothing.
        examples: Of training so far.
        stage: As the records count.
        also_under: Which labels besides the inferred one.
        true_labels: Of the tasks that were trained on.
    """
    for task, score in enumerate(score_tasks(trainer)):
        yield _record(score, examples, stage)
        for labelling, label in relabellings(also_under, score.name, true_labels):
            again = score
            if label != score.label:
                again = score_task(trainer, task, under=label)
            yield relabelled(_record(again, examples, stage), labelling)


def _record(score: TaskScore, examples: int, stage: int) -> records.Evaluation:
    """The score of one task as a record: its one return is the accuracy."""
    return records.Evaluation(
        agent_steps=examples,
        stage=stage,
        game=score.name,
        label=score.label,
        returns=(score.accuracy,),
    )


def describe(record: records.Evaluation | records.Relabelled) -> str:
    """The score of one task on one line."""
    (accuracy,) = record.returns
    return f"{record.game} {accuracy:.4f} ({label_in_words(record)})"
