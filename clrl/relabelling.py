"""Scores under other labels than the inferred one: what recognition costs, and gives.

The *true label* of a task is the one under which most of its training was. A task that
was not trained on yet has none. Under *no label* only what all tasks share is used:
gains are 1 and biases 0, and every answer is allowed.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from clrl import records
from clrl.history import history_of, read_history
from clrl.records import Labelling
from clrl.summary_recognition import labels_of_tasks
from clrl.types import NO_TASK, TaskId


class TrueLabels:
    """Follows visits and labels as they are recorded."""

    def __init__(self) -> None:
        self._kept: list[records.Record] = []

    def add(self, record: records.Record) -> None:
        """Takes the next record of the run."""
        if isinstance(record, records.Visit | records.Label):
            self._kept.append(record)

    def at(self, agent_steps: int, tasks: Sequence[str]) -> dict[str, TaskId]:
        """The true label of each of ``tasks`` trained on before ``agent_steps``."""
        return labels_of_tasks(history_of(self._kept), tasks, agent_steps)


def recorded_true_labels(records_path: Path, tasks: Sequence[str]) -> dict[str, TaskId]:
    """The true label of each of ``tasks`` in the whole of a run's training.

    Raises:
        CheckpointError: A line of the records is damaged.
    """
    history = read_history(records_path)
    return labels_of_tasks(history, tasks, history.agent_steps)


def relabellings(
    wanted: Sequence[Labelling], task: str, true_labels: Mapping[str, TaskId]
) -> Iterator[tuple[Labelling, TaskId]]:
    """How to score a task again: in which sense, and under which label."""
    for labelling in wanted:
        if labelling == "no_label":
            yield labelling, NO_TASK
        elif task in true_labels:
            yield labelling, true_labels[task]


def label_in_words(record: records.Evaluation | records.Relabelled) -> str:
    """Under which label a task was scored, for a line of text."""
    if isinstance(record, records.Evaluation):
        return f"as task {record.label}"
    if record.label is None:
        return "without a label"
    return f"as task {record.label}, its true label"


def relabelled(
    evaluation: records.Evaluation, labelling: Labelling
) -> records.Relabelled:
    """The record of a score that was taken under another label."""
    return records.Relabelled(
        agent_steps=evaluation.agent_steps,
        stage=evaluation.stage,
        game=evaluation.game,
        labelling=labelling,
        label=None if evaluation.label == NO_TASK else evaluation.label,
        returns=evaluation.returns,
    )
