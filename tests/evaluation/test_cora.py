import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from clrl.evaluation.cora import (
    forgetting_by_pair,
    isolated_forgetting,
    transfer_by_pair,
    zero_shot_transfer,
)

NAN = math.nan

# Three tasks, each trained once. Row 0 is before training; the scales are 10, 4, 20.
ONCE = np.array(
    [
        [2.0, 1.0, -20.0],
        [10.0, 2.0, -10.0],  # after task 0
        [6.0, 4.0, -8.0],  # after task 1
        [1.0, 3.0, 10.0],  # after task 2
    ]
)

# Two tasks that take turns, 0 1 0 1; the scales are 10 and 8.
TURNS = np.array(
    [
        [0.0, 1.0],
        [6.0, 2.0],  # after task 0
        [3.0, 8.0],  # after task 1
        [10.0, 4.0],  # after task 0
        [5.0, 7.0],  # after task 1
    ]
)


def test_forgetting_by_hand_when_each_task_comes_once() -> None:
    by_hand = [[NAN, NAN, NAN], [0.4, NAN, NAN], [0.5, 0.25, NAN]]
    np.testing.assert_allclose(forgetting_by_pair(ONCE, (0, 1, 2)), by_hand)
    assert isolated_forgetting(ONCE, (0, 1, 2)) == pytest.approx(1.15 / 3)


def test_transfer_by_hand_when_each_task_comes_once() -> None:
    by_hand = [[NAN, 0.25, 0.5], [NAN, NAN, 0.1], [NAN, NAN, NAN]]
    np.testing.assert_allclose(transfer_by_pair(ONCE, (0, 1, 2)), by_hand)
    assert zero_shot_transfer(ONCE, (0, 1, 2)) == pytest.approx(0.85 / 3)


def test_a_pair_that_returns_is_averaged_over_its_stages() -> None:
    by_hand = [[NAN, 0.5], [(0.3 + 0.5) / 2, NAN]]
    np.testing.assert_allclose(forgetting_by_pair(TURNS, (0, 1, 0, 1)), by_hand)
    assert isolated_forgetting(TURNS, (0, 1, 0, 1)) == pytest.approx(0.45)


def test_transfer_ends_with_the_first_visit_when_tasks_return() -> None:
    by_hand = [[NAN, 1 / 8], [NAN, NAN]]
    np.testing.assert_allclose(transfer_by_pair(TURNS, (0, 1, 0, 1)), by_hand)


@given(
    hnp.arrays(np.float64, (6, 3), elements=st.floats(-2, 2, width=16)),
    st.lists(st.integers(0, 2), min_size=5, max_size=5),
    st.floats(0.1, 50),
)
def test_both_agree_with_a_walk_through_the_stages_and_know_no_unit(
    R: np.ndarray, trained: list[int], unit: float
) -> None:
    lost: dict[tuple[int, int], list[float]] = {}
    gained: dict[tuple[int, int], list[float]] = {}
    met: set[int] = set()
    for stage, task in enumerate(trained, start=1):
        for other in {0, 1, 2} - {task}:
            scale = max(abs(score) for score in R[:, other])
            if scale > 0:
                change = (R[stage, other] - R[stage - 1, other]) / scale
                pairs = lost if other in met else gained
                sign = -1 if other in met else 1
                pairs.setdefault((task, other), []).append(sign * change)
        met.add(task)
    for found, pairs in (
        (isolated_forgetting(unit * R, trained), lost),
        (zero_shot_transfer(unit * R, trained), gained),
    ):
        means = [sum(values) / len(values) for values in pairs.values()]
        expected = sum(means) / len(means) if means else NAN
        np.testing.assert_allclose(found, expected, atol=1e-9)


def test_before_training_there_is_neither() -> None:
    assert math.isnan(isolated_forgetting(ONCE[:1], ()))
    assert math.isnan(zero_shot_transfer(ONCE[:1], ()))
