import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from clrl.recognition.density import (
    Density,
    DiagonalGaussian,
    KrichevskyTrofimov,
    PixelDirichlet,
    TrainedModels,
)
from clrl.recognition.pixel_model import PIXELS, PixelModels, cells


def no_model(density: Density, sequences: int = 1) -> np.ndarray:
    return np.zeros((sequences, 1, density.statistics), density.dtype)


def evidence_of(density: Density, observations: np.ndarray) -> np.ndarray:
    """Of one sequence, ``[T, *observation]``."""
    evidence = no_model(density)[:, 0]
    for observation in observations:
        evidence += density.statistics_of(observation[None])
    return evidence


def log_probability(density: Density, observations: np.ndarray) -> float:
    """Of one sequence from nothing, by the chain rule."""
    evidence = no_model(density)[:, 0]
    total = 0.0
    for observation in observations:
        log_predictive = density.log_predictive(
            no_model(density), evidence, observation[None]
        )
        total += float(log_predictive[0, 0])
        evidence += density.statistics_of(observation[None])
    return total


@given(symbols=st.lists(st.integers(0, 3), max_size=30), alphabet=st.integers(4, 6))
def test_the_kt_predictive_sums_to_one(symbols: list[int], alphabet: int) -> None:
    density = KrichevskyTrofimov(alphabet)
    evidence = evidence_of(density, np.array(symbols, np.int64))
    each = [
        density.log_predictive(no_model(density), evidence, np.array([symbol]))[0, 0]
        for symbol in range(alphabet)
    ]
    assert math.isclose(sum(np.exp(each)), 1, rel_tol=1e-12)


@given(symbols=st.lists(st.integers(0, 1), max_size=12))
def test_kt_is_the_beta_integral(symbols: list[int]) -> None:
    ones = sum(symbols)
    expected = Fraction(1)
    for counted in (ones, len(symbols) - ones):
        for n in range(counted):
            expected *= Fraction(2 * n + 1, 2)
    for n in range(len(symbols)):
        expected /= n + 1
    found = log_probability(KrichevskyTrofimov(2), np.array(symbols, np.int64))
    assert math.isclose(math.exp(found), expected, rel_tol=1e-9)


def test_sequences_and_models_do_not_mix() -> None:
    density = KrichevskyTrofimov(2)
    models = np.array([[[9.0, 0.0], [0.0, 9.0]], [[0.0, 0.0], [4.0, 4.0]]])
    evidence = np.array([[1.0, 0.0], [0.0, 2.0]])
    found = np.exp(density.log_predictive(models, evidence, np.array([0, 1])))
    expected = [[10.5 / 11, 1.5 / 11], [2.5 / 3, 6.5 / 11]]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@given(seed=st.integers(0, 50), learnt=st.integers(0, 4), bins=st.integers(2, 40))
def test_pixels_agree_with_the_models_of_the_flat_recogniser(
    seed: int, learnt: int, bins: int
) -> None:
    rng = np.random.default_rng(seed)
    frames = rng.integers(0, bins, (learnt + 3, PIXELS)).astype(np.uint8)
    flat = PixelModels(bins, 0.1)
    flat.append_untrained()
    flat.append_untrained()
    density = PixelDirichlet(bins, 0.1)
    models = np.zeros((1, 2, density.statistics), np.int32)
    if learnt:
        flat.update(1, frames[:learnt])
        models[0, 1] = evidence_of(density, cells(frames[:learnt]))[0]
    evidence = no_model(density)[:, 0]
    found = np.zeros(2)
    for shown in cells(frames[learnt:]):
        found += density.log_predictive(models, evidence, shown[None])[0]
        evidence += density.statistics_of(shown[None])
    expected = flat.prequential_log_likelihood(frames[learnt:])
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("learnt", [0, 1, 5])
def test_the_gaussians_predictive_is_students_t(learnt: int) -> None:
    rng = np.random.default_rng(learnt)
    vectors = rng.normal(2, 3, (learnt + 1, 3))
    density = DiagonalGaussian(3, mean_strength=0.5, shape=1.5, scale=0.7)
    expected = 0.0
    for feature in range(3):
        seen = vectors[:learnt, feature]
        mean = seen.mean() if learnt else 0.0
        strength, shape = 0.5 + learnt, 1.5 + learnt / 2
        # Murphy (2007), eqs. 86-89.
        scale = 0.7 + ((seen - mean) ** 2).sum() / 2
        scale += 0.5 * learnt * mean**2 / (2 * strength)
        expected += stats.t.logpdf(
            vectors[-1, feature],
            df=2 * shape,
            loc=learnt * mean / strength,
            scale=math.sqrt(scale * (strength + 1) / (shape * strength)),
        )
    evidence = evidence_of(density, vectors[:learnt])
    found = density.log_predictive(no_model(density), evidence, vectors[-1:])
    assert math.isclose(found[0, 0], expected, rel_tol=1e-9)


def test_the_gaussians_predictive_integrates_to_one() -> None:
    density = DiagonalGaussian(1)
    evidence = evidence_of(density, np.array([[0.3], [1.2], [0.7]]))

    def predictive(value: float) -> float:
        observation = np.array([[value]])
        log_density = density.log_predictive(no_model(density), evidence, observation)
        return math.exp(log_density[0, 0])

    total, _ = integrate.quad(predictive, -np.inf, np.inf)
    assert math.isclose(total, 1, rel_tol=1e-6)


@pytest.mark.parametrize(
    ("density", "observations"),
    [
        (KrichevskyTrofimov(3), np.array([0, 2, 2, 1, 2])),
        (DiagonalGaussian(2), np.random.default_rng(0).normal(size=(5, 2))),
    ],
)
def test_a_model_plus_evidence_is_the_model_that_learnt_it(
    density: Density, observations: np.ndarray
) -> None:
    first, second = observations[:2], observations[2:4]
    split = density.log_predictive(
        evidence_of(density, first)[None],
        evidence_of(density, second),
        observations[-1:],
    )
    together = density.log_predictive(
        no_model(density), evidence_of(density, observations[:4]), observations[-1:]
    )
    np.testing.assert_allclose(split, together, rtol=1e-12)


@pytest.mark.parametrize("sequences", [1, 2])
def test_frames_are_as_probable_in_groups_as_model_by_model(sequences: int) -> None:
    density = PixelDirichlet(4, 0.5)
    rng = np.random.default_rng(0)
    shown = cells(rng.integers(4, size=(sequences, PIXELS), dtype=np.uint8))
    groups = [
        TrainedModels(
            rng.integers(9, size=(sequences, models, density.statistics)).astype("i4"),
            learnt * rng.integers(5, size=(sequences, density.statistics), dtype="i4"),
        )
        for models, learnt in ((3, 1), (1, 0), (2, 1))
    ]
    for group in groups[::2]:
        group.evidence[:, -1] = 4  # frames
    for got, (models, evidence) in zip(
        density.log_predictives(groups, shown), groups, strict=True
    ):
        assert got.shape == models.shape[:2]
        for b, m in np.ndindex(got.shape):
            seen = models[b, m] + evidence[b]
            each = (seen[shown[b]] + 0.5) / (seen[-1] + 4 * 0.5)
            assert got[b, m] == pytest.approx(np.log(each).sum(), rel=1e-6)


def test_a_constant_feature_keeps_a_finite_density() -> None:
    density = DiagonalGaussian(1)
    evidence = evidence_of(density, np.full((1000, 1), 1e6))
    found = density.log_predictive(no_model(density), evidence, np.array([[1e6]]))
    assert np.isfinite(found).all()
