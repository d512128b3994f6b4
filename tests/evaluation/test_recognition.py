import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import Int64
from sklearn.metrics import adjusted_rand_score

from clrl.evaluation.recognition import (
    Timeline,
    adjusted_rand_index,
    contamination,
    contexts_of_at_least,
    contingency,
    false_switches,
    switch_delays_steps,
)


def timeline(*stretches: tuple[int, int]) -> Timeline:
    """From (start, value) pairs."""
    starts, values = zip(*stretches, strict=True)
    return Timeline(np.array(starts, np.int64), np.array(values, np.int64))


def compress(values: list[int]) -> Timeline:
    changes = [0] + [t for t in range(1, len(values)) if values[t] != values[t - 1]]
    return timeline(*((t, values[t]) for t in changes))


TWO_TASKS = timeline((0, 0), (100, 1), (200, 0), (300, 1))

pairs_of_steps = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 4)), min_size=1, max_size=60
)


@given(steps=pairs_of_steps)
def test_contingency_counts_every_step(steps: list[tuple[int, int]]) -> None:
    truth, labels = [t for t, _ in steps], [c for _, c in steps]
    expected = np.zeros((max(truth) + 1, max(labels) + 1), np.int64)
    for task, label in steps:
        expected[task, label] += 1
    found = contingency(compress(truth), compress(labels), len(steps))
    assert np.array_equal(found, expected)


@given(steps=pairs_of_steps)
def test_adjusted_rand_index_agrees_with_scikit_learn(
    steps: list[tuple[int, int]],
) -> None:
    truth, labels = [t for t, _ in steps], [c for _, c in steps]
    table = contingency(compress(truth), compress(labels), len(steps))
    expected = adjusted_rand_score(truth, labels)
    assert adjusted_rand_index(table) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ([[10]], 1.0),  # one task, one label
        ([[1]], 1.0),  # a single step
        ([[5, 0], [0, 5]], 1.0),
        ([[0, 5], [5, 0]], 1.0),  # the names of labels do not matter
        ([[5], [5]], 0.0),  # two tasks under one label
        ([[5, 5]], 0.0),  # one task split evenly
    ],
)
def test_adjusted_rand_index_of_simple_tables(
    table: list[list[int]], expected: float
) -> None:
    assert adjusted_rand_index(np.array(table, np.int64)) == expected


def test_adjusted_rand_index_does_not_overflow_on_long_runs() -> None:
    small = np.array([[6, 1], [2, 5]], np.int64)
    assert adjusted_rand_index(small * 10**8) == pytest.approx(
        adjusted_rand_index(small * 10**4), rel=1e-3
    )


@pytest.mark.parametrize(
    ("labels", "delays", "false", "dirty_steps"),
    [
        pytest.param(TWO_TASKS, [0, 0, 0], 0, 0, id="perfect"),
        pytest.param(
            timeline((0, 0), (110, 1), (205, 0), (301, 1)),
            [10, 5, 1],
            0,
            16,
            id="late at every switch",
        ),
        pytest.param(
            timeline((0, 0), (100, 1), (200, 0), (230, 1), (240, 0), (300, 1)),
            [0, 0, 0],
            1,
            10,
            id="one excursion to the other label",
        ),
        pytest.param(
            timeline((0, 0), (100, 1), (140, 2), (200, 0), (300, 1)),
            [0, 0, 0],
            1,
            0,
            id="a split task contaminates nothing",
        ),
    ],
)
def test_measures_on_timelines_checked_by_hand(
    labels: Timeline,
    delays: list[int],
    false: int,
    dirty_steps: int,
) -> None:
    total = 400
    table = contingency(TWO_TASKS, labels, total)
    assert switch_delays_steps(TWO_TASKS, labels, total).tolist() == delays
    assert false_switches(TWO_TASKS, labels, total) == false
    assert contamination(table) == pytest.approx(dirty_steps / total)


def test_a_visit_that_never_gets_its_label_counts_with_its_whole_length() -> None:
    labels = timeline((0, 0), (100, 1), (200, 0))
    delays = switch_delays_steps(TWO_TASKS, labels, total_steps=390)
    assert delays.tolist() == [0, 0, 90]


def test_a_task_without_a_switch_has_no_delays() -> None:
    delays = switch_delays_steps(timeline((0, 0)), timeline((0, 3)), 10)
    assert delays.tolist() == []


def test_contexts_below_the_share_are_not_counted() -> None:
    table: Int64[np.ndarray, "2 3"] = np.array([[990, 0, 9], [0, 1, 0]], np.int64)
    assert contexts_of_at_least(table, 0.01) == 1
    assert contexts_of_at_least(table, 0.009) == 2
    assert contexts_of_at_least(table, 0.0) == 3


@pytest.mark.parametrize(
    "broken",
    [timeline((1, 0)), timeline((0, 0), (5, 1), (5, 0)), timeline((0, 0), (10, 1))],
    ids=["starts late", "repeats", "reaches beyond the end"],
)
def test_a_timeline_out_of_order_is_refused(broken: Timeline) -> None:
    with pytest.raises(ValueError, match=r"must rise from 0 to below total_steps, got"):
        contingency(timeline((0, 0)), broken, 10)
