"""What is added to the loss so that earlier tasks are not overwritten."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from clrl.continual.anchors import Anchor, Anchors, require_same_shapes
from clrl.continual.network import ContinualNetwork
from clrl.continual.state import Stateful, Stateless
from clrl.errors import ConfigError, DivergenceError
from clrl.types import NO_TASK, B_contra, Parameters, TaskId


@runtime_checkable
class Penalty(Stateful, Protocol[B_contra]):
    """A term added to the mean objective.

    A penalty has two parts, either of which may be zero: ``loss`` goes through autograd
    together with the objective (for penalties that look at the batch and the network's
    outputs, such as distillation), and ``add_gradient`` writes its gradient down (for
    penalties that look at the parameters alone, where autograd would be wasted work).
    """

    def loss(
        self, network: ContinualNetwork, batch: B_contra, task: TaskId
    ) -> Float[Tensor, ""]:
        """The part that autograd differentiates."""
        ...

    def add_gradient(
        self, parameters: dict[str, nn.Parameter], task: TaskId
    ) -> Float[Tensor, ""]:
        """Adds the written-down gradient to ``.grad`` of the shared parameters.

        Returns:
            The value of this part of the penalty.
        """
        ...


class NoPenalty(Stateless):
    """Adds nothing."""

    def loss(
        self, network: ContinualNetwork, batch: object, task: TaskId
    ) -> Float[Tensor, ""]:
        """Zero."""
        del network, batch, task
        return torch.zeros(())

    def add_gradient(
        self, parameters: dict[str, nn.Parameter], task: TaskId
    ) -> Float[Tensor, ""]:
        """Zero; no gradient is touched."""
        del parameters, task
        return torch.zeros(())


class QuadraticPenalty:
    """``strength/2 sum_k sum_i Omega_ki (theta_i - theta*_ki)^2``, k active anchors.

    The penalty of L2, EWC, SI and MAS, over shared parameters. ``strength`` is EWC's
    lambda (Kirkpatrick et al. 2017, eq. 3) and twice MAS's. A sum of quadratics is one
    quadratic, so a step costs the same however many tasks there were; the sum over
    tasks is taken when the current task or the anchors change.

    Args:
        strength: Weight of the penalty against the mean objective, at least 0.
        anchors: Which anchors are kept, and which hold during a task.

    Raises:
        ConfigError: If ``strength`` is negative or not finite.
    """

    def __init__(self, strength: float, anchors: Anchors) -> None:
        require_strength(strength)
        self._strength = strength
        self._anchors = anchors
        self._summed: tuple[TaskId, Quadratic] | None = None

    def loss(
        self, network: ContinualNetwork, batch: object, task: TaskId
    ) -> Float[Tensor, ""]:
        """Zero: the gradient is written down in ``add_gradient``."""
        del network, batch, task
        return torch.zeros(())

    def add_gradient(
        self, parameters: dict[str, nn.Parameter], task: TaskId
    ) -> Float[Tensor, ""]:
        """Adds ``strength sum_k Omega_k (theta - theta*_k)`` to ``.grad``.

        Returns:
            The penalty's value, on the device of the parameters.

        Raises:
            ConfigError: If there are no shared parameters.
            ValueError: If ``parameters`` are not those that were anchored.
        """
        if not parameters:
            raise nothing_shared()
        if self._summed is None or self._summed[0] != task:
            device = next(iter(parameters.values())).device
            self._summed = task, sum_of_quadratics(self._anchors.active(task), device)
        quadratic = self._summed[1]
        if not quadratic.mean:
            return quadratic.constant
        require_same_shapes(parameters, quadratic.mean)
        return _add_half_gradient(parameters, quadratic, self._strength)

    def consolidate(
        self, task: TaskId, parameters: Parameters, importance: Parameters
    ) -> None:
        """Anchors ``task`` at ``parameters``, weighted by ``importance``; copies both.

        Raises:
            ValueError: If ``importance`` is negative somewhere, or names or shapes
                differ between the two or from what was anchored earlier.
            DivergenceError: If either is not finite, or the importance zero everywhere.
        """
        require_same_shapes(importance, parameters)
        _require_finite("parameters", parameters)
        _require_finite("importance", importance)
        _require_some_importance(importance)
        self._anchors.add(task, Anchor(_copied(parameters), _copied(importance)))
        self._summed = None

    def importance(self, task: TaskId) -> Parameters | None:
        """How much each shared parameter matters to ``task``; None if not known yet."""
        anchor = self._anchors.of(task)
        return None if anchor is None else anchor.importance

    def largest_curvature(self) -> Float[Tensor, ""]:
        """``strength max_i sum_k Omega_ki``: what a task without an anchor will meet.

        The largest second derivative of the penalty over all parameters. Gradient
        descent on the penalty alone diverges where this times the learning rate is
        above 2. 0 without anchors.
        """
        # In a task that was never left all anchors hold.
        roots = sum_of_quadratics(self._anchors.active(NO_TASK)).root.values()
        if not roots:
            return torch.zeros(())
        return self._strength * torch.stack([r.max() for r in roots]).max().square()

    def state_dict(self) -> dict[str, Tensor]:
        """The anchors; ``strength`` belongs to the config."""
        return self._anchors.state_dict()

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Replaces the anchors.

        Raises:
            ValueError: If ``state`` was saved from another kind of penalty.
        """
        self._anchors.load_state_dict(state)
        self._summed = None


