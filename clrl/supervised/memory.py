"""What is kept of each task, to take its importance of when it is left."""

from collections.abc import Iterator

import torch

from clrl.continual.memory import ExampleMemory, reservoir
from clrl.supervised.stream import ExampleBatch


class TaskSample:
    """A uniform sample of the examples of a task, all of them while there is room.

    Args:
        capacity: Examples kept.
        generator: Of the choice and of the order, on the CPU.
    """

    def __init__(self, capacity: int, generator: torch.Generator) -> None:
        self._memory = ExampleMemory(ExampleBatch, capacity, reservoir)
        self._generator = generator

    def add(self, batch: ExampleBatch) -> None:
        """Offers a batch."""
        self._memory.add(batch, self._generator)

    def batches(self, size: int) -> Iterator[ExampleBatch]:
        """Every example kept, once, in a random order."""
        order = torch.randperm(len(self._memory), generator=self._generator)
        for start in range(0, len(order), size):
            yield self._memory.rows(order[start : start + size])
