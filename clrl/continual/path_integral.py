"""How much each parameter contributed to the fall of the loss while a task was learnt.

Source: Zenke, Poole & Ganguli (2017), Continual learning through synaptic intelligence.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from clrl.continual.anchors import require_same_shapes
from clrl.continual.consolidation import size_of
from clrl.continual.network import ContinualNetwork
from clrl.continual.penalty import QuadraticPenalty
from clrl.continual.state import join_tensors, split_state
from clrl.errors import ConfigError
from clrl.types import Parameters, TaskId


@torch.no_grad()
def damped_contribution(
    contribution: Parameters, displacement: Parameters, damping: float
) -> Parameters:
    """``Omega = max(0, omega / (Delta^2 + xi))`` of one task, ibid., eq. 5.

    Args:
        contribution: ``omega``, the fall of the loss that each parameter brought about.
        displacement: ``Delta``, how far each moved during the task.
        damping: ``xi``, which bounds the importance of parameters that hardly moved.
    """
    return {
        # The authors' code cuts negative values off: they would push from the anchor.
        name: (omega / (displacement[name].square() + damping)).relu()
        for name, omega in contribution.items()
    }


class PathIntegral:
    """The consolidation of synaptic intelligence.

    ``omega_i`` adds up ``-g_i (theta_i' - theta_i)`` over the updates of a task (eq.
    3), where g is the gradient of the mean objective on the batch that was trained on,
    without the quadratic penalty, and theta' - theta is what the optimiser then did,
    penalty, constraint and clipping included. A sum over updates, no factor 1/2.

    Args:
        penalty: Gets the importance of each task that is left.
        damping: ``xi`` of eq. 5, more than 0.

    Raises:
        ConfigError: If ``damping`` is not a positive number.
    """

    def __init__(self, penalty: QuadraticPenalty, *, damping: float) -> None:
        if not (math.isfinite(damping) and damping > 0):
            raise ConfigError(
                f"damping must be finite and more than 0, got {damping}; parameters "
                "that never moved would get an importance of 0/0."
            )
        self._penalty = penalty
        self._damping = damping
        self._contribution: Parameters = {}
        self._start: Parameters = {}
        self._before: Parameters = {}
        self._gradient: Parameters = {}

    def before_update(self, parameters: Parameters) -> None:
        """Notes the gradient, and where the parameters are."""
        self._before = {n: p.detach().clone() for n, p in parameters.items()}
        self._gradient = {
            name: parameter.grad.clone()
            for name, parameter in parameters.items()
            if parameter.grad is not None
        }
        if not self._start:
            # Never written to, so the first update may share them with the start.
            self._start = self._before
            self._contribution = {
                n: torch.zeros_like(p) for n, p in self._before.items()
            }

    @torch.no_grad()
    def after_update(self, parameters: Parameters) -> None:
        """Adds ``-g_i (theta_i' - theta_i)`` to each parameter's contribution."""
        names = list(self._gradient)
        moves = torch._foreach_sub(
            [parameters[n].detach() for n in names], [self._before[n] for n in names]
        )
        for n in names:  # a state that was loaded may be on another device
            self._contribution[n] = self._contribution[n].to(moves[0].device)
        omega = [self._contribution[n] for n in names]
        gradients = [self._gradient[n] for n in names]
        torch._foreach_addcmul_(omega, gradients, moves, value=-1)

    def leave(
        self, network: ContinualNetwork, task: TaskId, batches: object
    ) -> dict[str, Tensor]:
        """Turns the contributions into importance and begins anew; draws no batch.

        Returns:
            ``importance_trace``, ``importance_max`` and the penalty's
            ``curvature_max`` (``QuadraticPenalty.largest_curvature``); nothing if there
            was no update since a task was left last.

        Raises:
            DivergenceError: If the importance is not finite, or zero everywhere.
        """
        del batches
        if not self._start:
            return {}
        shared: Parameters = dict(network.shared_parameters())
        displacement = {
            n: shared[n].detach() - start.to(shared[n].device)
            for n, start in self._start.items()
        }
        importance = damped_contribution(
            self._contribution, displacement, self._damping
        )
        self._penalty.consolidate(task, shared, importance)
        self._start, self._contribution = {}, {}
        return {
            **size_of(importance),
            "curvature_max": self._penalty.largest_curvature(),
        }

    def state_dict(self) -> dict[str, Tensor]:
        """``start.<name>`` and ``contribution.<name>`` of the task that is learnt."""
        return join_tensors({"start": self._start, "contribution": self._contribution})

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Replaces what was gathered on the current task.

        Raises:
            ValueError: If ``state`` was not saved from a path integral.
        """
        parts = split_state(state, ("start", "contribution"))
        require_same_shapes(parts["contribution"], parts["start"])
        self._start, self._contribution = (
            {name: tensor.detach().clone() for name, tensor in part.items()}
            for part in (parts["start"], parts["contribution"])
        )
