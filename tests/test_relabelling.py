"""Which other labels a task is scored under."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clrl.records import Evaluation, Label, Labelling, Record, RecordWriter, Visit
from clrl.relabelling import (
    TrueLabels,
    recorded_true_labels,
    relabelled,
    relabellings,
)
from clrl.types import NO_TASK

TASKS = ("pong", "boxing", "krull")


@given(
    steps=st.lists(
        st.tuples(st.sampled_from(TASKS), st.integers(0, 3)), min_size=1, max_size=40
    ),
    until=st.integers(1, 40),
)
def test_the_true_label_of_a_task_is_its_most_frequent_one(
    steps: list[tuple[str, int]], until: int
) -> None:
    true_labels = TrueLabels()
    for i, (game, label) in enumerate(steps):
        if i == 0 or game != steps[i - 1][0]:
            true_labels.add(Visit(agent_steps=i, visit=i, game=game))
        if i == 0 or label != steps[i - 1][1]:
            true_labels.add(Label(agent_steps=i, label=label))
    until = min(until, len(steps))
    counts = {task: Counter[int]() for task in TASKS}
    for game, label in steps[:until]:
        counts[game][label] += 1
    expected = {
        task: min(labels, key=lambda label: (-labels[label], label))
        for task, labels in counts.items()
        if labels
    }
    assert true_labels.at(until, TASKS) == expected


def test_before_training_no_task_has_a_true_label() -> None:
    assert TrueLabels().at(0, TASKS) == {}


def test_the_labels_of_a_finished_run_are_read_from_its_records(
    tmp_path: Path,
) -> None:
    run: list[Record] = [
        Visit(agent_steps=0, visit=0, game="pong"),
        Label(agent_steps=0, label=0),
        Visit(agent_steps=50, visit=1, game="krull"),
        Label(agent_steps=70, label=1),
        Evaluation(agent_steps=100, stage=2, game="pong", label=0, returns=(1.0,)),
    ]
    with RecordWriter(tmp_path / "records.jsonl") as writer:
        writer.write(run)
    found = recorded_true_labels(tmp_path / "records.jsonl", TASKS)
    assert found == {"pong": 0, "krull": 1}


def test_a_task_without_a_true_label_is_scored_without_a_label_only() -> None:
    wanted: tuple[Labelling, ...] = ("true_label", "no_label")
    assert list(relabellings(wanted, "pong", {"pong": 4})) == [
        ("true_label", 4),
        ("no_label", NO_TASK),
    ]
    assert list(relabellings(wanted, "krull", {"pong": 4})) == [("no_label", NO_TASK)]
    assert list(relabellings((), "pong", {"pong": 4})) == []


@pytest.mark.parametrize(("label", "written"), [(3, 3), (NO_TASK, None)])
def test_the_record_says_under_which_label(label: int, written: int | None) -> None:
    evaluation = Evaluation(
        agent_steps=9, stage=2, game="pong", label=label, returns=(1.0, 2.0)
    )
    record = relabelled(evaluation, "no_label")
    assert (record.label, record.returns, record.stage) == (written, (1.0, 2.0), 2)
