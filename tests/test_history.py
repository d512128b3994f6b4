import json
import math
from pathlib import Path

import numpy as np
import pytest

from clrl.errors import CheckpointError
from clrl.history import history_of, read_history, spans
from clrl.records import Episode, Label, Record, Train, Visit, to_line

from .synthetic_run import synthetic_run


def written(path: Path, run: list[Record], *more: dict[str, object]) -> Path:
    lines = [*(to_line(record) for record in run), *(json.dumps(m) for m in more)]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def test_columns_hold_what_the_records_say(tmp_path: Path) -> None:
    run = synthetic_run()
    history = read_history(written(tmp_path / "records.jsonl", run))
    episodes = [r for r in run if isinstance(r, Episode)]
    updates = [r for r in run if isinstance(r, Train)]
    assert list(history.events) == [
        r for r in run if not isinstance(r, Episode | Train)
    ]
    assert history.episodes.agent_steps.tolist() == [e.agent_steps for e in episodes]
    assert history.episodes.returns.tolist() == [e.return_ for e in episodes]
    assert history.updates.penalty.tolist() == [u.penalty for u in updates]
    assert history.updates.loss.tolist() == [u.loss for u in updates]
    assert history.agent_steps == max(r.agent_steps for r in run)
    in_third = history.episodes.of_visit(2)
    assert in_third.returns.tolist() == [e.return_ for e in episodes if e.visit == 2]


def test_a_file_and_its_records_have_the_same_history(tmp_path: Path) -> None:
    run = synthetic_run(rounds=1)
    from_file = read_history(written(tmp_path / "records.jsonl", run))
    from_records = history_of(run)
    assert from_file.events == from_records.events
    for ours, theirs in zip(from_file.episodes, from_records.episodes, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    for ours, theirs in zip(from_file.updates, from_records.updates, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_gradient_ratio_is_read_where_the_run_recorded_one(tmp_path: Path) -> None:
    train = Train(
        agent_steps=8,
        visit=0,
        game="pong",
        label=0,
        loss=0.1,
        penalty=0.0,
        gradient_norm=1.0,
        exploration_rate=1.0,
    )
    fields = json.loads(to_line(train))
    path = written(
        tmp_path / "records.jsonl",
        [train],
        fields | {"penalty_gradient_ratio": 0.25},
        fields | {"penalty_gradient_ratio": None},
    )
    ratios = read_history(path).updates.penalty_gradient_ratio.tolist()
    assert ratios[1] == 0.25
    assert math.isnan(ratios[0])
    assert math.isnan(ratios[2])


def test_guards_and_kinds_of_a_later_version_are_told_apart(tmp_path: Path) -> None:
    path = written(
        tmp_path / "records.jsonl",
        [Visit(agent_steps=0, visit=0, game="pong")],
        {"kind": "guard", "agent_steps": 40, "message": "penalty is 0"},
        {"kind": "dream", "agent_steps": 41, "depth": 3},
    )
    history = read_history(path)
    assert history.alarms == ((40, "", "penalty is 0"),)
    assert history.unknown == {"dream": 1}


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        "5",
        '{"kind": "episode", "agent_steps": 1}',
        '{"kind": "label", "agent_steps": 1}',
        '{"kind": "train", "agent_steps": 1, "visit": 0, "loss": "a", "penalty": 0}',
        '{"kind": "visit"}, {"kind": "visit"}',
        '{"kind": "episode", "agent_steps": 1e3, "visit": 0, "return": 0}',
        f'{{"kind": "episode", "agent_steps": {2**70}, "visit": 0, "return": 0}}',
    ],
)
def test_damage_before_the_last_line_is_reported_with_its_line(
    tmp_path: Path, line: str
) -> None:
    whole = to_line(Visit(agent_steps=0, visit=0, game="pong"))
    path = tmp_path / "records.jsonl"
    path.write_text(f"{whole}\n{line}\n{whole}\n", encoding="utf-8")
    with pytest.raises(CheckpointError, match="line 2 is damaged"):
        read_history(path)


def test_a_last_line_that_was_cut_off_is_left_out(tmp_path: Path) -> None:
    path = written(tmp_path / "records.jsonl", synthetic_run(rounds=1))
    whole = read_history(path)
    with path.open("a", encoding="utf-8") as file:
        file.write('{"kind": "epi')
    assert read_history(path).events == whole.events


def test_a_file_of_many_chunks_is_read_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clrl.records._CHUNK_BYTES", 300)
    run = synthetic_run(rounds=1)
    path = written(tmp_path / "records.jsonl", run)
    assert read_history(path).events == history_of(run).events
    path.write_text(path.read_text() + "{\n", encoding="utf-8")
    with pytest.raises(CheckpointError, match=f"line {len(run) + 1} is damaged"):
        read_history(path)


def test_spans_cover_the_run_without_gaps() -> None:
    labels = [Label(agent_steps=step, label=0) for step in (0, 30, 70)]
    assert spans(labels, 100) == list(zip(labels, (30, 70, 100), strict=True))
    assert spans(labels[:0], 100) == []
