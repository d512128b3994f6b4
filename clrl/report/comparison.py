"""The results of several methods beside each other, with intervals over their runs.

A measure that a run has once is aggregated over runs: interquartile mean with bootstrap
interval. Final human-normalised scores are pooled over runs and games, as Agarwal et
al. (2021) do, over the games that have a human score (Nature-2015 humans).
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from clrl.evaluation.statistics import (
    Estimate,
    ProfileEstimate,
    improvement_estimate,
    interquartile_mean,
    profile_estimate,
    stratified_estimate,
    whole_run_estimate,
)
from clrl.report.comparison_measures import MEASURES
from clrl.report.comparison_runs import MethodRuns, Selection
from clrl.report.finished_run import FinishedRun
from clrl.summary import Summary

FEW_SEEDS = 10
"""Below that many, intervals come with a warning."""

_PROFILE_POINTS = 400
_PROFILE_MARGIN = 0.05
_NO_ESTIMATE = Estimate(math.nan, math.nan, math.nan)


@dataclass(frozen=True, kw_only=True)
class GameResult:
    """One method in one game.

    Attributes:
        final: Raw score after the last stage.
        human_normalised: The same relative to random (0) and human (1).
        own: Raw score after the game's own last visit.
        finals: ``final`` of each run.
    """

    final: Estimate
    human_normalised: Estimate
    own: Estimate
    finals: Float64[np.ndarray, "R"]


@dataclass(frozen=True, kw_only=True)
class MethodResult:
    """One method.

    Attributes:
        name: Of the method.
        runs: By seed.
        values: Each measure of each run, in the order of ``MEASURES``.
        measures: Their aggregates.
        score: IQM over runs and games of the final normalised score, stratified.
        score_of_whole_runs: The same with whole runs resampled.
        profile: Of those scores, at the comparison's thresholds.
        games: In the order of the comparison's.
    """

    name: str
    runs: tuple[FinishedRun, ...]
    values: Float64[np.ndarray, "M R"]
    measures: tuple[Estimate, ...]
    score: Estimate
    score_of_whole_runs: Estimate
    profile: ProfileEstimate
    games: tuple[GameResult, ...]


@dataclass(frozen=True)
class Improvement:
    """How likely a run of one method scores higher than one of another."""

    method: str
    over: str
    probability: Estimate


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Everything that tables and figures show.

    Attributes:
        selection: Which runs are compared.
        methods: Their results.
        improvements: For each pair of methods.
        thresholds: Of the performance profiles.
        notes: What a reader must know to read the numbers right.
    """

    selection: Selection
    methods: tuple[MethodResult, ...]
    improvements: tuple[Improvement, ...]
    thresholds: Float64[np.ndarray, "P"]
    notes: tuple[str, ...]


def compare(selection: Selection) -> Comparison:
    """The statistics of a selection of runs."""
    scores = [_known_scores(method, selection.games) for method in selection.methods]
    thresholds = _thresholds(scores)
    names = [method.name for method in selection.methods]
    pairs = [(i, j) for i in range(len(names)) for j in range(i + 1, len(names))]
    return Comparison(
        selection=selection,
        methods=tuple(
            _method_result(method, s, selection.games, thresholds)
            for method, s in zip(selection.methods, scores, strict=True)
        ),
        improvements=tuple(
            Improvement(names[i], names[j], improvement_estimate(scores[i], scores[j]))
            for i, j in pairs
            if scores[i].size
        ),
        thresholds=thresholds,
        notes=tuple(_notes(selection)),
    )


def _method_result(
    method: MethodRuns,
    scores: Float64[np.ndarray, "R T"],
    games: Sequence[str],
    thresholds: Float64[np.ndarray, "P"],
) -> MethodResult:
    values = np.array(
        [[measure.of(run) for run in method.runs] for measure in MEASURES],
        np.float64,
    )
    return MethodResult(
        name=method.name,
        runs=method.runs,
        values=values,
        measures=tuple(_over_runs(row) for row in values),
        score=_iqm(scores, stratified_estimate),
        score_of_whole_runs=_iqm(scores, whole_run_estimate),
        profile=_profile(scores, thresholds),
        games=tuple(_game_result(method, game) for game in games),
    )


def _game_result(method: MethodRuns, game: str) -> GameResult:
    summaries = [run.summary for run in method.runs]
    columns = [summary.tasks.index(game) for summary in summaries]
    runs = list(zip(summaries, columns, strict=True))
    finals = np.array([s.scores[-1][j] for s, j in runs], np.float64)
    own = [s.scores[_last_stage(s, game)][j] for s, j in runs]
    normalised = [s.human_normalised[-1][j] for s, j in runs]
    return GameResult(
        final=_over_runs(finals),
        human_normalised=_over_runs(np.array(normalised, np.float64)),
        own=_over_runs(np.array(own, np.float64)),
        finals=finals,
    )


