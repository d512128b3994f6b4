"""Merging the solutions of several tasks into one.

Source: Lee et al. (2017), Overcoming catastrophic forgetting by incremental moment
matching.
"""

from collections.abc import Iterable, Mapping
from typing import Generic

import torch
from torch import Tensor

from clrl.continual.anchors import Anchor, require_same_shapes
from clrl.continual.consolidation import OnlyWhenLeft, size_of
from clrl.continual.importance import Importance
from clrl.continual.network import ContinualNetwork
from clrl.continual.penalty import QuadraticPenalty, sum_of_quadratics
from clrl.continual.state import join_tensors, split_state
from clrl.types import B, TaskId


class IncrementalMomentMatching(OnlyWhenLeft, Generic[B]):
    """Replaces the shared parameters by those of all tasks merged, when one is left.

    ``theta = (sum_k F_k)^-1 sum_k F_k mu_k`` over the tasks left, where mu_k is what
    task k was learnt to and F_k its importance: with the Fisher's diagonal the mode of
    the merged Gaussians (mode-IMM), with ones their mean (mean-IMM); all tasks weigh
    the same. Where no task has importance, the parameter stays as it is.

    The network itself is merged, so the next task starts from the merged parameters,
    and is pulled to them. In the paper's weight transfer and L2 transfer, as we read
    it, it starts from and is pulled to the solution of the task before, and merging
    makes a network of its own, which is scored. Each visit to a task counts as one more
    task. A score taken after a task's last
    update and before it is left is that of its own solution, not of the merged one.

    Args:
        importance: ``F_k``.
        penalty: Pulls the next task to the merged parameters; anchored with importance
            1.
    """

    def __init__(self, importance: Importance[B], penalty: QuadraticPenalty) -> None:
        self._importance = importance
        self._penalty = penalty
        self._merged = Anchor({}, {})

    @torch.no_grad()
    def leave(
        self, network: ContinualNetwork, task: TaskId, batches: Iterable[B]
    ) -> dict[str, Tensor]:
        """Merges the network's solution with those before, in the network itself.

        Returns:
            ``importance_trace`` and ``importance_max`` of the task that is left, and
            the penalty's ``curvature_max`` (``QuadraticPenalty.largest_curvature``)
            unless it is 0: merging protects without a penalty.

        Raises:
            ValueError: If there are no examples.
            DivergenceError: If the merged parameters are not finite.
        """
        shared = network.shared_parameters()
        solution = {name: p.detach().clone() for name, p in shared.items()}
        importance = self._importance(network, batches)
        self._merged = _merge(self._merged, Anchor(solution, importance))
        for name, parameter in shared.items():
            parameter.copy_(self._merged.parameters[name])
        ones = {name: torch.ones_like(p) for name, p in solution.items()}
        self._penalty.consolidate(task, dict(shared), ones)
        curvature = self._penalty.largest_curvature()
        stiffness = {"curvature_max": curvature} if curvature > 0 else {}
        return {**size_of(importance), **stiffness}

    def state_dict(self) -> dict[str, Tensor]:
        """What is merged: ``parameters.<name>``, and summed ``importance.<name>``."""
        return join_tensors(self._merged._asdict())

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Replaces what is merged.

        Raises:
            ValueError: If ``state`` was not saved from merged solutions.
        """
        parts = split_state(state, Anchor._fields)
        merged = Anchor(
            *({n: t.detach().clone() for n, t in parts[f].items()} for f in parts)
        )
        require_same_shapes(merged.importance, merged.parameters)
        self._merged = merged


def _merge(before: Anchor, new: Anchor) -> Anchor:
    """The mean of both, weighted by importance, and the sum of their importances."""
    if not before.parameters:
        return new
    device = next(iter(new.parameters.values())).device
    mean = sum_of_quadratics([before, new], device).mean
    importance = {
        n: before.importance[n].to(device) + f for n, f in new.importance.items()
    }
    return Anchor(
        {
            n: torch.where(f > 0, mean[n], new.parameters[n])
            for n, f in importance.items()
        },
        importance,
    )
