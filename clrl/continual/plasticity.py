"""How much of a network is still able to learn: dormant units, rank, weight norm.

After many tasks a network may lose plasticity: units fall silent, features collapse
into few directions, weights grow (Dohare et al., 2024). All three are measured on one
batch, without learning.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from clrl.continual.network import ContinualNetwork

DORMANT_THRESHOLD = 0.025
"""tau of the official code of Sokar et al. (2023)."""

RANK_TOLERANCE = 0.01
"""delta of Kumar et al. (2021)."""


class Plasticity(NamedTuple):
    """What is measured of a network on one batch.

    Attributes:
        dormant_fraction: Share of all hidden units that are dormant; None for a network
            that does not show its activations.
        effective_rank: Of the last hidden layer's features; None likewise.
        weight_norm: 2-norm of all shared parameters together.
    """

    dormant_fraction: float | None
    effective_rank: int | None
    weight_norm: float


@torch.no_grad()
def measure_plasticity(
    network: ContinualNetwork, inputs: Tensor, task: Int64[Tensor, "B"]
) -> Plasticity:
    """Measures ``network`` on ``inputs`` [B, ...], each under its own task.

    The rank is at most B: take a batch larger than the last hidden layer.
    """
    activations = network.activations(inputs, task)
    norm = weight_norm(network.shared_parameters().values())
    if not activations:
        return Plasticity(None, None, norm)
    return Plasticity(
        dormant_fraction=dormant_fraction(activations),
        effective_rank=effective_rank(activations[-1].flatten(start_dim=1)),
        weight_norm=norm,
    )


def is_dormant(
    activations: Float[Tensor, "B F *pixels"], threshold: float = DORMANT_THRESHOLD
) -> Bool[Tensor, "F"]:
    """Which units of a layer are dormant.

    A unit is if its mean absolute activation over examples, and over pixels where it is
    a filter, is at most ``threshold`` times the mean over the layer's units. In a layer
    without any activity all are. Source: Sokar et al. (2023), eq. 1.
    """
    examples_and_pixels = [0, *range(2, activations.dim())]
    activity = activations.abs().mean(dim=examples_and_pixels)
    return activity <= threshold * activity.mean()


def dormant_fraction(
    layers: Sequence[Tensor], threshold: float = DORMANT_THRESHOLD
) -> float:
    """Share of dormant units among the units of all ``layers``, each [B, F, ...].

    Source: Sokar et al. (2023), definition 3.2.
    """
    dormant = torch.cat([is_dormant(layer, threshold) for layer in layers])
    return dormant.float().mean().item()


def effective_rank(
    features: Float[Tensor, "B F"], tolerance: float = RANK_TOLERANCE
) -> int:
    """The fewest singular values whose sum is at least ``1 - tolerance`` of them all.

    0 for features that are zero. Source: Kumar et al. (2021), "Implicit
    under-parameterization", definition 1 (srank).
    """
    singular_values = torch.linalg.svdvals(features.double())
    cumulative = singular_values.cumsum(dim=0)
    return int((cumulative < (1 - tolerance) * cumulative[-1]).sum()) + bool(
        cumulative[-1] > 0
    )


def weight_norm(parameters: Iterable[Tensor]) -> float:
    """2-norm of all ``parameters`` as one vector."""
    return torch.nn.utils.get_total_norm([p.detach() for p in parameters]).item()
