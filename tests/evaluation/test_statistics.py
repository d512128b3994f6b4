import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from clrl.evaluation.statistics import (
    Estimate,
    Statistic,
    improvement_estimate,
    interquartile_mean,
    performance_profile,
    probability_of_improvement,
    profile_estimate,
    stratified_estimate,
    whole_run_estimate,
)

FEW = json.loads((Path(__file__).parent / "data" / "few_runs.json").read_text("utf-8"))
X, Y = np.array(FEW["x"]), np.array(FEW["y"])
THRESHOLDS = np.array(FEW["thresholds"])

# Of the ends of an interval when they come from another set of resamples.
SAMPLING_ERROR = 0.02

scores = hnp.arrays(
    np.float64,
    st.tuples(st.integers(1, 5), st.just(3)),
    elements=st.floats(-2, 2, width=16),
)


def test_statistics_agree_with_values_computed_by_hand_written_loops() -> None:
    assert interquartile_mean(X) == pytest.approx(FEW["iqm_x"])
    assert interquartile_mean(Y) == pytest.approx(FEW["iqm_y"])
    assert probability_of_improvement(X, Y) == pytest.approx(FEW["improvement"])
    profile = performance_profile(X, THRESHOLDS)
    np.testing.assert_allclose(profile, FEW["profile_x"])


def test_intervals_agree_with_values_computed_by_hand_written_loops() -> None:
    stratified = stratified_estimate(interquartile_mean, X)
    whole = whole_run_estimate(interquartile_mean, X)
    improvement = improvement_estimate(X, Y)
    for found, expected in (
        (stratified, FEW["iqm_x_stratified"]),
        (whole, FEW["iqm_x_whole_runs"]),
        (improvement, FEW["improvement_stratified"]),
    ):
        np.testing.assert_allclose(found[1:], expected, atol=SAMPLING_ERROR)
    profile = profile_estimate(X, THRESHOLDS)
    ends = np.stack([profile.low, profile.high], axis=1)
    # A profile moves in steps of one score in fifteen.
    np.testing.assert_allclose(ends, FEW["profile_x_stratified"], atol=1 / 15 + 1e-3)


@given(scores)
def test_the_interquartile_mean_agrees_with_a_sorted_list(x: np.ndarray) -> None:
    pooled = sorted(x.ravel().tolist())
    cut = len(pooled) // 4
    middle = pooled[cut : len(pooled) - cut]
    assert interquartile_mean(x) == pytest.approx(sum(middle) / len(middle))


@given(scores, scores)
def test_the_probability_of_improvement_agrees_with_counting_pairs(
    x: np.ndarray, y: np.ndarray
) -> None:
    wins = 0.0
    for task in range(3):
        for a in x[:, task]:
            for b in y[:, task]:
                wins += 1.0 if a > b else 0.5 if a == b else 0.0
    expected = wins / (3 * len(x) * len(y))
    assert probability_of_improvement(x, y) == pytest.approx(expected)
    both = probability_of_improvement(x, y) + probability_of_improvement(y, x)
    assert both == pytest.approx(1.0)


def test_the_probability_of_improvement_is_that_of_mann_and_whitney() -> None:
    shares = [
        scipy.stats.mannwhitneyu(X[:, task], Y[:, task], method="asymptotic").statistic
        / (len(X) * len(Y))
        for task in range(3)
    ]
    assert probability_of_improvement(X, Y) == pytest.approx(np.mean(shares))


@given(scores)
def test_a_profile_falls_from_one_to_zero(x: np.ndarray) -> None:
    profile = performance_profile(x, np.linspace(-3, 3, 13))
    assert profile[0] == 1
    assert profile[-1] == 0
    assert np.all(np.diff(profile) <= 0)


def test_statistics_of_resamples_are_those_of_each_resample() -> None:
    many = np.random.default_rng(0).normal(size=(7, 5, 3))
    expected = [interquartile_mean(x) for x in many]
    np.testing.assert_allclose(interquartile_mean(many), expected)
    rows = [performance_profile(x, THRESHOLDS) for x in many]
    np.testing.assert_allclose(performance_profile(many, THRESHOLDS).T, rows)


