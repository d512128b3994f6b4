"""The comparison as tables."""

import json
import math

from clrl.report.comparison import Comparison
from clrl.report.comparison_measures import MEASURES
from clrl.report.table import (
    Column,
    EstimateColumn,
    NumberColumn,
    Table,
    TextColumn,
)


def tables(comparison: Comparison) -> list[Table]:
    """Every table of a comparison that has a row."""
    built = (
        _measure_table(comparison),
        _score_table(comparison),
        _improvement_table(comparison),
        _game_table(comparison),
        _normalised_table(comparison),
        _run_table(comparison),
        _left_out_table(comparison),
    )
    return [table for table in built if table.rows()]


def setting_table(comparison: Comparison) -> Table:
    """What all runs have in common."""
    setting = comparison.selection.setting
    return Table(
        "setting",
        "Setting",
        "The same in all runs.",
        (
            TextColumn("key", list(setting)),
            TextColumn("value", [_value_text(value) for value in setting.values()]),
        ),
    )


def _measure_table(comparison: Comparison) -> Table:
    methods = comparison.methods
    return Table(
        "measures",
        "Measures",
        "Interquartile mean over seeds (of fewer than four, the mean), with 95 % "
        "bootstrap interval where there is more than one. Scores are human-normalised: "
        "0 is random play, 1 a human.",
        (
            TextColumn("measure", [measure.name for measure in MEASURES]),
            *(EstimateColumn(m.name, m.measures) for m in methods),
            TextColumn("meaning", [measure.meaning for measure in MEASURES]),
        ),
    )


def _score_table(comparison: Comparison) -> Table:
    known = [m for m in comparison.methods if not math.isnan(m.score.value)]
    return Table(
        "scores",
        "Final scores over runs and games",
        "Interquartile mean of the final human-normalised scores of all runs on all "
        "games. Stratified: the runs of each game are resampled on their own, as in "
        "rliable. Whole runs: a resampled run brings all its games, because one agent "
        "played them all; where the two intervals differ, trust this one.",
        (
            TextColumn("method", [m.name for m in known]),
            TextColumn("seeds", [str(len(m.runs)) for m in known], is_number=True),
            EstimateColumn("IQM, stratified", [m.score for m in known]),
            EstimateColumn("IQM, whole runs", [m.score_of_whole_runs for m in known]),
        ),
    )


def _improvement_table(comparison: Comparison) -> Table:
    found = comparison.improvements
    return Table(
        "improvement",
        "Probability of improvement",
        "How likely a run of X scores higher at the end than a run of Y, mean over "
        "games; a tie counts one half. Stratified 95 % bootstrap interval; one of no "
        "width means that all these runs agree, not that further ones must.",
        (
            TextColumn("X", [i.method for i in found]),
            TextColumn("Y", [i.over for i in found]),
            EstimateColumn("P(X > Y)", [i.probability for i in found]),
        ),
    )


def _game_table(comparison: Comparison) -> Table:
    columns: list[Column] = []
    for method in comparison.methods:
        own = [game.own for game in method.games]
        final = [game.final for game in method.games]
        columns += [
            EstimateColumn(f"{method.name}: own visit", own, is_raw_score=True),
            EstimateColumn(f"{method.name}: end", final, is_raw_score=True),
        ]
    return Table(
        "games",
        "Raw scores by game",
        "After the game's own last visit, and at the end of the run.",
        (TextColumn("game", list(comparison.selection.games)), *columns),
    )


def _normalised_table(comparison: Comparison) -> Table:
    return Table(
        "games_normalised",
        "Final human-normalised scores by game",
        "0 is random play, 1 a human (Nature 2015); a dash: no human score is known.",
        (
            TextColumn("game", list(comparison.selection.games)),
            *(
                EstimateColumn(m.name, [game.human_normalised for game in m.games])
                for m in comparison.methods
            ),
        ),
    )


def _run_table(comparison: Comparison) -> Table:
    pairs = [(method, run) for method in comparison.methods for run in method.runs]
    summaries = [run.summary for _, run in pairs]
    revisions = [run.revision[:12] or "unknown" for _, run in pairs]
    steps = [f"{summary.agent_steps:,}" for summary in summaries]
    return Table(
        "runs",
        "Runs",
        "Those that the numbers above come from.",
        (
            TextColumn("method", [method.name for method, _ in pairs]),
            TextColumn("seed", [str(s.seed) for s in summaries], is_number=True),
            TextColumn("run", [run.path.name for _, run in pairs]),
            *(
                NumberColumn(measure.name, [measure.of(run) for _, run in pairs])
                for measure in MEASURES
            ),
            TextColumn("agent steps", steps, is_number=True),
            TextColumn("revision", revisions),
        ),
    )


def _left_out_table(comparison: Comparison) -> Table:
    left_out = comparison.selection.left_out
    return Table(
        "left_out",
        "Left out",
        "Runs that were given, but take no part in any number.",
        (
            TextColumn("run", [run.path.name for run in left_out]),
            TextColumn("reason", [run.reason for run in left_out]),
        ),
    )


def _value_text(value: str) -> str:
    return ", ".join(json.loads(value)) if value.startswith("[") else value
