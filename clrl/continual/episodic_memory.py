"""Constraints that compare a gradient with those of remembered examples."""

import math
from collections.abc import Callable, Sequence
from typing import Generic

import torch
from jaxtyping import Float
from torch import Tensor

from clrl.continual.memories import TaskMemories
from clrl.continual.projection import agem_projection, gem_projection
from clrl.continual.state import Stateless
from clrl.errors import ConfigError, DivergenceError
from clrl.types import B, Parameters, TaskId


class GradientEpisodicMemory(Stateless, Generic[B]):
    """GEM: no step may raise the mean loss on any earlier task's memory.

    Lopez-Paz & Ranzato (2017). Only parameters that the current gradient moves take
    part: what another task owns is not in the way.

    Args:
        memories: Of each task, filled and saved elsewhere.
        margin: Least weight of a past gradient in the dual, at least 0.
        ridge: Added to the diagonal of the Gram matrix, more than 0.

    Raises:
        ConfigError: If ``margin`` or ``ridge`` is out of range.
    """

    def __init__(
        self, memories: TaskMemories[B], *, margin: float, ridge: float
    ) -> None:
        if not (math.isfinite(margin) and margin >= 0):
            raise ConfigError(
                f"margin must be finite and at least 0, got {margin}; 0 projects to "
                "the nearest gradient that is allowed."
            )
        if not (math.isfinite(ridge) and ridge > 0):
            raise ConfigError(f"ridge must be finite and more than 0, got {ridge}.")
        self._memories = memories
        self._margin = margin
        self._ridge = ridge

    def __call__(
        self,
        gradient: Parameters,
        gradients_of: Callable[[Sequence[B]], Parameters],
        task: TaskId,
    ) -> Parameters:
        """The gradient nearest to ``gradient`` that no earlier task's memory opposes.

        Raises:
            DivergenceError: If a gradient is not finite.
        """
        earlier = [other for other in self._memories.tasks if other != task]
        if not earlier:
            return gradient
        past = gradients_of([self._memories.of(k) for k in earlier])
        try:
            projected = gem_projection(
                _flat(gradient),
                _rows(past, len(earlier), like=gradient),
                margin=self._margin,
                ridge=self._ridge,
            )
        except FloatingPointError as error:
            raise DivergenceError(
                "the gradients of the current batch and of the memories must be "
                "finite, got inf or nan; lower the learning rate."
            ) from error
        return _shaped(projected, gradient)


class AveragedGradientEpisodicMemory(Stateless, Generic[B]):
    """A-GEM: no step may raise the mean loss on examples drawn from all memories.

    Chaudhry et al. (2019). Only parameters that the current gradient moves take part.

    Args:
        memories: Of each task, filled and saved elsewhere.
        reference_size: Examples drawn at each step from those of the earlier tasks.

    Raises:
        ConfigError: If ``reference_size`` is below 1.
    """

    def __init__(self, memories: TaskMemories[B], *, reference_size: int) -> None:
        if reference_size < 1:
            raise ConfigError(
                f"reference_size must be at least 1, got {reference_size}."
            )
        self._memories = memories
        self._reference_size = reference_size

    def __call__(
        self,
        gradient: Parameters,
        gradients_of: Callable[[Sequence[B]], Parameters],
        task: TaskId,
    ) -> Parameters:
        """``gradient`` without its part against the reference gradient."""
        earlier = [other for other in self._memories.tasks if other != task]
        if not earlier:
            return gradient
        sample = self._memories.sample(self._reference_size, earlier)
        (reference,) = _rows(gradients_of([sample]), 1, like=gradient)
        projected = agem_projection(_flat(gradient), reference)
        return _shaped(projected, gradient)


def _flat(gradient: Parameters) -> Float[Tensor, "P"]:
    return torch.cat([g.flatten() for g in gradient.values()])


def _rows(gradients: Parameters, count: int, like: Parameters) -> Float[Tensor, "K P"]:
    """``count`` flat gradients of what ``like`` has; 0 for what is not reached."""
    return torch.cat(
        [
            gradients[name].flatten(1)
            if name in gradients
            else g.new_zeros(count, g.numel())
            for name, g in like.items()
        ],
        dim=1,
    )


def _shaped(flat: Float[Tensor, "P"], like: Parameters) -> Parameters:
    """The inverse of ``_flat``."""
    parts = torch.split(flat, [tensor.numel() for tensor in like.values()])
    return {
        name: part.view(tensor.shape)
        for (name, tensor), part in zip(like.items(), parts, strict=True)
    }
