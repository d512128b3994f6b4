"""Numbers that training gathers until somebody reads them."""

from collections.abc import Mapping
from typing import NamedTuple

from clrl.types import TaskId


class Consolidated(NamedTuple):
    """A task was left and its importance estimated.

    Attributes:
        task: The task that was left.
        importance_trace: Sum of the importance over all shared parameters.
        importance_max: Its maximum.
    """

    task: TaskId
    importance_trace: float
    importance_max: float


class RunningMeans:
    """Means of named numbers since they were last read."""

    def __init__(self) -> None:
        """Nothing has been added."""
        self._sums: dict[str, float] = {}
        self._count = 0

    def add(self, values: Mapping[str, float]) -> None:
        """Adds one value of each name."""
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._count += 1

    def drain(self) -> dict[str, float]:
        """The means by name, empty if nothing was added; begins anew."""
        means = {name: total / self._count for name, total in self._sums.items()}
        self._sums, self._count = {}, 0
        return means