def test_one_run_has_no_interval() -> None:
    for estimate in (
        stratified_estimate(interquartile_mean, X[:1]),
        whole_run_estimate(interquartile_mean, X[:1]),
        improvement_estimate(X[:1], Y),
        improvement_estimate(X, Y[:1]),
    ):
        assert math.isfinite(estimate.value)
        assert math.isnan(estimate.low)
        assert math.isnan(estimate.high)
    assert np.isnan(profile_estimate(X[:1], THRESHOLDS).low).all()


def test_equal_runs_have_an_interval_of_no_width() -> None:
    equal = np.full((4, 3), 0.3)
    for estimate in (stratified_estimate, whole_run_estimate):
        np.testing.assert_allclose(estimate(interquartile_mean, equal), 0.3)
    np.testing.assert_allclose(improvement_estimate(equal, equal), 0.5)


def test_equal_scores_give_equal_intervals() -> None:
    first = stratified_estimate(interquartile_mean, X)
    assert stratified_estimate(interquartile_mean, X) == first


# ---- coverage -----------------------------------------------------------------------

SIMULATIONS = 120
TASK_MEANS = np.array([0.0, 0.3, 0.6, 0.9])
# The share of 120 draws with probability 0.95 strays by up to 0.04, and percentile
# intervals of a dozen runs are a little too narrow besides.
ABOUT_NOMINAL = (0.87, 0.99)


@pytest.fixture
def _few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer than in use: coverage hardly depends on them, time does."""
    monkeypatch.setattr("clrl.evaluation.statistics.RESAMPLES", 400)


def share_covered(
    simulate: Callable[[np.random.Generator], Estimate], truth: float
) -> float:
    rng = np.random.default_rng(0)
    found = [simulate(rng) for _ in range(SIMULATIONS)]
    return sum(e.low <= truth <= e.high for e in found) / SIMULATIONS


def apart(rng: np.random.Generator, runs: int) -> np.ndarray:
    """Runs whose tasks have nothing in common."""
    return np.asarray(TASK_MEANS + rng.normal(0, 0.5, (runs, 4)))


def together(rng: np.random.Generator, runs: int) -> np.ndarray:
    """Runs that are lucky in all tasks or in none."""
    return np.asarray(TASK_MEANS + rng.normal(0, 0.5, (runs, 1)) + np.zeros((runs, 4)))


def population_iqm(draw: Callable[[np.random.Generator, int], np.ndarray]) -> float:
    return float(interquartile_mean(draw(np.random.default_rng(1), 50_000)))


def coverage(
    estimate: Callable[[Statistic, np.ndarray], Estimate],
    draw: Callable[[np.random.Generator, int], np.ndarray],
    runs: int,
) -> float:
    truth = population_iqm(draw)
    return share_covered(
        lambda rng: estimate(interquartile_mean, draw(rng, runs)), truth
    )


@pytest.mark.usefixtures("_few_resamples")
def test_stratified_intervals_cover_when_tasks_are_independent() -> None:
    covered = coverage(stratified_estimate, apart, runs=12)
    assert ABOUT_NOMINAL[0] <= covered <= ABOUT_NOMINAL[1]


@pytest.mark.usefixtures("_few_resamples")
def test_only_whole_runs_cover_when_a_run_is_lucky_in_all_its_tasks() -> None:
    covered = coverage(whole_run_estimate, together, runs=25)
    assert ABOUT_NOMINAL[0] <= covered <= ABOUT_NOMINAL[1]
    assert coverage(stratified_estimate, together, runs=25) < 0.8


@pytest.mark.usefixtures("_few_resamples")
def test_three_runs_give_intervals_that_are_too_narrow() -> None:
    covered = coverage(whole_run_estimate, together, runs=3)
    assert 0.5 < covered < 0.85


@pytest.mark.usefixtures("_few_resamples")
def test_intervals_of_the_probability_of_improvement_cover() -> None:
    truth = float(np.mean(scipy.stats.norm.cdf(np.full(4, 0.3) / (0.5 * math.sqrt(2)))))
    covered = share_covered(
        lambda rng: improvement_estimate(apart(rng, 12) + 0.3, apart(rng, 12)), truth
    )
    assert ABOUT_NOMINAL[0] <= covered <= ABOUT_NOMINAL[1]
