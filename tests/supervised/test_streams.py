import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clrl.errors import ConfigError
from clrl.supervised.stream import fixed_order, random_order
from clrl.supervised.streams import (
    Permutations,
    Plain,
    Rotations,
    Scenario,
    Split,
    StreamConfig,
)
from clrl.supervised.transforms import Permuted, Rotated

from .small import CLASSES, as_set, dataset, stream, visit

KINDS: list[StreamConfig] = [
    Plain(),
    Permutations(tasks=3),
    Rotations(tasks=3),
    Rotations(tasks=3, turning=True),
    Split(tasks=2),
]


@settings(max_examples=30)
@given(
    config=st.sampled_from(KINDS),
    batch_size=st.integers(1, 30),
    passes=st.integers(1, 3),
    seed=st.integers(0, 5),
)
def test_a_visit_shows_every_example_of_its_task_once_in_each_pass(
    config: StreamConfig, batch_size: int, passes: int, seed: int
) -> None:
    made = stream(config, batch_size=batch_size, passes=passes, seed=seed)
    for number in range(len(made.visits)):
        arrivals = list(made.batches(number))
        sizes = [len(a.examples.labels) for a in arrivals]
        per_pass = made.visit_examples(number) // passes
        assert sum(sizes) == passes * per_pass
        assert max(sizes) <= batch_size
        assert len(arrivals) == passes * math.ceil(per_pass / batch_size)
        new = [a.is_new for a in arrivals]
        assert sum(new) * passes == len(new)
        assert new == sorted(new, reverse=True)
    assert made.total_examples == sum(
        made.visit_examples(v) for v in range(len(made.visits))
    )


