"""What methods have in common that keep examples."""

from dataclasses import dataclass

from clrl.continual.memories import OneMemory, TaskMemories
from clrl.continual.memory import Retention
from clrl.continual.methods.base import Domain, MethodConfig
from clrl.errors import ConfigError, MemoryBudgetError
from clrl.types import B


@dataclass(frozen=True, kw_only=True)
class KeepsOfEachTask(MethodConfig):
    """A method with a memory for each task."""

    examples_per_task: int
    """Examples of each task that are kept (1 or more)."""

    memory_gib: float = 1.0
    """GiB that all memories together may take; our choice."""

    def check_memory(self, tasks: int, example_bytes: int) -> None:
        """Raises MemoryBudgetError where the memories of so many tasks do not fit."""
        needed = f"{tasks} tasks of {self.examples_per_task:,} examples"
        count = tasks * self.examples_per_task
        _require_room(needed, count, example_bytes, self.memory_gib)

    def memories(self, domain: Domain[B], retention: Retention) -> TaskMemories[B]:
        """The memories, empty.

        Raises:
            ConfigError: A knob is out of range.
        """
        memories: TaskMemories[B] = domain.memories(
            TaskMemories,
            examples=self.examples_per_task,
            retention=retention,
            memory_gib=self.memory_gib,
        )
        return memories


@dataclass(frozen=True, kw_only=True)
class KeepsOfAllTasks(MethodConfig):
    """A method with one memory for all tasks."""

    examples: int
    """Examples kept of all tasks together (1 or more)."""

    memory_gib: float = 1.0
    """GiB that the memory may take; our choice."""

    def check_memory(self, tasks: int, example_bytes: int) -> None:
        """Raises MemoryBudgetError where the memory does not fit."""
        del tasks
        needed = f"{self.examples:,} examples"
        _require_room(needed, self.examples, example_bytes, self.memory_gib)

    def check_tasks(self, tasks: int) -> None:
        """Raises ConfigError where there is not an example for each task."""
        if self.examples < tasks:
            raise ConfigError(
                f"method.examples must be at least {tasks}, an example of each task, "
                f"got {self.examples}; raise it, or use a method without a memory."
            )

    def memories(self, domain: Domain[B], retention: Retention) -> OneMemory[B]:
        """The memory, empty.

        Raises:
            ConfigError: A knob is out of range.
        """
        memory: OneMemory[B] = domain.memories(
            OneMemory,
            examples=self.examples,
            retention=retention,
            memory_gib=self.memory_gib,
        )
        return memory


def _require_room(what: str, count: int, example_bytes: int, memory_gib: float) -> None:
    needed_gib = count * example_bytes / 2**30
    if needed_gib > memory_gib:
        raise MemoryBudgetError(
            f"the memory of examples needs {needed_gib:.2f} GiB ({what} of "
            f"{example_bytes:,} bytes), but method.memory_gib allows {memory_gib:g}; "
            "raise it, or lower the number of examples."
        )
