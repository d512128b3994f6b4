"""How much each parameter matters to a task."""

from collections.abc import Iterable
from typing import Protocol

from clrl.continual.network import ContinualNetwork
from clrl.types import B_contra, Parameters


class Importance(Protocol[B_contra]):
    """Estimates the importance of every shared parameter for the task of some batches."""

    def __call__(
        self, network: ContinualNetwork, batches: Iterable[B_contra]
    ) -> Parameters:
        """A mean over examples of a statistic of the per-example gradient, by name."""
        ...
