"""Accuracies on tasks, without learning."""

from collections.abc import Iterator
from typing import NamedTuple

from clrl.supervised.accuracy import accuracy
from clrl.supervised.stream import ExampleBatch
from clrl.supervised.train import Trainer
from clrl.types import TaskId

PROBE_EXAMPLES = 256
"""Test examples that a recogniser sees before it names the task."""


class TaskScore(NamedTuple):
    """What testing one task gave.

    Attributes:
        name: Of the task.
        label: The inferred task under which it was tested.
        accuracy: Share of its test examples that were classified correctly.
        examples: Their number.
    """

    name: str
    label: TaskId
    accuracy: float
    examples: int


def score_tasks(trainer: Trainer) -> Iterator[TaskScore]:
    """The accuracy on the whole test set of each task, under the task that is inferred.

    The recogniser is frozen: it sees some of the test images, names the best known
    task, and learns nothing. An oracle is told the truth.
    """
    for task in range(len(trainer.stream.tasks)):
        yield score_task(trainer, task)


def score_task(
    trainer: Trainer, task: TaskId, under: TaskId | None = None
) -> TaskScore:
    """The accuracy on one task.

    Args:
        trainer: Learns nothing.
        task: Its true number.
        under: The label to classify under; None: the one that is inferred.
    """
    label = _label(trainer, task) if under is None else under
    batch = ExampleBatch.of(trainer.stream.test(task), label)
    return TaskScore(
        trainer.stream.tasks[task].name,
        label,
        accuracy(trainer.learner, batch),
        len(batch.labels),
    )


def _label(trainer: Trainer, task: TaskId) -> TaskId:
    recogniser = trainer.recogniser_config.build(lambda: task)
    recogniser.load_state_dict(trainer.recogniser.state_dict())
    images = trainer.stream.test(task).images[:PROBE_EXAMPLES]
    return recogniser.recognise(images[:, None].cpu().numpy())
