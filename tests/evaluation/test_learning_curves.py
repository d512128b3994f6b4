import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clrl.evaluation.learning_curves import (
    area_under_curve,
    forward_transfer_of_task,
    normalised_forward_transfer,
)


def test_the_area_of_a_curve_by_hand() -> None:
    steps, scores = np.array([10, 30]), np.array([1.0, 3.0])
    by_hand = (10 * 1.0 + 20 * 2.0 + 10 * 3.0) / 40
    assert area_under_curve(steps, scores, 0, 40) == pytest.approx(by_hand)


@given(
    st.lists(
        st.tuples(st.integers(5, 90), st.floats(-3, 3)),
        min_size=1,
        max_size=8,
        unique_by=lambda point: point[0],
    )
)
def test_the_area_agrees_with_a_sum_over_many_thin_slices(
    points: list[tuple[int, float]],
) -> None:
    points = sorted(points)
    steps = np.array([step for step, _ in points])
    scores = np.array([score for _, score in points])
    middles = 5 + (np.arange(85_000) + 0.5) / 1000
    expected = np.mean(np.interp(middles, steps, scores))
    assert area_under_curve(steps, scores, 5, 90) == pytest.approx(expected, abs=1e-6)


def test_a_constant_score_is_its_own_area_wherever_it_was_seen() -> None:
    steps = np.array([3, 3, 50])
    assert area_under_curve(steps, np.full(3, 0.7), 0, 99) == pytest.approx(0.7)


def test_a_curve_without_a_score_has_no_area() -> None:
    assert math.isnan(area_under_curve(np.array([], np.int64), np.array([]), 0, 10))


@pytest.mark.parametrize(
    ("steps", "start", "end"),
    [([5, 4], 0, 10), ([1], 2, 10), ([11], 0, 10), ([], 3, 3)],
)
def test_steps_out_of_order_are_refused(steps: list[int], start: int, end: int) -> None:
    with pytest.raises(ValueError, match="must rise from start_steps"):
        area_under_curve(np.array(steps, np.int64), np.ones(len(steps)), start, end)


def test_forward_transfer_by_hand() -> None:
    # Half of the room above 0.6 was gained, a quarter of that above 0.2 was lost.
    assert forward_transfer_of_task(0.8, 0.6) == pytest.approx(0.5)
    assert forward_transfer_of_task(0.0, 0.2) == pytest.approx(-0.25)
    both = normalised_forward_transfer((0.8, 0.0), (0.6, 0.2))
    assert both == pytest.approx(0.125)


def test_forward_transfer_is_relative_to_the_best_score() -> None:
    assert forward_transfer_of_task(1.5, 1.0, best=3.0) == pytest.approx(0.25)


def test_a_task_without_room_or_without_a_curve_is_left_out() -> None:
    assert math.isnan(forward_transfer_of_task(0.9, 1.0))
    areas, references = (0.8, 0.9, math.nan), (0.6, 1.0, 0.5)
    assert normalised_forward_transfer(areas, references) == pytest.approx(0.5)
    assert math.isnan(normalised_forward_transfer((), ()))
