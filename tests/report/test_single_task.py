import dataclasses
import math

import pytest

from clrl.evaluation.human_scores import normalised
from clrl.report.single_task import (
    forward_transfer,
    game_transfers,
    level_difference,
    visit_levels,
)
from clrl.summary import Summary, summarise

from ..synthetic_run import GAMES, HIGHEST, description, synthetic_run

GAME = GAMES[0]
RUN = summarise(synthetic_run(), description())


def alone(game: str, seed: int = 0) -> Summary:
    run = synthetic_run((game,), seed=seed, episodes_per_visit=20)
    return summarise(run, description((game,)))


def with_areas(summary: Summary, *areas: float | None) -> Summary:
    visits = [
        dataclasses.replace(visit, return_area=area)
        for visit, area in zip(summary.visits, areas, strict=True)
    ]
    return dataclasses.replace(summary, visits=tuple(visits))


def human(game: str, share: float) -> float:
    """The raw score at that share of the way from random play to a human."""
    random = -normalised(game, 0.0) / (normalised(game, 1.0) - normalised(game, 0.0))
    step = 1 / (normalised(game, 1.0) - normalised(game, 0.0))
    return random + share * step


def test_each_visit_is_beside_as_many_visits_alone() -> None:
    references = {GAME: (alone(GAME, 1), alone(GAME, 2))}
    first, second = visit_levels(RUN, references)
    one, other = references[GAME]
    assert (first.stage, second.stage) == (f"{GAME} #1", f"{GAME} #2")
    for visit, level, row in ((1, first, 1), (2, second, 4)):
        mean = (one.scores[visit][0] + other.scores[visit][0]) / 2
        assert level.level == RUN.scores[row][0]
        assert level.alone == pytest.approx(mean)
        expected = normalised(GAME, level.level) - normalised(GAME, mean)
        assert level.human_difference == pytest.approx(expected)
    both = [first.human_difference, second.human_difference]
    assert level_difference(RUN, references) == pytest.approx(sum(both) / 2)


def test_an_agent_that_learns_as_well_as_alone_has_nothing_lost_or_gained() -> None:
    run = summarise(synthetic_run((GAME,)), description((GAME,)))
    assert level_difference(run, {GAME: (run,)}) == 0
    assert forward_transfer(run, {GAME: (run,)}) == 0


def test_forward_transfer_is_worked_out_by_hand() -> None:
    """(0.4 - 0.2) / (1 - 0.2) and (0.1 - 0.6) / (1 - 0.6)."""
    games = GAMES[:2]
    run = with_areas(
        summarise(synthetic_run(games), description(games)),
        human(games[0], 0.4),
        human(games[1], 0.1),
        999.0,
        999.0,
    )
    references = {
        games[0]: tuple(
            with_areas(alone(games[0]), human(games[0], area), 999.0)
            for area in (0.1, 0.3)
        ),
        games[1]: (with_areas(alone(games[1]), human(games[1], 0.6), 999.0),),
    }
    found = game_transfers(run, references)
    assert [each.transfer for each in found] == pytest.approx([0.25, -1.25])
    assert [each.seeds for each in found] == [2, 1]
    assert forward_transfer(run, references) == pytest.approx(-0.5)


def test_a_game_that_is_played_like_a_human_alone_has_no_forward_transfer() -> None:
    run = summarise(synthetic_run((GAME,)), description((GAME,)))
    best = with_areas(alone(GAME), human(GAME, 1.0), 0.0)
    assert math.isnan(forward_transfer(run, {GAME: (best,)}))


def test_nothing_is_known_without_references_or_episodes() -> None:
    assert not visit_levels(RUN, {})
    assert not game_transfers(RUN, {})
    assert math.isnan(level_difference(RUN, {}))
    assert math.isnan(forward_transfer(RUN, {}))
    silent = with_areas(alone(GAME), None, None)
    assert math.isnan(forward_transfer(RUN, {GAME: (silent,)}))


def test_a_visit_that_is_not_scored_yet_does_not_count() -> None:
    so_far = [r for r in synthetic_run() if r.agent_steps < 45_000]
    run = summarise(so_far, description())
    references = {game: (alone(game),) for game in GAMES}
    assert [level.stage for level in visit_levels(run, references)] == [f"{GAME} #1"]
    assert [each.name for each in game_transfers(run, references)] == [GAME]


def test_games_without_a_human_score_are_compared_raw() -> None:
    game = "adventure"
    assert game not in HIGHEST
    run = summarise(synthetic_run((game,)), description((game,)))
    (first, _) = visit_levels(run, {game: (run,)})
    assert first.level == first.alone
    assert math.isnan(first.human_difference)
    assert math.isnan(level_difference(run, {game: (run,)}))
