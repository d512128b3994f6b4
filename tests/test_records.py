import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clrl.errors import CheckpointError
from clrl.records import (
    KINDS,
    Episode,
    Label,
    Labelling,
    RandomPolicy,
    Record,
    RecordWriter,
    Train,
    from_fields,
    read_records,
    to_line,
)

from .synthetic_run import synthetic_run

finite = st.floats(allow_nan=False, allow_infinity=False)
values: dict[object, st.SearchStrategy[object]] = {
    int: st.integers(0, 10**9),
    float: finite,
    str: st.sampled_from(["pong", "breakout"]),
    tuple[float, ...]: st.lists(finite, min_size=1).map(tuple),
    dict[str, float]: st.dictionaries(st.text(), finite),
    float | None: st.none() | finite,
    int | None: st.none() | st.integers(0, 10**9),
    Labelling: st.sampled_from(get_args(Labelling)),
}


@pytest.mark.parametrize("kind", KINDS.values())
@given(data=st.data())
def test_a_record_survives_its_line(kind: type[Record], data: st.DataObject) -> None:
    strategies = {f.name: values[f.type] for f in dataclasses.fields(kind)}
    make: Callable[..., Record] = kind
    record = make(**data.draw(st.fixed_dictionaries(strategies)))
    assert from_fields(json.loads(to_line(record))) == record


def test_an_episode_is_written_with_the_documented_names() -> None:
    episode = Episode(
        agent_steps=900,
        visit=0,
        game="pong",
        label=0,
        return_=-21.0,
        length_steps=812,
    )
    assert to_line(episode) == (
        '{"kind": "episode", "agent_steps": 900, "visit": 0, "game": "pong", '
        '"label": 0, "return": -21.0, "length_steps": 812}'
    )


def test_a_training_record_of_an_older_run_is_still_read() -> None:
    line = (
        '{"kind": "train", "agent_steps": 8, "visit": 0, "game": "pong", "label": 0, '
        '"loss": 0.1, "penalty": 0.0, "gradient_norm": 1.0, "exploration_rate": 1.0}'
    )
    record = from_fields(json.loads(line))
    assert isinstance(record, Train)
    assert record.penalty_gradient_ratio is None
    assert record.q_mean is None


def test_a_file_is_read_back_in_order(tmp_path: Path) -> None:
    run = synthetic_run()
    with RecordWriter(tmp_path / "records.jsonl") as writer:
        writer.write(run[:10])
        writer.write(run[10:])
    assert read_records(tmp_path / "records.jsonl") == run


def test_records_are_in_the_file_before_the_writer_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    with RecordWriter(path) as writer:
        writer.write([Label(agent_steps=0, label=0)])
        assert read_records(path) == [Label(agent_steps=0, label=0)]


def test_a_last_line_that_was_cut_off_is_left_out_wherever_it_was_cut(
    tmp_path: Path,
) -> None:
    path = tmp_path / "records.jsonl"
    whole = to_line(Label(agent_steps=0, label=0)) + "\n"
    last = to_line(Label(agent_steps=8, label=1))
    for length in range(len(last) + 1):
        path.write_text(whole + last[:length], encoding="utf-8")
        assert read_records(path) == [Label(agent_steps=0, label=0)]


def test_writing_goes_on_after_a_line_that_was_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    first, second = Label(agent_steps=0, label=0), Label(agent_steps=8, label=1)
    path.write_text(to_line(first) + "\n" + '{"kind": "lab', encoding="utf-8")
    with RecordWriter(path) as writer:
        writer.write([second])
    assert read_records(path) == [first, second]


@pytest.mark.parametrize(
    "line",
    ["{", "[]", "{}", '{"kind": "dream"}', '{"kind": "label", "agent_steps": 1}'],
)
def test_damage_before_the_last_line_is_reported_with_its_line(
    tmp_path: Path, line: str
) -> None:
    path = tmp_path / "records.jsonl"
    whole = to_line(Label(agent_steps=0, label=0))
    path.write_text(f"{whole}\n{line}\n{whole}\n", encoding="utf-8")
    with pytest.raises(CheckpointError, match="line 2 is damaged"):
        read_records(path)


def test_nan_is_refused_because_json_has_none() -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        to_line(RandomPolicy(agent_steps=0, game="pong", returns=(float("nan"),)))
