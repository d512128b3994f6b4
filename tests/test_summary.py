import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest

from clrl.errors import ConfigError
from clrl.evaluation.human_scores import normalised
from clrl.records import (
    Episode,
    Evaluation,
    Label,
    RandomPolicy,
    Record,
    Relabelled,
    Train,
    Visit,
)
from clrl.summary import (
    is_summarisable,
    known_scores,
    score_matrix,
    stage_names,
    summarise,
    write_summary,
)

from .synthetic_run import GAMES, description, synthetic_run

KEYS = [
    "tasks",
    "stages",
    "scores",
    "human_normalised",
    "total_clipped",
    "acc",
    "bwt",
    "fwt",
    "forgetting",
    "isolated_forgetting",
    "zero_shot_transfer",
    "training_score",
    "human_normalised_57",
    "total_clipped_57",
    "acc_57",
    "recognition",
    "method",
    "recogniser",
    "protocol",
    "seed",
    "agent_steps",
    "seconds",
    "visits",
    "random_policy",
    "learned",
    "measure",
    "relabelled",
    "acc_relabelled",
]


def evaluation(stage: int, game: str, *returns: float) -> Evaluation:
    return Evaluation(
        agent_steps=stage * 100, stage=stage, game=game, label=0, returns=returns
    )


def episode(visit: int, game: str, return_: float, agent_steps: int) -> Episode:
    return Episode(
        agent_steps=agent_steps,
        visit=visit,
        game=game,
        label=0,
        return_=return_,
        length_steps=10,
    )


# Pong, then breakout, then pong; 100 steps each.
SMALL: list[Record] = [
    RandomPolicy(agent_steps=0, game="pong", returns=(-21.0, -20.0, -21.0, -20.0)),
    evaluation(0, "pong", -21.0, -20.0),
    evaluation(0, "breakout", 1.0, 3.0),
    Visit(agent_steps=0, visit=0, game="pong"),
    Label(agent_steps=0, label=0),
    *(episode(0, "pong", -15.0 + i, 10 * (i + 1)) for i in range(9)),
    evaluation(1, "pong", 9.3),
    evaluation(1, "breakout", 1.7),
    Visit(agent_steps=100, visit=1, game="breakout"),
    Label(agent_steps=120, label=1),
    evaluation(2, "pong", -20.7),
    evaluation(2, "breakout", 31.8),
    Visit(agent_steps=200, visit=2, game="pong"),
    Label(agent_steps=210, label=0),
    evaluation(3, "pong", 9.3),
    evaluation(3, "breakout", 1.7),
]
TWO = description(("pong", "breakout"))


def test_scores_are_means_of_returns_with_games_as_columns() -> None:
    expected = [[-20.5, 2.0], [9.3, 1.7], [-20.7, 31.8], [9.3, 1.7]]
    np.testing.assert_allclose(score_matrix(SMALL, TWO.games), expected)


def test_the_measures_of_a_small_run_by_hand() -> None:
    summary = summarise(SMALL, TWO)
    assert summary.stages == ("before", "pong #1", "breakout #1", "pong #2")
    np.testing.assert_allclose(summary.human_normalised[3], [1.0, 0.0])
    assert summary.acc == pytest.approx(0.5)
    assert summary.bwt == pytest.approx(-1.0)
    # Breakout scored 2.0 before any training, and random play, 1.7, before its visit.
    assert summary.fwt == pytest.approx((1.7 - 2.0) / (31.8 - 1.7))
    assert summary.forgetting == pytest.approx(1.0)
    assert summary.total_clipped == pytest.approx(1.0)
    assert summary.agent_steps == 300


def test_cora_measures_and_the_57_game_table_of_a_small_run_by_hand() -> None:
    summary = summarise(SMALL, TWO)
    # Pong's largest score is 20.7 (below 0), breakout's 31.8.
    lost_pong, lost_breakout = (9.3 + 20.7) / 20.7, (31.8 - 1.7) / 31.8
    both = (lost_pong + lost_breakout) / 2
    assert summary.isolated_forgetting == pytest.approx(both)
    assert summary.zero_shot_transfer == pytest.approx((1.7 - 2.0) / 31.8)
    by_57 = ((9.3 + 20.7) / (14.6 + 20.7), (1.7 - 1.7) / (30.5 - 1.7))
    np.testing.assert_allclose(summary.human_normalised_57[3], by_57, atol=1e-12)
    assert summary.acc_57 == pytest.approx(sum(by_57) / 2)
    assert summary.total_clipped_57 == pytest.approx(sum(by_57))


