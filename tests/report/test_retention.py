import math

import numpy as np
import pytest

from clrl.evaluation.transfer_matrix import backward_transfer
from clrl.records import Evaluation, Record, Visit
from clrl.report.retention import retention
from clrl.summary import Summary, summarise

from ..synthetic_run import description, synthetic_run


def summary_of(rows: list[tuple[float, float]], visits: list[str]) -> Summary:
    games = ("pong", "breakout")
    run: list[Record] = []
    for stage, row in enumerate(rows):
        if 0 < stage <= len(visits):
            game = visits[stage - 1]
            run.append(Visit(agent_steps=10 * stage - 10, visit=stage - 1, game=game))
        for game, raw in zip(games, row, strict=True):
            run.append(
                Evaluation(
                    agent_steps=10 * stage,
                    stage=stage,
                    game=game,
                    label=0,
                    returns=(raw,),
                )
            )
    return summarise(run, description(games))


def test_a_game_is_compared_with_its_score_after_its_own_last_visit() -> None:
    rows = [(-21.0, 1.0), (10.0, 2.0), (5.0, 20.0), (8.0, 12.0), (3.0, 30.0)]
    pong, breakout = retention(
        summary_of(rows, ["pong", "breakout", "pong", "breakout"])
    )
    assert (pong.stage, pong.after, pong.best, pong.final) == ("pong #2", 8, 10, 3)
    assert pong.change == -5
    assert not pong.is_last
    assert (breakout.stage, breakout.after, breakout.best) == ("breakout #2", 30, 30)
    assert breakout.is_last


def test_a_game_that_was_not_visited_yet_has_no_row() -> None:
    rows = [(-21.0, 1.0), (10.0, 2.0)]
    assert [row.name for row in retention(summary_of(rows, ["pong"]))] == ["pong"]


def test_the_mean_change_is_backward_transfer() -> None:
    summary = summarise(synthetic_run(), description())
    changes = [r.comparable_change for r in retention(summary) if not r.is_last]
    trained = [summary.tasks.index(visit.game) for visit in summary.visits]
    bwt = backward_transfer(np.array(summary.human_normalised), trained)
    assert np.mean(changes) == pytest.approx(bwt)
    assert not math.isnan(bwt)
