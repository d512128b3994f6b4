"""The overlap of Fishers against its definition as matrices."""

import numpy as np
import pytest
from scipy.linalg import sqrtm

from clrl.errors import ConfigError
from clrl.evaluation.fisher_overlap import overlap, overlap_by_layer


def overlap_of_matrices(first: np.ndarray, second: np.ndarray) -> float:
    """``1 - d^2`` as the paper writes ``d^2``, with whole matrices."""
    f1, f2 = np.diag(first / first.sum()), np.diag(second / second.sum())
    return float(1 - np.trace(f1 + f2 - 2 * sqrtm(f1 @ f2).real) / 2)


def diagonal(seed: int, size: int = 6) -> np.ndarray:
    return np.random.default_rng(seed).gamma(0.5, size=size)


def test_the_overlap_is_that_of_the_diagonal_matrices() -> None:
    for seed in range(5):
        first, second = diagonal(seed), diagonal(seed + 100)
        expected = overlap_of_matrices(first, second)
        assert overlap(first, second) == pytest.approx(expected, abs=1e-7)
        assert 0 < overlap(first, second) < 1


def test_scale_does_not_matter_and_disjoint_parameters_do() -> None:
    first = diagonal(0)
    assert overlap(first, 7 * first) == pytest.approx(1)
    assert overlap(np.array([1.0, 0, 2]), np.array([0.0, 3, 0])) == 0


def test_each_layer_is_compared_on_its_own_with_weights_and_biases_together() -> None:
    first = {"layers.0.weight": diagonal(0).reshape(2, 3), "layers.0.bias": diagonal(1)}
    second = {n: diagonal(5, f.size).reshape(f.shape) for n, f in first.items()}
    first["layers.1.weight"] = second["layers.1.weight"] = diagonal(3)
    found = overlap_by_layer(first, second)
    assert list(found) == ["layers.0", "layers.1"]
    joined = [
        np.concatenate([f["layers.0.weight"].ravel(), f["layers.0.bias"]])
        for f in (first, second)
    ]
    assert found["layers.0"] == pytest.approx(overlap(*joined))
    assert found["layers.1"] == pytest.approx(1)


def test_a_fisher_that_is_zero_is_refused() -> None:
    with pytest.raises(ConfigError, match="above 0"):
        overlap(np.zeros(3), np.ones(3))
