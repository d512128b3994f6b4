"""What is computed when a task is left, and along the way."""

from collections.abc import Iterable
from typing import Generic, Protocol, runtime_checkable

import torch
from torch import Tensor

from clrl.continual.importance import Importance
from clrl.continual.network import ContinualNetwork
from clrl.continual.penalty import QuadraticPenalty
from clrl.continual.state import Stateful, Stateless
from clrl.types import B, B_contra, Parameters, TaskId


@runtime_checkable
class Consolidation(Stateful, Protocol[B_contra]):
    """Turns what was learnt on a task into something that later tasks respect."""

    def before_update(self, parameters: Parameters) -> None:
        """Called with the objective's own gradient in ``.grad``, nothing added yet."""
        ...

    def after_update(self, parameters: Parameters) -> None:
        """Called after the optimiser has moved the parameters."""
        ...

    def leave(
        self, network: ContinualNetwork, task: TaskId, batches: Iterable[B_contra]
    ) -> dict[str, Tensor]:
        """Called when ``task`` is left; ``batches`` are drawn from its memory.

        Returns:
            Scalars worth recording, by name.
        """
        ...


class OnlyWhenLeft:
    """A consolidation that does nothing before its task is left."""

    def before_update(self, parameters: Parameters) -> None:
        """Nothing."""

    def after_update(self, parameters: Parameters) -> None:
        """Nothing."""


class NoConsolidation(OnlyWhenLeft, Stateless):
    """Keeps nothing of a task that is left."""

    def leave(
        self, network: ContinualNetwork, task: TaskId, batches: object
    ) -> dict[str, Tensor]:
        """Nothing: the batches are not even drawn."""
        del network, task, batches
        return {}


class AnchorByImportance(OnlyWhenLeft, Stateless, Generic[B]):
    """Anchors the shared parameters at their value, weighted by an importance estimate.

    This is the consolidation of EWC and MAS: the estimator differs, the rest is the
    same. What it gathers is kept, and saved, by the penalty.
    """

    def __init__(self, importance: Importance[B], penalty: QuadraticPenalty) -> None:
        self._importance = importance
        self._penalty = penalty

    def leave(
        self, network: ContinualNetwork, task: TaskId, batches: Iterable[B]
    ) -> dict[str, Tensor]:
        """Estimates the importance on ``batches`` and hands it to the penalty.

        Returns:
            ``importance_trace`` (sum over parameters), ``importance_max``, and the
            penalty's ``curvature_max`` (``QuadraticPenalty.largest_curvature``).

        Raises:
            ValueError: If there are no examples.
            DivergenceError: If the importance is not finite, or zero everywhere.
        """
        importance = self._importance(network, batches)
        self._penalty.consolidate(task, dict(network.shared_parameters()), importance)
        return {
            **size_of(importance),
            "curvature_max": self._penalty.largest_curvature(),
        }


def size_of(importance: Parameters) -> dict[str, Tensor]:
    """``importance_trace`` (sum over parameters) and ``importance_max``."""
    return {
        "importance_trace": torch.stack([x.sum() for x in importance.values()]).sum(),
        "importance_max": torch.stack([x.max() for x in importance.values()]).max(),
    }
