import dataclasses
import math

import pytest

from clrl.report.headlines import headlines
from clrl.summary import Summary, summarise

from ..synthetic_run import description, synthetic_run

SUMMARY = summarise(synthetic_run(), description())


def meaning(name: str, summary: Summary) -> tuple[str, str]:
    found = {each.name: each for each in headlines(summary)}[name]
    return found.value, found.meaning


@pytest.mark.parametrize(
    ("bwt", "value", "said"),
    [
        (-0.25, "-0.25", "a game lost 0.25 on average"),
        (0.25, "+0.25", "a game gained 0.25 on average"),
        (-0.001, "0.00", "a game kept its score on average"),
        (math.nan, "-", "Not known yet"),
    ],
)
def test_backward_transfer_is_said_in_words(bwt: float, value: str, said: str) -> None:
    shown, text = meaning("BWT", dataclasses.replace(SUMMARY, bwt=bwt))
    assert shown == value
    assert said in text


@pytest.mark.parametrize(
    ("fwt", "value", "said"),
    [
        (-0.1, "-0.10", "0.10 worse than"),
        (0.1, "+0.10", "0.10 better than"),
        (0.002, "0.00", "as well as"),
        (math.nan, "-", "Not known yet"),
    ],
)
def test_forward_transfer_is_said_in_words(fwt: float, value: str, said: str) -> None:
    shown, text = meaning("FWT", dataclasses.replace(SUMMARY, fwt=fwt))
    assert shown == value
    assert said in text


def test_the_mean_score_counts_the_games_that_have_a_human_score() -> None:
    games = ("pong", "adventure")
    mixed = summarise(synthetic_run(games), description(games))
    assert "over 1 game," in meaning("ACC", mixed)[1]
    assert "over 3 games," in meaning("ACC", SUMMARY)[1]


def test_what_was_learnt_is_counted_over_the_games_that_were_visited() -> None:
    none = dataclasses.replace(SUMMARY, learned=())
    assert meaning("Learnt", none)[0] == "0 of 3"
    assert meaning("Learnt", SUMMARY)[0] == f"{len(SUMMARY.learned)} of 3"