@pytest.mark.parametrize("config", KINDS)
def test_the_same_seed_gives_the_same_stream_and_another_one_another(
    config: StreamConfig,
) -> None:
    first, again, other = (
        visit(stream(config, passes=2, seed=seed), 0)[0] for seed in (3, 3, 4)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_passes_and_visits_come_in_different_orders_of_the_same_examples() -> None:
    made = stream(Plain(), passes=2, visits=(0, 0))
    images, _ = visit(made, 0)
    later, _ = visit(made, 1)
    assert not torch.equal(images[:24], images[24:])
    assert not torch.equal(images, later)
    assert as_set(images[:24]) == as_set(images[24:]) == as_set(later)


def test_each_permuted_task_is_the_data_under_its_own_order() -> None:
    made = stream(Permutations(tasks=3))
    whole = dataset().train.images
    for task in range(3):
        images, _ = visit(made, task)
        transform = made.tasks[task].transform
        assert isinstance(transform, Permuted)
        assert as_set(images) == as_set(transform(whole, torch.zeros(24)))
    orders = [tuple(task.transform.order.tolist()) for task in made.tasks]
    assert len(set(orders)) == 3
    assert tuple(range(36)) not in orders


def test_the_first_task_may_be_left_as_it_is() -> None:
    made = stream(Permutations(tasks=2, first_unchanged=True))
    assert as_set(visit(made, 0)[0]) == as_set(dataset().train.images)


def test_each_test_set_is_transformed_like_its_training_set() -> None:
    made = stream(Permutations(tasks=2))
    for task in made.tasks:
        tests = made.test(made.tasks.index(task))
        assert torch.equal(
            tests.images, task.transform(dataset().test.images, torch.zeros(8))
        )
        assert torch.equal(tests.labels, dataset().test.labels)


@given(tasks=st.integers(1, 30), degrees=st.floats(1, 360), seed=st.integers(0, 9))
def test_each_angle_lies_in_its_own_bin(tasks: int, degrees: float, seed: int) -> None:
    config = Rotations(tasks=tasks, degrees=degrees)
    for number, task in enumerate(config.build("any", 10, (8, 8), seed)):
        transform = task.transform
        assert isinstance(transform, Rotated)
        assert transform.from_degrees == transform.to_degrees
        width = degrees / tasks
        assert number * width <= transform.from_degrees <= (number + 1) * width


def test_a_turn_goes_on_where_the_last_task_ended() -> None:
    tasks = Rotations(tasks=4, degrees=360, turning=True).build("any", 10, (8, 8), 0)
    ends = [(t.transform.from_degrees, t.transform.to_degrees) for t in tasks]  # type: ignore[attr-defined]
    assert ends == [(0, 90), (90, 180), (180, 270), (270, 360)]


@pytest.mark.parametrize(
    ("scenario", "labels", "classes"),
    [
        ("task", [{0, 1}, {2, 3}], [{0, 1}, {2, 3}]),
        ("domain", [{0, 1}, {0, 1}], [{0, 1}, {0, 1}]),
        ("class", [{0, 1}, {2, 3}], [{0, 1, 2, 3}] * 2),
    ],
)
def test_a_split_gives_each_task_its_classes_as_the_scenario_says(
    scenario: Scenario, labels: list[set[int]], classes: list[set[int]]
) -> None:
    made = stream(Split(tasks=2, scenario=scenario))
    data = dataset()
    for task in range(2):
        images, seen = visit(made, task)
        assert set(seen.tolist()) == labels[task]
        assert set(made.test(task).labels.tolist()) == labels[task]
        assert made.tasks[task].classes == classes[task]
        own = (data.train.labels // 2) == task
        assert as_set(images) == as_set(data.train.images[own])
    assert made.n_outputs == 1 + max(max(c) for c in classes)


def test_shuffled_classes_are_the_seeds_choice_and_each_class_is_in_one_task() -> None:
    config = Split(tasks=5, shuffled_classes=True)
    groups = [
        tuple(tuple(task.label_of) for task in config.build("any", 10, (8, 8), seed))
        for seed in range(5)
    ]
    for drawn in groups:
        assert all(len(group) == 2 for group in drawn)
        assert sorted(c for group in drawn for c in group) == list(range(10))
    assert len(set(groups)) > 1


def test_a_split_that_does_not_divide_is_refused_with_those_that_do() -> None:
    with pytest.raises(ConfigError, match=r"divide the 10 classes.*1, 2, 5, 10"):
        Split(tasks=3).task_names("digits", 10)


def test_a_square_larger_than_the_image_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"stream\.square must be at most 6"):
        stream(Permutations(square=7))


@pytest.mark.parametrize(
    ("make", "key"),
    [
        (lambda: Permutations(tasks=0), "tasks"),
        (lambda: Permutations(square=0), "square"),
        (lambda: Rotations(tasks=0), "tasks"),
        (lambda: Rotations(degrees=0.0), "degrees"),
        (lambda: Split(tasks=0), "tasks"),
    ],
)
def test_a_stream_out_of_range_is_refused_by_the_name_of_its_key(
    make: Any, key: str
) -> None:
    with pytest.raises(ConfigError, match=rf"stream\.{key}"):
        make()


def test_a_tasks_examples_are_drawn_once_and_differ_between_tasks() -> None:
    made = stream(Permutations(tasks=2, square=1), examples_per_task=10, passes=2)
    (first, _), (second, _) = visit(made, 0), visit(made, 1)
    assert len(first) == 20
    assert len(as_set(first)) == 10
    assert as_set(first) == as_set(first[:10])
    assert as_set(first) != as_set(second)


def test_more_examples_than_there_are_is_refused() -> None:
    with pytest.raises(ConfigError, match="examples_per_task must be at most 12"):
        stream(Split(tasks=2), examples_per_task=13)


def test_a_part_of_the_test_examples_is_drawn_once_and_leaves_training_alone() -> None:
    whole, made = (
        stream(Permutations(tasks=2, square=1), test_examples=n) for n in (None, 3)
    )
    for task in (0, 1):
        part = as_set(made.test(task).images)
        assert len(part) == len(made.test(task).labels) == 3
        assert part < as_set(whole.test(task).images)
        torch.testing.assert_close(visit(made, task), visit(whole, task))
    assert as_set(made.test(0).images) != as_set(made.test(1).images)


def test_more_test_examples_than_there_are_is_refused() -> None:
    with pytest.raises(ConfigError, match="test_examples must be at most 4"):
        stream(Split(tasks=2), test_examples=5)


def test_orders_of_visits() -> None:
    assert fixed_order(3, 2) == (0, 1, 2, 0, 1, 2)
    drawn = random_order(CLASSES, 3, seed=1)
    assert drawn == random_order(CLASSES, 3, seed=1)
    for start in (0, CLASSES, 2 * CLASSES):
        assert sorted(drawn[start : start + CLASSES]) == list(range(CLASSES))
    assert len({random_order(CLASSES, 1, seed=s) for s in range(10)}) > 1
