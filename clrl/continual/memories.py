"""The examples that methods remember of the tasks met so far.

Memories hold copies of the examples that the learner was given, as tensors on the
device they come from, for as long as the run lasts. On Atari an example is a transition
with both its stacks of frames (56 KB at 84x84), copied from the replay memory of the
inferred task that it was sampled from; its bytes come on top of the replay memory's.
"""

import abc
from collections.abc import Callable, Mapping, Sequence
from typing import Generic

import torch
from torch import Tensor

from clrl.continual.memory import ExampleMemory, Retention, columns_of, concatenated
from clrl.continual.state import Stateful, join_tensors
from clrl.errors import ConfigError, MemoryBudgetError
from clrl.types import B, TaskId


class ExampleMemories(Stateful, abc.ABC, Generic[B]):
    """Examples of the tasks met so far, within a budget of bytes.

    Args:
        batch_type: The NamedTuple in which examples arrive and come back.
        capacity: Examples of each memory, at least 1.
        retention: Which examples are kept.
        budget_bytes: That all memories together may take.
        generator: Of all randomness, on the CPU, this object's own; its state is saved.

    Attributes:
        capacity: Examples of each memory.

    Raises:
        ConfigError: If ``capacity`` is below 1.
    """

    def __init__(
        self,
        batch_type: Callable[..., B],
        *,
        capacity: int,
        retention: Retention,
        budget_bytes: int,
        generator: torch.Generator,
    ) -> None:
        if capacity < 1:
            raise ConfigError(
                f"a memory must hold at least 1 example, got {capacity}; raise the "
                "memory's size, or use a method without one."
            )
        self._batch_type = batch_type
        self.capacity = capacity
        self._retention = retention
        self._budget_bytes = budget_bytes
        self._generator = generator
        self._memories: dict[TaskId, ExampleMemory[B]] = {}

    @abc.abstractmethod
    def _key(self, task: TaskId) -> TaskId:
        """Which memory the examples of ``task`` go to."""

    def add(self, batch: B, task: TaskId) -> None:
        """Offers copies of the examples of ``batch`` to the memory of ``task``.

        Raises:
            MemoryBudgetError: If ``task`` needs a new memory and that has no room.
        """
        key = self._key(task)
        if key not in self._memories:
            self._require_room(batch, task)
            self._memories[key] = self._empty()
        self.to(batch.task.device)
        self._memories[key].add(batch, self._generator)

    def to(self, device: torch.device) -> None:
        """Moves the examples, which a state that was loaded leaves where it was."""
        for memory in self._memories.values():
            memory.to(device)

    @property
    def tasks(self) -> list[TaskId]:
        """The keys of the memories, in order."""
        return sorted(self._memories)

    def of(self, task: TaskId) -> B:
        """All stored examples of the memory of ``task``; views, not copies."""
        return self._memories[self._key(task)].everything()

    def sample(self, size: int, tasks: Sequence[TaskId]) -> B:
        """``size`` examples drawn uniformly from the memories of ``tasks`` together.

        Without replacement; all of them, in random order, if there are fewer.

        Raises:
            ValueError: If there are no examples.
        """
        memories = [self._memories[self._key(task)] for task in tasks]
        stored = sum(len(memory) for memory in memories)
        if stored == 0:
            raise ValueError(
                "memories without examples cannot be sampled; add a batch first."
            )
        drawn = torch.randperm(stored, generator=self._generator)[:size]
        parts = []
        for memory in memories:
            mine = (drawn >= 0) & (drawn < len(memory))
            parts.append(memory.rows(drawn[mine]))
            drawn = drawn - len(memory)
        return concatenated(parts)

    def sample_rows(self, size: int) -> list[B]:
        """What ``size`` rows drawn uniformly from all rows hold, written to or not.

        Without replacement.

        Returns:
            The examples in the rows that were written to; no batch if there are none.
        """
        rows = self.capacity * len(self._memories)
        stored = sum(len(memory) for memory in self._memories.values())
        drawn = torch.randperm(rows, generator=self._generator)[:size]
        hits = int((drawn < stored).sum())
        # Which of the written rows were hit is uniform, as it is in a sample.
        return [self.sample(hits, self.tasks)] if hits else []

    def state_dict(self) -> dict[str, Tensor]:
        """``generator`` and each memory's state under its key."""
        states = {str(k): self._memories[k].state_dict() for k in self.tasks}
        return {"generator": self._generator.get_state(), **join_tensors(states)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Replaces all memories and the generator's state.

        Raises:
            ValueError: If ``state`` was not saved from memories of the same size.
        """
        if "generator" not in state:
            raise ValueError(
                f"the state of example memories must hold their generator's, got "
                f"{sorted(state)}; load the state of the same kind of method."
            )
        parts: dict[TaskId, dict[str, Tensor]] = {}
        for full_name, tensor in state.items():
            key, _, name = full_name.partition(".")
            if key.isdecimal():
                parts.setdefault(int(key), {})[name] = tensor
        self._generator.set_state(state["generator"].cpu())
        self._memories = {task: self._empty() for task in parts}
        for task, memory in self._memories.items():
            memory.load_state_dict(parts[task])

    def _empty(self) -> ExampleMemory[B]:
        return ExampleMemory(self._batch_type, self.capacity, self._retention)

    def _require_room(self, batch: B, task: TaskId) -> None:
        example_bytes = sum(c[:1].nbytes for c in columns_of(batch).values())
        memory_bytes = self.capacity * example_bytes
        left = self._budget_bytes - len(self._memories) * memory_bytes
        if memory_bytes > left:
            raise MemoryBudgetError(
                f"the memory of examples for task {task} needs "
                f"{memory_bytes / 2**20:.1f} MiB ({self.capacity} examples), but "
                f"{left / 2**20:.1f} MiB of {self._budget_bytes / 2**20:.1f} MiB are "
                "left; raise memory_gib, or lower the number of examples."
            )


class TaskMemories(ExampleMemories[B]):
    """A memory for each task."""

    def _key(self, task: TaskId) -> TaskId:
        return task


class OneMemory(ExampleMemories[B]):
    """One memory for all tasks, of which each gets what the retention leaves it."""

    def _key(self, task: TaskId) -> TaskId:
        del task
        return 0
