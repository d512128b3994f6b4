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
    measure,
    switch_delays_steps,
    switches,
    values_at,
    wrong_label_share,
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


@given(steps=pairs_of_steps)
def test_delays_false_switches_and_contamination_are_what_each_step_says(
    steps: list[tuple[int, int]],
) -> None:
    truth, labels = [t for t, _ in steps], [c for _, c in steps]
    right = {
        task: min(
            {c for t, c in steps if t == task},
            key=lambda c: (-sum(step == (task, c) for step in steps), c),
        )
        for task in set(truth)
    }
    delays, false, waiting = [], 0, None
    for i in range(1, len(steps)):
        if truth[i] != truth[i - 1]:
            if waiting is not None:
                delays.append(i - waiting)  # never found
            waiting = i
        elif labels[i - 1] == right[truth[i]] != labels[i]:
            false += 1
        if waiting is not None and labels[i] == right[truth[i]]:
            delays.append(i - waiting)
            waiting = None
    if waiting is not None:
        delays.append(len(steps) - waiting)
    owners = {
        c: max(sum(step == (t, c) for step in steps) for t in set(truth))
        for c in set(labels)
    }
    timelines = compress(truth), compress(labels), len(steps)
    assert switch_delays_steps(*timelines).tolist() == delays
    assert false_switches(*timelines).sum() == false
    found = contamination(contingency(*timelines))
    assert found == pytest.approx(1 - sum(owners.values()) / len(steps))
    changes = [i for i in range(1, len(steps)) if truth[i] != truth[i - 1]]
    assert switches(timelines[0]).tolist() == changes
    for step in range(len(steps)):
        assert values_at(timelines[1], np.array([step])).tolist() == [labels[step]]


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
    assert false_switches(TWO_TASKS, labels, total).sum() == false
    assert contamination(table) == pytest.approx(dirty_steps / total)


def test_false_switches_are_counted_for_each_task() -> None:
    labels = timeline(
        *((0, 0), (100, 1), (120, 5), (130, 1), (150, 5), (160, 1)),
        *((200, 0), (250, 5), (260, 0), (300, 1)),
    )
    assert false_switches(TWO_TASKS, labels, 400).tolist() == [1, 2]


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


@given(steps=pairs_of_steps)
def test_wrong_labels_are_those_that_are_not_their_tasks_most_frequent(
    steps: list[tuple[int, int]],
) -> None:
    truth, labels = [t for t, _ in steps], [c for _, c in steps]
    right = 0
    for task in set(truth):
        given_out = [c for t, c in steps if t == task]
        right += max(given_out.count(c) for c in given_out)
    table = contingency(compress(truth), compress(labels), len(steps))
    assert wrong_label_share(table) == pytest.approx(1 - right / len(steps))


def test_all_measures_of_a_timeline_checked_by_hand() -> None:
    labels = timeline((0, 0), (110, 1), (140, 5), (145, 1), (206, 0), (302, 1))
    found = measure(TWO_TASKS, labels, total_steps=400, frames_per_step=4)
    expected_table = np.array([[194, 6, 0], [12, 183, 5]], np.int64)
    assert found._asdict() == pytest.approx(
        {
            "adjusted_rand_index": adjusted_rand_index(expected_table),
            "tasks": 2,
            "contexts": 3,
            "contexts_of_at_least_1_percent": 3,
            "switches": 3,
            "median_delay_steps": 6,
            "max_delay_steps": 10,
            "median_delay_frames": 24,
            "max_delay_frames": 40,
            "false_switches": 1,
            "false_switches_per_million_steps": 2500,
            "wrong_label_share": 23 / 400,
            "contaminated_share": 18 / 400,
        }
    )


def test_a_stream_without_switches_has_no_delay() -> None:
    found = measure(timeline((0, 3)), timeline((0, 1)), 10, frames_per_step=4)
    assert found.tasks == found.contexts == 1
    assert np.isnan(found.median_delay_steps)
    assert found.adjusted_rand_index == 1


@pytest.mark.parametrize(
    "broken",
    [timeline((1, 0)), timeline((0, 0), (5, 1), (5, 0)), timeline((0, 0), (10, 1))],
    ids=["starts late", "repeats", "reaches beyond the end"],
)
def test_a_timeline_out_of_order_is_refused(broken: Timeline) -> None:
    with pytest.raises(ValueError, match=r"must rise from 0 to below total_steps, got"):
        contingency(timeline((0, 0)), broken, 10)
