"""Rehearsal of random rows of a memory that may not be full.

Source: the code of random memory adaptation (github.com/Zeta36), which is its only
description.
"""

from collections.abc import Mapping
from typing import Generic

import torch
from torch import Tensor

from clrl.continual.memories import ExampleMemories
from clrl.continual.memory import concatenated
from clrl.continual.state import Stateless, join_tensors, split_state
from clrl.errors import ConfigError
from clrl.types import B, Parameters, TaskId


class RandomMemoryAdaptation(Generic[B]):
    """Rehearses what a random draw from the rows of one memory hits.

    In the published code a row that was never written is an example without a label: it
    has no gradient, but counts in the mean. Here it is left out of the batch, and
    ``DilutedMean`` makes it count.

    Args:
        memories: One memory for all tasks.
        draws: Rows drawn at each update, without replacement, at least 1.
        write_every_updates: Every so many updates the batch is kept, after it was
            trained on, from the first on; at least 1.
        draws_empty_rows: Whether a draw is from all rows, as published, or from those
            that were written to.

    Raises:
        ConfigError: If ``draws`` or ``write_every_updates`` is below 1.
    """

    def __init__(
        self,
        memories: ExampleMemories[B],
        *,
        draws: int,
        write_every_updates: int,
        draws_empty_rows: bool,
    ) -> None:
        for name, value in (
            ("draws", draws),
            ("write_every_updates", write_every_updates),
        ):
            if value < 1:
                raise ConfigError(f"{name} must be at least 1, got {value}.")
        self.written_share = 1.0
        self._memories = memories
        self._draws = draws
        self._write_every_updates = write_every_updates
        self._draws_empty_rows = draws_empty_rows
        self._updates = 0

    def __call__(self, batch: B, task: TaskId) -> B:
        """``batch``, then the written rows among those drawn.

        Sets ``written_share``, the share of written examples in batch and draw.
        """
        self._memories.to(batch.task.device)
        rehearsed = self._drawn()
        if self._updates % self._write_every_updates == 0:
            self._memories.add(batch, task)
        self._updates += 1
        trained = concatenated([batch, *rehearsed])
        self.written_share = len(trained.task) / (len(batch.task) + self._draws)
        return trained

    def _drawn(self) -> list[B]:
        if self._draws_empty_rows:
            return self._memories.sample_rows(self._draws)
        written = self._memories.tasks
        return [self._memories.sample(self._draws, written)] if written else []

    def state_dict(self) -> dict[str, Tensor]:
        """``counts.updates``, and the memory as ``memory.<name>``."""
        counts = {"updates": torch.tensor(self._updates)}
        return join_tensors({"counts": counts, "memory": self._memories.state_dict()})

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Replaces the memory and the count of updates.

        Raises:
            ValueError: If ``state`` was not saved from such a rehearsal.
        """
        parts = split_state(state, ("counts", "memory"))
        if parts["counts"].keys() != {"updates"}:
            raise ValueError(
                f"expected counts.updates and a memory, got {sorted(state)}; load the "
                "state of the same kind of method."
            )
        self._memories.load_state_dict(parts["memory"])
        self._updates = int(parts["counts"]["updates"])


class DilutedMean(Stateless, Generic[B]):
    """Scales the gradient as if rows that were never written counted in the mean."""

    def __init__(self, rehearsal: RandomMemoryAdaptation[B]) -> None:
        self._rehearsal = rehearsal

    def __call__(
        self, gradient: Parameters, gradients_of: object, task: TaskId
    ) -> Parameters:
        """``gradient`` times the share of written examples."""
        del gradients_of, task
        share = self._rehearsal.written_share
        return {name: share * g for name, g in gradient.items()}
