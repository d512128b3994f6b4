"""Numbers that training gathers until somebody reads them."""

from collections.abc import Mapping
from typing import NamedTuple

from clrl.types import TaskId


class Consolidated(NamedTuple):
    """A task was left and consolidated.

    Attributes:
        task: The task that was left.
        metrics: What the method's consolidation reports, by name.
    """

    task: TaskId
    metrics: Mapping[str, float]


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
