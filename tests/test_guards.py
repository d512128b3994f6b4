"""Alarms on hand-made records, each beside the nearest run that raises none."""

import math
from collections.abc import Iterable

import pytest

from clrl import records
from clrl.guards import Guards, standard_guards
from clrl.records import Record

from .synthetic_run import synthetic_run


def guards(**changes: float | str) -> Guards:
    options: dict[str, object] = {
        "learning_rate": 0.1,
        "optimizer": "adam",
        "gamma": 0.9,
        "reward_bound": 1.0,
    }
    return standard_guards(**{**options, **changes})  # type: ignore[arg-type]


def alarms(run: Iterable[Record], **changes: float | str) -> list[tuple[str, int]]:
    """Which guards spoke, and at which step."""
    watching = guards(**changes)
    return [(a.guard, a.agent_steps) for record in run for a in watching(record)]


def visit(number: int = 0, game: str = "pong", step: int = 0) -> records.Visit:
    return records.Visit(agent_steps=step, visit=number, game=game)


def train(step: int, label: int = 1, **changes: float | None) -> records.Train:
    options: dict[str, object] = {
        "loss": 0.5,
        "penalty": 0.1,
        "gradient_norm": 1.0,
        "exploration_rate": 0.1,
        "penalty_gradient_ratio": 0.5,
        "q_mean": 1.0,
        "q_abs_max": 2.0,
    }
    return records.Train(
        agent_steps=step,
        visit=0,
        game="pong",
        label=label,
        **{**options, **changes},  # type: ignore[arg-type]
    )


def left(task: int = 0, curvature: float = 1.0, step: int = 0) -> records.Consolidation:
    metrics = {"importance_trace": 1.0, "curvature_max": curvature}
    return records.Consolidation(agent_steps=step, task=task, metrics=metrics)


def evaluated(stage: int, step: int) -> records.Evaluation:
    return records.Evaluation(
        agent_steps=step, stage=stage, game="pong", label=0, returns=(1.0,)
    )


def test_a_run_that_learns_and_protects_raises_no_alarm() -> None:
    assert alarms(synthetic_run(), learning_rate=1e-4) == []


def test_an_alarm_names_its_visit_game_and_step() -> None:
    watching = guards()
    watching(visit(3, "breakout", step=900))
    (alarm,) = watching(train(1000, q_abs_max=99.0))
    assert alarm.guard == "exploding_q_values"
    assert (alarm.visit, alarm.game, alarm.agent_steps) == (3, "breakout", 1000)
    assert "99" in alarm.message
    assert "lower the learning rate" in alarm.message
    assert "\n" not in alarm.message


# Inactive penalty


@pytest.mark.parametrize(
    ("penalty", "speaks"), [(0.0, True), (0.5e-6, True), (0.6e-6, False)]
)
def test_a_penalty_is_inactive_up_to_a_millionth_of_the_loss(
    penalty: float, speaks: bool
) -> None:
    run: list[Record] = [left()]
    run += [train(step, penalty=penalty) for step in range(1, 20)]
    assert alarms(run) == ([("inactive_penalty", 10)] if speaks else [])


def test_one_record_with_an_active_penalty_is_enough() -> None:
    run = [train(step, penalty=0.0 if step != 9 else 0.1) for step in range(1, 19)]
    assert alarms([left(), *run]) == []


def test_a_short_visit_is_judged_at_its_end() -> None:
    ends = [evaluated(1, 2), evaluated(1, 2)]
    run: list[Record] = [left(), train(1, penalty=0.0), *ends]
    assert alarms(run) == [("inactive_penalty", 2)]
    assert alarms(run[:2]) == []


def test_an_inactive_penalty_is_said_again_after_it_was_active() -> None:
    quiet = [train(step, penalty=0.0) for step in range(10)]
    again = [train(100), *(train(200 + step, penalty=0.0) for step in range(10))]
    assert alarms([left(), *quiet, *quiet]) == [("inactive_penalty", 9)]
    assert alarms([left(), *quiet, *again]) == [
        ("inactive_penalty", 9),
        ("inactive_penalty", 209),
    ]


def test_no_penalty_is_expected_where_nothing_else_was_consolidated() -> None:
    quiet = [train(step, label=0, penalty=0.0) for step in range(30)]
    end = evaluated(1, 30)
    assert alarms([*quiet, end]) == []
    assert alarms([left(task=0), *quiet, end]) == []  # its own is switched off
    assert alarms([left(task=1), *quiet, end]) == [("inactive_penalty", 9)]


def test_a_method_without_a_quadratic_penalty_is_not_judged() -> None:
    snapshot = records.Consolidation(agent_steps=0, task=0, metrics={"examples": 9.0})
    quiet = [train(step, penalty=0.0) for step in range(30)]
    assert alarms([snapshot, *quiet, evaluated(1, 30)]) == []


# Gradient ratio


