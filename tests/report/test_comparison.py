import dataclasses
import math
import re
from pathlib import Path

import numpy as np
import pytest

from clrl.config.games import SequenceConfig
from clrl.evaluation.statistics import Estimate
from clrl.report.comparison import Comparison, compare
from clrl.report.comparison_measures import MEASURES
from clrl.report.comparison_runs import select

from ..synthetic_run import GAMES, synthetic_run
from .run_files import (
    EWC,
    FINETUNE,
    config_of,
    write_methods,
    write_references,
    write_run,
)

RUN = synthetic_run(episodes_per_visit=3)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    """EWC with four seeds and fine-tuning with four, beside single-task runs."""
    folder = tmp_path_factory.mktemp("runs")
    write_references(folder, config_of(), seeds=2)
    return compare(select(write_methods(folder, seeds=4, episodes_per_visit=10)))


def middle_half(values: list[float]) -> float:
    """The interquartile mean of four values, or of twelve."""
    cut = len(values) // 4
    kept = sorted(values)[cut : len(values) - cut]
    return sum(kept) / len(kept)


def finals(comparison: Comparison, method: int) -> list[list[float]]:
    runs = comparison.methods[method].runs
    return [list(run.summary.human_normalised[-1]) for run in runs]


def test_each_measure_is_the_interquartile_mean_over_seeds(both: Comparison) -> None:
    for method in both.methods:
        for measure, estimate in zip(MEASURES, method.measures, strict=True):
            values = [measure.of(run) for run in method.runs]
            assert estimate.value == pytest.approx(middle_half(values))
            ends = [min(values), estimate.low, estimate.value, estimate.high]
            assert np.all(np.diff([*ends, max(values)]) >= -1e-12)


def test_scores_are_pooled_over_runs_and_games(both: Comparison) -> None:
    for index, method in enumerate(both.methods):
        pooled = [score for run in finals(both, index) for score in run]
        assert method.score.value == pytest.approx(middle_half(pooled))
        assert method.score_of_whole_runs.value == method.score.value
        for tau, share in zip(both.thresholds, method.profile.value, strict=True):
            assert share == sum(score > tau for score in pooled) / len(pooled)


def test_a_profile_begins_at_one_and_ends_at_zero(both: Comparison) -> None:
    for method in both.methods:
        assert method.profile.value[0] == 1
        assert method.profile.value[-1] == 0
    assert both.thresholds[0] < 0
    assert both.thresholds[-1] > 1


def test_very_many_scores_are_drawn_on_a_grid(
    monkeypatch: pytest.MonkeyPatch, both: Comparison
) -> None:
    monkeypatch.setattr("clrl.report.comparison._PROFILE_POINTS", 11)
    thresholds = compare(both.selection).thresholds
    assert len(thresholds) == 11
    np.testing.assert_allclose(np.diff(thresholds, 2), 0, atol=1e-12)


def test_improvement_counts_pairs_of_runs_game_by_game(both: Comparison) -> None:
    ewc, finetune = finals(both, 0), finals(both, 1)
    wins = [
        (a > b) + 0.5 * (a == b)
        for x in ewc
        for y in finetune
        for a, b in zip(x, y, strict=True)
    ]
    (improvement,) = both.improvements
    assert (improvement.method, improvement.over) == ("ewc", "finetune")
    assert improvement.probability.value == pytest.approx(sum(wins) / len(wins))


def test_games_are_scored_at_the_end_and_after_their_own_last_visit(
    both: Comparison,
) -> None:
    for method in both.methods:
        for column, game in enumerate(method.games):
            scores = [run.summary.scores for run in method.runs]
            # Rounds of three games: the second visit to the first is stage 4.
            own = middle_half([rows[4 + column][column] for rows in scores])
            assert game.own.value == pytest.approx(own)
            end = [rows[-1][column] for rows in scores]
            assert game.finals.tolist() == end
            assert game.final.value == pytest.approx(middle_half(end))


def test_columns_follow_the_names_of_games_not_their_places(tmp_path: Path) -> None:
    sequence = SequenceConfig(visit_steps=30_000, order="random")
    paths = [
        write_run(
            tmp_path / str(seed),
            config_of(seed=seed, games=games, sequence=sequence),
            synthetic_run(games, episodes_per_visit=3, kept=1.0),
        )
        for seed, games in enumerate((GAMES, GAMES[::-1]))
    ]
    method = compare(select(paths)).methods[0]
    for game, highest in zip(method.games, (24.0, 9000.0, 600.0), strict=True):
        np.testing.assert_allclose(game.finals, 0.5 * highest, rtol=0.2)


