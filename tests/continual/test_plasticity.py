"""Measures of plasticity against slow twins, and on cases known by hand."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from clrl.continual.plasticity import (
    dormant_fraction,
    effective_rank,
    is_dormant,
    measure_plasticity,
    weight_norm,
)

from .toy import GainNetwork, seeded, toy_batch


def random_activations(seed: int, shape: tuple[int, ...]) -> Tensor:
    """Units of very different activity, some silent."""
    g = seeded(seed)
    features = (1, shape[1]) + (1,) * (len(shape) - 2)
    scale = (3 * torch.randn(features, generator=g)).exp()
    scale = scale * (torch.rand(features, generator=g) > 0.3)
    return torch.relu(torch.randn(shape, generator=g)) * scale


def dormant_one_by_one(activations: Tensor, threshold: float) -> list[bool]:
    """Sokar et al., eq. 1, unit by unit in Python's floats."""
    activity = []
    for unit in range(activations.shape[1]):
        values = activations[:, unit].flatten().tolist()
        activity.append(sum(abs(v) for v in values) / len(values))
    mean = sum(activity) / len(activity)
    return [a == 0 if mean == 0 else a / mean <= threshold for a in activity]


@settings(max_examples=40)
@given(
    st.integers(0, 999),
    st.sampled_from([(5, 7), (3, 6, 2, 4)]),
    st.sampled_from([0.0, 0.025, 0.1, 0.9]),
)
def test_dormant_units_are_those_found_one_by_one(
    seed: int, shape: tuple[int, ...], threshold: float
) -> None:
    layer = random_activations(seed, shape)
    assert is_dormant(layer, threshold).tolist() == dormant_one_by_one(layer, threshold)


def test_the_fraction_is_over_the_units_of_all_layers() -> None:
    large, small = torch.ones(4, 6, 3, 3), torch.ones(4, 2)
    large[:, 0] = 0
    small[:, 0] = 0.01  # 1/50.5 of its layer's mean
    assert dormant_fraction([large, small]) == pytest.approx(2 / 8)
    assert dormant_fraction([large, small], threshold=0.0) == pytest.approx(1 / 8)
    assert dormant_fraction([torch.zeros(4, 6)]) == 1


def test_dormancy_does_not_depend_on_the_scale_of_a_layer() -> None:
    layer = random_activations(3, (8, 20))
    assert torch.equal(is_dormant(layer), is_dormant(1000 * layer))


@settings(max_examples=40)
@given(
    st.lists(st.floats(0.01, 100.0), min_size=1, max_size=6),
    st.sampled_from([0.005, 0.01, 0.3]),
    st.integers(0, 99),
)
def test_the_effective_rank_counts_singular_values_by_their_sum(
    values: list[float], tolerance: float, seed: int
) -> None:
    """Features are built from their singular values, which are then added up."""
    g = seeded(seed)
    n = len(values)
    left, _ = torch.linalg.qr(torch.randn(9, n, generator=g, dtype=torch.float64))
    right, _ = torch.linalg.qr(torch.randn(7, n, generator=g, dtype=torch.float64))
    features = left @ torch.diag(torch.tensor(values, dtype=torch.float64)) @ right.T
    ordered = sorted(values, reverse=True)
    shares = [math.fsum(ordered[:k]) / math.fsum(values) for k in range(1, n + 1)]
    if any(abs(share - (1 - tolerance)) < 1e-6 for share in shares):
        return  # on the edge, rounding decides
    expected = 1 + next(k for k, share in enumerate(shares) if share >= 1 - tolerance)
    assert effective_rank(features, tolerance) == expected


def test_the_effective_rank_of_known_matrices() -> None:
    assert effective_rank(torch.zeros(5, 3)) == 0
    assert effective_rank(torch.ones(50, 8)) == 1
    assert effective_rank(torch.eye(8)) == 8
    assert effective_rank(torch.cat([torch.eye(8)] * 3, dim=1)) == 8


def test_the_weight_norm_is_that_of_one_long_vector() -> None:
    parameters = [torch.randn(3, 4, generator=seeded(1)), torch.full((2,), -2.0)]
    long = torch.cat([p.flatten() for p in parameters]).tolist()
    assert weight_norm(parameters) == pytest.approx(math.hypot(*long))


def test_a_network_that_shows_no_activations_has_only_a_weight_norm() -> None:
    network, batch = GainNetwork(), toy_batch((6, 2, 7, 7))
    measured = measure_plasticity(network, batch.inputs, batch.task)
    assert measured.dormant_fraction is None
    assert measured.effective_rank is None
    shared = network.shared_parameters().values()
    assert measured.weight_norm == pytest.approx(weight_norm(shared))
