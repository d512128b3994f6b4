"""Rehearsal from memories of examples."""

from collections.abc import Callable, Mapping
from typing import Generic, TypeAlias

from torch import Tensor

from clrl.continual.memories import ExampleMemories
from clrl.continual.memory import concatenated
from clrl.types import B, TaskId

Draw: TypeAlias = Callable[[ExampleMemories[B], int, TaskId], list[B]]
"""The examples to rehearse, from the memories, for a batch of so many of a task."""


class ExperienceReplay(Generic[B]):
    """Trains on the batch that arrived and on remembered examples, all weighted alike.

    Args:
        memories: Written to after the examples to rehearse were drawn from them.
        draw: Which examples are rehearsed.
    """

    def __init__(self, memories: ExampleMemories[B], draw: Draw[B]) -> None:
        self._memories = memories
        self._draw = draw

    def __call__(self, batch: B, task: TaskId) -> B:
        """``batch``, then the examples that are rehearsed."""
        self._memories.to(batch.task.device)
        rehearsed = self._draw(self._memories, len(batch.task), task)
        self._memories.add(batch, task)
        return concatenated([batch, *rehearsed]) if rehearsed else batch

    def state_dict(self) -> dict[str, Tensor]:
        """The memories'."""
        return self._memories.state_dict()

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Replaces the memories.

        Raises:
            ValueError: If ``state`` was not saved from such memories.
        """
        self._memories.load_state_dict(state)


def nothing(memories: object, batch_size: int, task: TaskId) -> list[B]:
    """No examples: batches are remembered for other seams to recall."""
    del memories, batch_size, task
    return []


def from_all(memories: ExampleMemories[B], batch_size: int, task: TaskId) -> list[B]:
    """As many examples as arrived, uniformly from everything that is remembered."""
    del task
    return [memories.sample(batch_size, memories.tasks)] if memories.tasks else []


def from_each_earlier_task(
    memories: ExampleMemories[B], batch_size: int, task: TaskId
) -> list[B]:
    """As many examples as arrived from each other task: the mean of all losses."""
    others = [other for other in memories.tasks if other != task]
    return [memories.sample(batch_size, [other]) for other in others]