def _last_stage(summary: Summary, game: str) -> int:
    """The stage after the last visit to a game."""
    return max(
        stage for stage, v in enumerate(summary.visits, start=1) if v.game == game
    )


def _over_runs(values: Float64[np.ndarray, "R"]) -> Estimate:
    """IQM over the runs that have the value, with its interval."""
    known = values[~np.isnan(values)]
    return _iqm(known[:, None], whole_run_estimate)


def _iqm(
    scores: Float64[np.ndarray, "R T"], estimate: Callable[..., Estimate]
) -> Estimate:
    return estimate(interquartile_mean, scores) if scores.size else _NO_ESTIMATE


def _profile(
    scores: Float64[np.ndarray, "R T"], thresholds: Float64[np.ndarray, "P"]
) -> ProfileEstimate:
    if scores.size:
        return profile_estimate(scores, thresholds)
    missing = np.full_like(thresholds, math.nan)
    return ProfileEstimate(missing, missing, missing)


def _known_scores(
    method: MethodRuns, games: Sequence[str]
) -> Float64[np.ndarray, "R T"]:
    """Final normalised scores of the games that have a human score."""
    rows = [
        [run.summary.human_normalised[-1][run.summary.tasks.index(g)] for g in games]
        for run in method.runs
    ]
    scores = np.array(rows, np.float64)
    return scores[:, ~np.isnan(scores).any(axis=0)]


def _thresholds(
    scores: Sequence[Float64[np.ndarray, "R T"]],
) -> Float64[np.ndarray, "P"]:
    """Where profiles are drawn, from below random play to above human play at least.

    A profile changes at scores only, so it is exact between them; very many scores are
    replaced by an even grid.
    """
    pooled = np.unique(np.concatenate([s.ravel() for s in scores]))
    low = float(pooled.min(initial=0.0)) - _PROFILE_MARGIN
    high = float(pooled.max(initial=1.0)) + _PROFILE_MARGIN
    if len(pooled) > _PROFILE_POINTS:
        return np.linspace(low, high, _PROFILE_POINTS)
    return np.concatenate([[low], pooled, [high]])


def _notes(selection: Selection) -> list[str]:
    notes = [_seed_note(method) for method in selection.methods]
    if any(1 < len(method.runs) < FEW_SEEDS for method in selection.methods):
        notes.append(
            "Intervals from few seeds are too narrow: in simulation, 95 % intervals "
            "from 2, 3 and 5 seeds held the true value in about 45, 75 and 90 % of "
            "the cases. Do not read a difference into intervals that just miss each "
            "other."
        )
    seeds = {tuple(r.summary.seed for r in m.runs) for m in selection.methods}
    if len(seeds) > 1:
        notes.append("The methods were not run with the same seeds.")
    runs = [run for method in selection.methods for run in method.runs]
    unknown = [
        game
        for game, score in zip(
            runs[0].summary.tasks, runs[0].summary.human_normalised[-1], strict=True
        )
        if math.isnan(score)
    ]
    if unknown:
        notes.append(
            f"No human score: {', '.join(unknown)}; left out of everything "
            "human-normalised."
        )
    notes += _reference_notes(runs)
    revisions = {run.revision for run in runs}
    if len(revisions) > 1:
        notes.append(
            f"The runs were made by {len(revisions)} revisions of clrl; the table of "
            "runs names them."
        )
    return notes


def _reference_notes(runs: Sequence[FinishedRun]) -> Iterator[str]:
    without = [run for run in runs if set(run.references) != set(run.summary.tasks)]
    if without:
        yield (
            f"{len(without)} of {len(runs)} runs have no single-task references for "
            "all their games, so normalised FT and the level against alone are of the "
            f"other games, or not known; to make them: clrl reference {without[0].path}"
        )
        return
    seeds = [len(each) for run in runs for each in run.references.values()]
    fewest, most = min(seeds), max(seeds)
    number = str(most) if fewest == most else f"{fewest} to {most}"
    yield (
        "Normalised FT and the level against alone are measured against the mean of "
        f"{number} single-task {'run' if most == 1 else 'runs'} of each game."
    )


def _seed_note(method: MethodRuns) -> str:
    if len(method.runs) == 1:
        return f"{method.name}: 1 seed, so its numbers have no interval."
    return f"{method.name}: {len(method.runs)} seeds."