@pytest.mark.parametrize(
    ("ratio", "says"),
    [
        (9.9, ""),
        (10.1, "lower"),
        (1.1e-4, ""),
        (0.9e-4, "raise"),
        (0.0, ""),
        (None, ""),
    ],
)
def test_a_gradient_ratio_out_of_range_says_in_which_direction(
    ratio: float | None, says: str
) -> None:
    watching = guards()
    watching(left())
    came = [
        alarm
        for step in range(20)
        for alarm in watching(train(step, penalty_gradient_ratio=ratio))
    ]
    assert [a.agent_steps for a in came] == ([4] if says else [])
    assert all(
        a.guard == "penalty_gradient_ratio" and f"{says} the method's" in a.message
        for a in came
    )


def test_two_batches_in_five_may_be_odd() -> None:
    ratios = [100.0, 1.0, 1.0, 100.0, 1.0] * 4
    run = [train(i, penalty_gradient_ratio=r) for i, r in enumerate(ratios)]
    assert alarms([left(), *run]) == []
    ratios = [100.0, 1.0, 100.0, 1.0, 100.0]
    run = [train(i, penalty_gradient_ratio=r) for i, r in enumerate(ratios)]
    assert alarms([left(), *run]) == [("penalty_gradient_ratio", 4)]


def test_the_ratio_is_not_judged_before_a_task_is_protected() -> None:
    run = [train(i, penalty_gradient_ratio=100.0) for i in range(20)]
    assert alarms(run) == []


# Stiff penalty


def test_a_penalty_is_stiff_where_gradient_descent_on_it_diverges() -> None:
    """The threshold is that of gradient descent itself, on a parabola."""
    for curvature in (19.9, 20.1):
        distance = 1.0
        for _ in range(1000):
            distance -= 0.1 * curvature * distance
        assert (abs(distance) > 1) == bool(alarms([left(curvature=curvature)]))


def test_a_stiff_penalty_is_said_once_while_it_lasts() -> None:
    curvatures = [5.0, 50.0, 90.0, 5.0, 50.0]
    run = [left(curvature=c, step=i) for i, c in enumerate(curvatures)]
    assert alarms(run) == [("stiff_penalty", 1), ("stiff_penalty", 4)]


# Frozen agent


def played(*returns: float, number: int = 0, random: bool = True) -> list[Record]:
    run: list[Record] = [
        records.RandomPolicy(
            agent_steps=0, game="pong", returns=(-21.0, -20.0, -20.0, -19.0)
        )
    ] * random
    run.append(visit(number))
    run += [
        records.Episode(
            agent_steps=i,
            visit=number,
            game="pong",
            label=0,
            return_=r,
            length_steps=9,
        )
        for i, r in enumerate(returns)
    ]
    return [*run, evaluated(number + 1, 100), evaluated(number + 1, 100)]


LIKE_RANDOM = (-20.0, -21.0, -19.0)


@pytest.mark.parametrize(
    ("run", "speaks"),
    [
        (played(*LIKE_RANDOM * 6), True),
        (played(*LIKE_RANDOM * 4, *[-2.0, -3.0, -2.0] * 2), False),
        (played(*[5.0, 6.0, 7.0] * 6), False),  # known already, and still well played
        (played(*LIKE_RANDOM * 4, *[-60.0, -61.0, -60.0] * 2), True),
        (played(*LIKE_RANDOM * 4, *[30.0, -60.0, -2.0] * 2), True),  # noise
        (played(*[-60.0, -61.0] * 3, *LIKE_RANDOM * 4), False),  # better than its start
        (played(*LIKE_RANDOM * 5), False),  # fifteen episodes: too few
        (played(*LIKE_RANDOM * 6, random=False), False),
        (played(*[-20.0] * 16), True),
    ],
)
def test_an_agent_is_frozen_if_it_beats_neither_random_play_nor_its_own_start(
    run: list[Record], speaks: bool
) -> None:
    assert alarms(run) == ([("frozen_agent", 100)] if speaks else [])


def test_each_visit_is_judged_by_its_own_episodes() -> None:
    good = played(*LIKE_RANDOM * 2, *[0.0, 9.0, 9.0] * 4, number=0)
    bad = played(*LIKE_RANDOM * 6, number=1, random=False)
    assert alarms([*good, *bad]) == [("frozen_agent", 100)]


# Exploding Q-values


@pytest.mark.parametrize(
    ("largest", "changes", "speaks"),
    [
        (10.1, {}, True),
        (9.9, {}, False),
        (19.0, {"reward_bound": 2.0}, False),
        (1e9, {"reward_bound": math.inf}, False),
        (1e9, {"gamma": 1.0}, False),
        (None, {}, False),
    ],
)
def test_no_q_value_may_pass_the_largest_discounted_return(
    largest: float | None, changes: dict[str, float], speaks: bool
) -> None:
    run = [train(step, q_abs_max=largest) for step in (1, 2, 3)]
    assert alarms(run, **changes) == ([("exploding_q_values", 1)] if speaks else [])