def test_the_training_score_is_the_area_under_the_training_curve() -> None:
    summary = summarise(SMALL, TWO)
    # Held at -15 for 10 steps, then up by 1 every 10 steps to -7, held for 10 steps.
    area = (10 * -15 + 80 * -11 + 10 * -7) / 100
    assert summary.visits[0].return_area == pytest.approx(area)
    assert summary.visits[1].return_area is None
    assert summary.training_score == pytest.approx((area + 20.7) / (9.3 + 20.7))


def test_a_visit_is_summarised_by_the_last_third_of_its_episodes() -> None:
    first, second, third = summarise(SMALL, TWO).visits
    assert (first.game, first.episodes, first.agent_steps) == ("pong", 9, 100)
    assert first.return_mean == pytest.approx(-8.0)
    assert first.return_standard_error == pytest.approx(1 / math.sqrt(3))
    assert (second.label, second.episodes, second.return_mean) == (1, 0, None)
    assert third.penalty_mean is None


def test_the_penalty_is_averaged_within_a_visit() -> None:
    train = [
        Train(
            agent_steps=10,
            visit=0,
            game="pong",
            label=0,
            loss=1.0,
            penalty=penalty,
            gradient_norm=1.0,
            exploration_rate=1.0,
        )
        for penalty in (1.0, 3.0)
    ]
    assert summarise([*SMALL, *train], TWO).visits[0].penalty_mean == 2.0


def test_an_interrupted_run_is_summarised_up_to_its_last_whole_stage() -> None:
    summary = summarise(SMALL[:-1], TWO)
    assert summary.stages == ("before", "pong #1", "breakout #1")
    assert len(summary.visits) == 3


def test_a_run_without_an_evaluation_has_no_summary() -> None:
    assert not is_summarisable(SMALL[:2], TWO.games)
    with pytest.raises(ConfigError, match="at least one evaluation"):
        summarise(SMALL[:2], TWO)


def test_stages_count_the_visits_of_each_game() -> None:
    assert stage_names(["a", "b", "a"]) == ["a #1", "b #1", "a #2"]


def test_the_file_has_exactly_the_documented_keys_and_no_nan(tmp_path: Path) -> None:
    games = ("pong", "adventure")
    summary = summarise(synthetic_run(games, rounds=1), description(games), seconds=2.0)
    write_summary(summary, tmp_path / "summary.json")
    text = (tmp_path / "summary.json").read_text()
    content = json.loads(text)
    assert list(content) == KEYS
    assert "NaN" not in text
    assert content["human_normalised"][0][1] is None
    assert content["human_normalised"][0][0] is not None
    assert content["seconds"] == 2
    assert [field.name for field in dataclasses.fields(summary)] == KEYS


def test_games_are_the_columns_in_the_configs_order() -> None:
    assert summarise(synthetic_run(), description()).tasks == GAMES


def test_scores_with_a_gap_are_known_but_not_part_of_the_matrix() -> None:
    gap = [r for r in SMALL if r != evaluation(2, "breakout", 31.8)]
    known = known_scores(gap, ("pong", "breakout"))
    assert known.shape == (4, 2)
    assert math.isnan(known[2, 1])
    assert known[2, 0] == -20.7
    np.testing.assert_array_equal(score_matrix(gap, ("pong", "breakout")), known[:2])


def test_scores_under_other_labels_stand_beside_the_inferred_ones() -> None:
    again = [
        Relabelled(
            agent_steps=e.agent_steps,
            stage=e.stage,
            game=e.game,
            labelling="true_label",
            label=0,
            returns=tuple(2 * x for x in e.returns),
        )
        for e in SMALL
        if isinstance(e, Evaluation) and (e.stage, e.game) != (0, "pong")
    ]
    plain = summarise(SMALL, description(("pong", "breakout")))
    summary = summarise([*SMALL, *again], description(("pong", "breakout")))
    assert not plain.relabelled
    assert not plain.acc_relabelled
    assert summary.scores == plain.scores
    expected = 2 * np.array(plain.scores)
    expected[0, 0] = math.nan  # pong had no label yet
    np.testing.assert_allclose(summary.relabelled["true_label"], expected)
    human = [
        normalised(game, 2 * score)
        for game, score in zip(plain.tasks, plain.scores[-1], strict=True)
    ]
    acc = sum(human) / len(human)
    assert summary.acc_relabelled == {"true_label": pytest.approx(acc)}
