import json
from pathlib import Path

import pytest

from clrl.errors import CheckpointError
from clrl.records import Record, Relabelled
from clrl.summary import RunDescription, summarise, write_summary
from clrl.summary_file import read_summary

from .synthetic_run import GAMES, description, synthetic_run

FIRST_STAGE: list[Record] = [r for r in synthetic_run() if r.agent_steps == 0]
UNKNOWN = description(("pong", "adventure"))


@pytest.mark.parametrize(
    ("run", "about"),
    [
        (synthetic_run(), description()),
        (FIRST_STAGE, description()),
        (synthetic_run(UNKNOWN.games), UNKNOWN),
    ],
    ids=["whole", "before training", "a game without a human score"],
)
def test_a_summary_is_the_same_after_being_written_and_read(
    tmp_path: Path, run: list[Record], about: RunDescription
) -> None:
    summary = summarise(run, about, seconds=12.5)
    write_summary(summary, tmp_path / "summary.json")
    read = read_summary(tmp_path / "summary.json")
    assert repr(read) == repr(summary)  # NaN is not equal to itself


def test_scores_under_other_labels_are_read_back(tmp_path: Path) -> None:
    again: list[Record] = [
        Relabelled(
            agent_steps=0, stage=0, game=game, labelling=how, label=None, returns=(1.0,)
        )
        for game in GAMES[1:]
        for how in ("true_label", "no_label")
    ]
    summary = summarise([*FIRST_STAGE, *again], description())
    write_summary(summary, tmp_path / "summary.json")
    assert repr(read_summary(tmp_path / "summary.json")) == repr(summary)
    assert set(summary.relabelled) == {"true_label", "no_label"}


def test_a_summary_from_before_there_were_such_scores_is_read(tmp_path: Path) -> None:
    path = tmp_path / "summary.json"
    summary = summarise(synthetic_run(), description())
    write_summary(summary, path)
    content = json.loads(path.read_text("utf-8"))
    del content["relabelled"], content["acc_relabelled"]
    path.write_text(json.dumps(content), "utf-8")
    assert repr(read_summary(path)) == repr(summary)


@pytest.mark.parametrize(
    "change", [{"acc_57": None, "new": 1}, {"visits": [{"shape": 3}]}, {"scores": 3}]
)
def test_the_summary_of_another_version_is_refused(
    tmp_path: Path, change: dict[str, object]
) -> None:
    path = tmp_path / "summary.json"
    write_summary(summarise(synthetic_run(), description()), path)
    content = json.loads(path.read_text("utf-8")) | change
    path.write_text(json.dumps(content), "utf-8")
    with pytest.raises(CheckpointError, match=r"this version's summary"):
        read_summary(path)


def test_a_damaged_summary_is_refused(tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text('{"tasks": [', "utf-8")
    with pytest.raises(CheckpointError, match="remove it"):
        read_summary(tmp_path / "summary.json")