def require_strength(strength: float) -> None:
    """Checks the weight of a penalty.

    Raises:
        ConfigError: If it is negative or not finite.
    """
    if not (math.isfinite(strength) and strength >= 0):
        raise ConfigError(
            f"strength must be finite and at least 0, got {strength}; "
            "0 switches the penalty off."
        )


def nothing_shared() -> ConfigError:
    """What is said of a network in which there is nothing to hold."""
    return ConfigError(
        "this method holds what tasks share, got a network whose layers all belong to "
        "single tasks; let tasks share one, or use finetune."
    )


class Quadratic(NamedTuple):
    """``sum_i (root_i (theta_i - mean_i))^2 + constant``; without names, zero.

    Attributes:
        root: Square root of the precision: parameter differences times this are in
            standard deviations of the Gaussian that the quadratic stands for.
        mean: Where the quadratic is least.
        constant: Its least value.
    """

    root: Parameters
    mean: Parameters
    constant: Float[Tensor, ""]


def sum_of_quadratics(
    anchors: Sequence[Anchor], device: torch.device | None = None
) -> Quadratic:
    """``sum_k sum_i Omega_ki (theta_i - theta*_ki)^2`` as one quadratic on ``device``.

    By default where the first anchor is.

    Its precision is the sum of the importances, its mean the anchors' weighted mean
    (0 where all importances are 0), its constant the weighted scatter about it, all by
    West's (1979) updates: nothing cancels, and one anchor is its own mean exactly.
    """
    if not anchors:
        return Quadratic({}, {}, torch.zeros((), device=device))
    first = anchors[0].parameters
    if device is None:
        device = next(iter(first.values())).device
    constant = torch.zeros((), device=device)
    precision = {n: torch.zeros_like(p, device=device) for n, p in first.items()}
    mean = {n: torch.zeros_like(p, device=device) for n, p in first.items()}
    for anchor in anchors:
        for name in sorted(first):  # a saved state may list them in another order
            importance = anchor.importance[name].to(device)
            theta = anchor.parameters[name].to(device)
            precision[name] += importance
            share = (importance / precision[name]).nan_to_num(nan=0.0)  # 0/0: no weight
            before = theta - mean[name]
            mean[name] += share * before
            constant += (importance * before * (theta - mean[name])).sum()
    root = {name: p.sqrt() for name, p in precision.items()}
    return Quadratic(root, mean, constant)


@torch.no_grad()
def _add_half_gradient(
    parameters: Mapping[str, nn.Parameter], quadratic: Quadratic, strength: float
) -> Float[Tensor, ""]:
    """Adds the gradient of ``strength/2`` times ``quadratic``; returns that value."""
    theta: list[Tensor] = list(parameters.values())
    gradients = [_gradient_of(parameter) for parameter in theta]
    root = [quadratic.root[name] for name in parameters]
    deviations = torch._foreach_sub(theta, [quadratic.mean[n] for n in parameters])
    # In place: a second temporary of the network's size costs more than the arithmetic.
    torch._foreach_mul_(deviations, root)
    torch._foreach_addcmul_(gradients, root, deviations, value=strength)
    squared_norm = torch.stack(torch._foreach_norm(deviations)).square().sum()
    return strength / 2 * (squared_norm + quadratic.constant)


def _gradient_of(parameter: Tensor) -> Tensor:
    """``parameter.grad``; zeros if the objective does not reach the parameter."""
    if parameter.grad is None:
        parameter.grad = torch.zeros_like(parameter)
    return parameter.grad


def _copied(parameters: Parameters) -> Parameters:
    return {name: p.detach().clone() for name, p in parameters.items()}


def _require_finite(what: str, parameters: Parameters) -> None:
    for name, parameter in parameters.items():
        if not bool(parameter.isfinite().all()):
            raise DivergenceError(
                f"the {what} of a task that is left must be finite, got inf or nan in "
                f"{name!r}; lower the learning rate or the strength of the penalty."
            )


def _require_some_importance(importance: Parameters) -> None:
    for name, omega in importance.items():
        if bool((omega < 0).any()):
            raise ValueError(
                f"importance must be at least 0, got {omega.min().item()} in {name!r}; "
                "a negative one would push parameters away from their anchor."
            )
    if not any(bool(omega.any()) for omega in importance.values()):
        raise DivergenceError(
            "the importance of a task that is left must be positive somewhere, got "
            "zero for every parameter: its protection would be silently inactive; "
            "check that the network's units are alive and its outputs depend on them."
        )