# ---- what there is too little of ----------------------------------------------------


def test_one_seed_gives_values_without_intervals(tmp_path: Path) -> None:
    paths = [
        write_run(tmp_path / "ewc", config_of(EWC), RUN),
        write_run(tmp_path / "finetune", config_of(FINETUNE), RUN),
    ]
    write_references(tmp_path, config_of())
    comparison = compare(select(paths))
    method = comparison.methods[0]
    game = method.games[0]
    for estimate in (
        *method.measures,
        method.score,
        method.score_of_whole_runs,
        game.final,
        game.human_normalised,
        comparison.improvements[0].probability,
    ):
        assert math.isfinite(estimate.value)
        assert math.isnan(estimate.low)
        assert math.isnan(estimate.high)
    assert np.isnan(method.profile.low).all()
    assert "ewc: 1 seed, so its numbers have no interval." in comparison.notes


def test_one_method_is_aggregated_without_a_comparison(tmp_path: Path) -> None:
    paths = [write_run(tmp_path / str(s), config_of(seed=s), RUN) for s in range(2)]
    comparison = compare(select(paths))
    assert comparison.improvements == ()
    assert comparison.methods[0].measures[0].value > 0


def test_games_without_a_human_score_are_left_out_of_what_is_normalised(
    tmp_path: Path,
) -> None:
    games = ("pong", "adventure")
    run = synthetic_run(games, episodes_per_visit=3)
    path = write_run(tmp_path / "run", config_of(games=games), run)
    comparison = compare(select([path]))
    pong, adventure = comparison.methods[0].games
    assert comparison.methods[0].score.value == pong.human_normalised.value
    assert math.isnan(adventure.human_normalised.value)
    assert math.isfinite(adventure.final.value)
    assert any("No human score: adventure" in note for note in comparison.notes)


def test_a_game_without_any_human_score_has_raw_results_only(tmp_path: Path) -> None:
    games = ("adventure",)
    run = synthetic_run(games, episodes_per_visit=3)
    paths = [
        write_run(tmp_path / method, config_of(config, games=games), run)
        for method, config in (("ewc", EWC), ("finetune", FINETUNE))
    ]
    comparison = compare(select(paths))
    missing = Estimate(math.nan, math.nan, math.nan)
    for method in comparison.methods:
        np.testing.assert_equal(method.score, missing)
        np.testing.assert_equal(method.measures[0], missing)
        assert np.isnan(method.profile.value).all()
        assert math.isfinite(method.games[0].final.value)
    assert comparison.improvements == ()


def test_what_lacks_its_references_is_said_and_not_made_up(
    tmp_path: Path, both: Comparison
) -> None:
    path = write_run(tmp_path / "run", config_of(), RUN)
    comparison = compare(select([path]))
    index = [measure.name for measure in MEASURES].index("normalised FT")
    for alone in comparison.methods[0].measures[index : index + 2]:
        assert math.isnan(alone.value)
    advice = f"1 of 1 runs have no single-task references.*{path.resolve()}"
    assert any(re.search(advice, note) for note in comparison.notes)
    assert any("the mean of 2 single-task runs" in note for note in both.notes)


def test_few_seeds_are_said_plainly(both: Comparison) -> None:
    assert "ewc: 4 seeds." in both.notes
    assert any("too narrow" in note for note in both.notes)


def test_unequal_seeds_and_revisions_are_said(tmp_path: Path, both: Comparison) -> None:
    paths = [
        write_run(tmp_path / "a", config_of(EWC, 0), RUN, revision="a" * 40),
        write_run(tmp_path / "b", config_of(FINETUNE, 1), RUN, revision="b" * 40),
    ]
    said = compare(select(paths)).notes
    assert "The methods were not run with the same seeds." in said
    assert any("2 revisions" in note for note in said)
    assert not any("revisions" in n or "same seeds" in n for n in both.notes)


def test_equal_runs_give_equal_comparisons(both: Comparison) -> None:
    again = compare(both.selection)
    first = [dataclasses.astuple(i) for i in both.improvements]
    assert [dataclasses.astuple(i) for i in again.improvements] == first
    assert [m.measures for m in again.methods] == [m.measures for m in both.methods]
