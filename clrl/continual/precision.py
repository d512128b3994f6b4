"""Whether this machine learns faster in bfloat16, and whether that is accurate enough.

bfloat16 halves the memory of a number and, on processors with instructions for it, the
time of a product. It keeps 8 bits of the mantissa, so gradients are rounded; weights,
optimiser and penalties stay in float32.
"""

import itertools
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from clrl.continual.network import ContinualNetwork
from clrl.continual.objective import Objective
from clrl.types import B

PRECISIONS: Mapping[str, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
}
"""Arithmetics of the networks in updates, by name."""

LARGEST_ERROR = 0.1
"""Of bfloat16's gradient, relative to how far two minibatches' gradients are apart: a
tenth adds a hundredth to the variance that sampling brings."""

_TURNS = 9


def until_tried(precision: str) -> str:
    """``precision``, but ``float32`` for ``auto``.

    Before it has been tried nothing is updated that would matter.
    """
    return "float32" if precision == "auto" else precision


def arithmetic(precision: torch.dtype, device: torch.device) -> torch.autocast:
    """Where the networks' products are taken in ``precision``; float32: as ever."""
    return torch.autocast(device.type, precision, enabled=precision != torch.float32)


@dataclass(frozen=True, kw_only=True)
class PrecisionTrial:
    """What bfloat16 brings and costs on this machine.

    Attributes:
        speed_up: Median over turns of float32's time for a gradient over bfloat16's.
        error: Mean 2-norm of the difference between the gradients of one minibatch in
            both arithmetics, over that between two minibatches in float32.
    """

    speed_up: float
    error: float

    @property
    def precision(self) -> Literal["float32", "bfloat16"]:
        """``bfloat16`` if it is faster and its error is lost in the minibatch noise."""
        pays = self.speed_up > 1 and self.error <= LARGEST_ERROR
        return "bfloat16" if pays else "float32"

    def __str__(self) -> str:
        """One line for the user."""
        return (
            f"precision {self.precision}: a gradient in bfloat16 takes "
            f"{1 / self.speed_up:.0%} of float32's time and is off by {self.error:.1%} "
            "of the difference between two minibatches"
        )


def try_precisions(
    network: ContinualNetwork,
    objective_in: Callable[[torch.dtype], Objective[B]],
    batches: Sequence[B],
) -> PrecisionTrial:
    """Takes gradients in both arithmetics, in turn; no weight changes.

    Args:
        network: As it is trained.
        objective_in: The objective it is trained with, in the arithmetic given.
        batches: Minibatches as they are trained on, at least two.

    Raises:
        ValueError: Fewer than two batches, between which there is no difference.
    """
    if len(batches) < 2:  # noqa: PLR2004 - two gradients make a difference
        raise ValueError(
            f"expected at least 2 batches to compare gradients, got {len(batches)}; "
            "sample more."
        )
    gradient = {
        name: _gradient_of(network, objective_in(dtype))
        for name, dtype in PRECISIONS.items()
    }
    plain = [gradient["float32"](batch) for batch in batches]
    rounded = [gradient["bfloat16"](batch) for batch in batches]
    errors = [(a - b).norm().item() for a, b in zip(plain, rounded, strict=True)]
    noise = [
        (a - b).norm().item() for a, b in zip(plain, plain[1:] + plain[:1], strict=True)
    ]
    ratios = [
        _seconds(gradient["float32"], batch) / _seconds(gradient["bfloat16"], batch)
        for batch in itertools.islice(itertools.cycle(batches), _TURNS)
    ]
    return PrecisionTrial(
        speed_up=statistics.median(ratios),
        error=statistics.mean(errors) / max(statistics.mean(noise), 1e-12),
    )


def _gradient_of(
    network: ContinualNetwork, objective: Objective[B]
) -> Callable[[B], Float[Tensor, "P"]]:
    """The gradient of the mean objective of a batch, all parameters in a row.

    Dropout leaves out the same units every time: what differs is not its chance.
    """
    parameters = list(network.parameters())

    def gradient(batch: B) -> Float[Tensor, "P"]:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            loss = objective(network, batch).mean()
        parts = torch.autograd.grad(loss, parameters, allow_unused=True)
        return torch.cat([part.flatten() for part in parts if part is not None])

    return gradient


def _seconds(take: Callable[[B], Tensor], batch: B) -> float:
    start = time.perf_counter()
    take(batch).sum().item()  # waits for a GPU
    return time.perf_counter() - start
