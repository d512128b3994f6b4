import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from clrl.evaluation.transfer_matrix import (
    average_score,
    backward_transfer,
    forgetting,
    forward_transfer,
    total_clipped,
)

# Three tasks, each trained once. Row 0 is before training.
ONCE = np.array(
    [
        [0.1, 0.0, 0.2],
        [0.9, 0.3, 0.2],  # after task 0
        [0.5, 0.8, 0.6],  # after task 1
        [0.4, 0.9, 1.0],  # after task 2
    ]
)

# Two tasks that take turns, 0 1 0 1.
TURNS = np.array(
    [
        [0.0, 0.1],
        [0.6, 0.2],  # after task 0
        [0.2, 0.7],  # after task 1
        [0.8, 0.5],  # after task 0
        [0.5, 0.9],  # after task 1
    ]
)


def test_the_average_score_is_the_mean_of_the_last_row() -> None:
    assert average_score(ONCE) == pytest.approx((0.4 + 0.9 + 1.0) / 3)


def test_backward_transfer_by_hand_when_each_task_comes_once() -> None:
    by_hand = ((0.4 - 0.9) + (0.9 - 0.8)) / 2
    assert backward_transfer(ONCE, (0, 1, 2)) == pytest.approx(by_hand)


def test_forward_transfer_by_hand_when_each_task_comes_once() -> None:
    by_hand = ((0.3 - 0.0) + (0.6 - 0.2)) / 2
    assert forward_transfer(ONCE, (0, 1, 2)) == pytest.approx(by_hand)


def test_forgetting_by_hand_when_each_task_comes_once() -> None:
    by_hand = ((0.9 - 0.4) + (0.8 - 0.9)) / 2
    assert forgetting(ONCE, (0, 1, 2)) == pytest.approx(by_hand)


def test_backward_transfer_counts_from_the_last_visit_when_tasks_return() -> None:
    assert backward_transfer(TURNS, (0, 1, 0, 1)) == pytest.approx(0.5 - 0.8)


def test_forward_transfer_counts_up_to_the_first_visit_when_tasks_return() -> None:
    assert forward_transfer(TURNS, (0, 1, 0, 1)) == pytest.approx(0.2 - 0.1)


def test_forgetting_counts_from_the_best_stage_when_tasks_return() -> None:
    assert forgetting(TURNS, (0, 1, 0, 1)) == pytest.approx(0.8 - 0.5)


@given(
    hnp.arrays(np.float64, (5, 4), elements=st.floats(-2, 2)),
    st.permutations(range(4)),
)
def test_the_papers_formulas_come_out_when_each_task_comes_once(
    R: np.ndarray, order: list[int]
) -> None:
    # The papers number tasks in the order in which they are trained.
    P = R[:, order]
    T = 4
    bwt = sum(P[T, i] - P[i + 1, i] for i in range(T - 1)) / (T - 1)
    fwt = sum(P[i, i] - P[0, i] for i in range(1, T)) / (T - 1)
    forgot = sum(max(P[1:T, i]) - P[T, i] for i in range(T - 1)) / (T - 1)
    assert backward_transfer(R, order) == pytest.approx(bwt)
    assert forward_transfer(R, order) == pytest.approx(fwt)
    assert forgetting(R, order) == pytest.approx(forgot)


@given(
    hnp.arrays(np.float64, (7, 3), elements=st.floats(-2, 2)),
    st.lists(st.integers(0, 2), min_size=6, max_size=6),
)
def test_forgetting_is_never_less_than_lost_backward_transfer(
    R: np.ndarray, trained: list[int]
) -> None:
    lost = -backward_transfer(R, trained)
    assert math.isnan(lost) or forgetting(R, trained) >= lost - 1e-12


def test_measures_over_no_task_are_nan() -> None:
    assert math.isnan(backward_transfer(ONCE[:2], (0,)))
    assert math.isnan(forward_transfer(ONCE[:2], (0,)))
    assert math.isnan(forgetting(ONCE[:2], (0,)))


def test_before_training_there_is_only_an_average_score() -> None:
    assert average_score(ONCE[:1]) == pytest.approx(0.1)
    assert math.isnan(forgetting(ONCE[:1], ()))


def test_games_without_a_human_score_are_left_out_of_every_mean() -> None:
    R = ONCE.copy()
    R[:, 1] = math.nan
    assert average_score(R) == pytest.approx((0.4 + 1.0) / 2)
    assert backward_transfer(R, (0, 1, 2)) == pytest.approx(0.4 - 0.9)
    assert forward_transfer(R, (0, 1, 2)) == pytest.approx(0.6 - 0.2)
    assert forgetting(R, (0, 1, 2)) == pytest.approx(0.9 - 0.4)
    assert total_clipped(R[-1]) == pytest.approx(1.4)


def test_the_clipped_total_has_no_lower_clip() -> None:
    assert total_clipped(np.array([3.0, 0.5, -2.0])) == pytest.approx(-0.5)
