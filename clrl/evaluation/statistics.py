"""Aggregates of few runs with intervals, after Agarwal et al. (2021).

"Deep reinforcement learning at the edge of the statistical precipice", NeurIPS 2021;
their library is rliable. Scores are one array with an axis of runs ``R`` and an axis of
tasks ``T``; a measure that a run has once is a single task.

Two bootstraps differ in what they take for independent:

    stratified    the runs of each task are resampled on their own, as in rliable: right
                  where each task was learnt by an agent of its own
    whole runs    a resampled run brings its scores on all tasks: right where one agent
                  learnt them all, so that a lucky seed is lucky in several of them

Both give percentile intervals and are too narrow for few runs, because a sample shows
less spread than what it was drawn from.
"""

import math
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np
import scipy.stats
from jaxtyping import Float64

CONFIDENCE = 0.95
RESAMPLES = 2_000
"""As many as rliable takes for performance profiles."""

_SEED = 0
_LARGEST_BATCH = 4_000_000
"""Numbers that a batch of resamples may hold: 32 MB."""

Statistic: TypeAlias = Callable[
    [Float64[np.ndarray, "... R T"]], Float64[np.ndarray, "..."]
]
"""Of runs and tasks on the last two axes."""


class Estimate(NamedTuple):
    """A statistic with its interval; NaN for what does not exist."""

    value: float
    low: float
    high: float


class ProfileEstimate(NamedTuple):
    """A performance profile with its pointwise interval; NaN where there is none."""

    value: Float64[np.ndarray, "P"]
    low: Float64[np.ndarray, "P"]
    high: Float64[np.ndarray, "P"]


def interquartile_mean(
    scores: Float64[np.ndarray, "... R T"],
) -> Float64[np.ndarray, "..."]:
    """IQM: mean of the middle half of all runs' scores on all tasks together.

    ``floor(R T / 4)`` scores are cut off at either end. Source: Agarwal et al. (2021),
    sec. 4.3.
    """
    pooled = scores.reshape(*scores.shape[:-2], -1)
    return np.asarray(scipy.stats.trim_mean(pooled, 0.25, axis=-1), np.float64)


def performance_profile(
    scores: Float64[np.ndarray, "... R T"], thresholds: Float64[np.ndarray, "P"]
) -> Float64[np.ndarray, "P ..."]:
    """The share of scores, over runs and tasks, that are above each threshold.

    Source: Agarwal et al. (2021), sec. 4.2 (the run-score distribution).
    """
    return np.stack([np.mean(scores > tau, axis=(-2, -1)) for tau in thresholds])


def probability_of_improvement(
    x: Float64[np.ndarray, "... R T"], y: Float64[np.ndarray, "... Q T"]
) -> Float64[np.ndarray, "..."]:
    """P(X > Y): mean over tasks of the share of pairs of runs in which X scores higher.

    A tie counts one half. Source: Agarwal et al. (2021), sec. 4.3; the share is the
    statistic of Mann and Whitney's test over the number of pairs.
    """
    first, second = x[..., :, None, :], y[..., None, :, :]  # [... R Q T]
    wins = (first > second) + 0.5 * (first == second)
    return np.asarray(np.mean(wins, axis=(-3, -2, -1)), np.float64)


def stratified_estimate(
    statistic: Statistic, scores: Float64[np.ndarray, "R T"]
) -> Estimate:
    """A statistic with its interval when the runs of each task are resampled apart.

    Source: Agarwal et al. (2021), sec. 4.1. The resampling has a seed of its own, so
    equal scores give equal intervals. One run has no interval.

    Args:
        statistic: Of runs and tasks.
        scores: One row for each run, without NaN.
    """
    return _estimate(statistic, scores, is_paired=False)


def whole_run_estimate(
    statistic: Statistic, scores: Float64[np.ndarray, "R T"]
) -> Estimate:
    """``stratified_estimate``, but a resampled run brings its scores on all tasks."""
    return _estimate(statistic, scores, is_paired=True)


def improvement_estimate(
    x: Float64[np.ndarray, "R T"], y: Float64[np.ndarray, "Q T"]
) -> Estimate:
    """``probability_of_improvement`` with its stratified interval.

    The runs of both methods are resampled. There is no interval where one has one run.
    """
    value = float(probability_of_improvement(x, y))
    if min(len(x), len(y)) < 2:  # noqa: PLR2004 - a spread needs two
        return Estimate(value, math.nan, math.nan)
    tasks = x.shape[1]

    def improvement(*columns: np.ndarray, axis: int) -> np.ndarray:
        return probability_of_improvement(
            _beside(columns[:tasks], axis), _beside(columns[tasks:], axis)
        )

    pairs = len(x) * len(y) * tasks
    low, high = _interval(improvement, (*x.T, *y.T), pairs, is_paired=False)
    return Estimate(value, float(low), float(high))


def profile_estimate(
    scores: Float64[np.ndarray, "R T"], thresholds: Float64[np.ndarray, "P"]
) -> ProfileEstimate:
    """``performance_profile`` with its stratified pointwise interval."""
    value = performance_profile(scores, thresholds)
    if len(scores) < 2:  # noqa: PLR2004 - a spread needs two
        missing = np.full_like(value, math.nan)
        return ProfileEstimate(value, missing, missing)

    def profile(*columns: np.ndarray, axis: int) -> np.ndarray:
        return performance_profile(_beside(columns, axis), thresholds)

    low, high = _interval(profile, tuple(scores.T), scores.size, is_paired=False)
    return ProfileEstimate(value, low, high)


def _estimate(
    statistic: Statistic, scores: Float64[np.ndarray, "R T"], *, is_paired: bool
) -> Estimate:
    value = float(statistic(scores))
    if len(scores) < 2:  # noqa: PLR2004 - a spread needs two
        return Estimate(value, math.nan, math.nan)

    def of_columns(*columns: np.ndarray, axis: int) -> np.ndarray:
        return statistic(_beside(columns, axis))

    low, high = _interval(of_columns, tuple(scores.T), scores.size, is_paired=is_paired)
    return Estimate(value, float(low), float(high))


def _interval(
    statistic: Callable[..., np.ndarray],
    columns: tuple[np.ndarray, ...],
    size: int,
    *,
    is_paired: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """Percentile interval; paired columns are resampled by the same indices."""
    found = scipy.stats.bootstrap(
        columns,
        statistic,
        n_resamples=RESAMPLES,
        batch=max(1, min(RESAMPLES, _LARGEST_BATCH // size)),
        vectorized=True,
        paired=is_paired,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(_SEED),
    ).confidence_interval
    return np.asarray(found.low), np.asarray(found.high)


def _beside(columns: tuple[np.ndarray, ...], axis: int) -> np.ndarray:
    """Tasks, each with its runs on ``axis``, as one array [... R T]."""
    return np.stack([np.moveaxis(column, axis, -1) for column in columns], axis=-1)
