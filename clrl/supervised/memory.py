"""What is kept of each task, to take its importance of when it is left."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from clrl.supervised.data import Examples
from clrl.supervised.stream import ExampleBatch
from clrl.types import TaskId


class Reservoir:
    """A uniform sample of all examples added, all of them while there is room.

    Algorithm R of Vitter (1985): example ``i`` replaces a random place among the first
    ``i``, if that place is inside the reservoir.

    Args:
        capacity: Examples kept.
        rng: Of the choice.
    """

    def __init__(self, capacity: int, rng: np.random.Generator) -> None:
        self._capacity = capacity
        self._rng = rng
        self._added = 0
        self._kept: Examples | None = None

    def __len__(self) -> int:
        """Examples kept."""
        return min(self._added, self._capacity)

    def add(self, examples: Examples) -> None:
        """Adds a batch."""
        if self._kept is None:
            self._kept = Examples(*(self._room_for(tensor) for tensor in examples))
        numbers = np.arange(self._added, self._added + len(examples.labels))
        random_places = self._rng.integers(0, numbers + 1)
        places = np.where(numbers < self._capacity, numbers, random_places)
        self._added += len(numbers)
        # Of several that want the same place the last one stays, as one by one.
        place_of = {int(p): i for i, p in enumerate(places) if p < self._capacity}
        if place_of:
            device = examples.labels.device
            to = torch.tensor(list(place_of), device=device)
            row = torch.tensor(list(place_of.values()), device=device)
            for kept, tensor in zip(self._kept, examples, strict=True):
                kept[to] = tensor[row]

    def batches(self, size: int, task: TaskId) -> Iterator[ExampleBatch]:
        """Every example kept, once, in a random order."""
        if self._kept is None:
            return
        order = torch.from_numpy(self._rng.permutation(len(self)))
        for rows in torch.split(order.to(self._kept.labels.device), size):
            examples = Examples(*(tensor[rows] for tensor in self._kept))
            yield ExampleBatch.of(examples, task)

    def _room_for(self, tensor: Tensor) -> Tensor:
        return tensor.new_empty((self._capacity, *tensor.shape[1:]))
