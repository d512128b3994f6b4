import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from clrl.checkpoint import read_checkpoint
from clrl.cli import main
from clrl.records import Train, read_records

pytestmark = pytest.mark.slow

SMALL = [
    "train",
    "atari/smoke",
    "--games=breakout",
    "--agent.learning_starts=64",
    "--evaluation.max_episode_steps=30",
    "--evaluation.random_policy_episodes=0",
    "--threads=1",
]


def wait_for(path: Path, text: str, process: subprocess.Popen[str]) -> None:
    while not (path.exists() and text in path.read_text()):
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)


@pytest.fixture
def _as_in_a_terminal() -> Iterator[None]:
    """What a shell starts in the background ignores Ctrl-C, and its children do too."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_as_in_a_terminal")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_interrupted_saves_its_agent_and_reports(
    tmp_path: Path, number: signal.Signals
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "clrl", *SMALL, "--sequence.visit_steps=10000000"],
        cwd=tmp_path,
        env={**os.environ, "COLUMNS": "200"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    run = tmp_path / "runs" / "ewc-flat_fmn-breakout-seed0-1"
    wait_for(run / "records.jsonl", '"train"', process)
    process.send_signal(number)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert f"interrupted; what there is so far is in {run}" in out
    assert "policy" in read_checkpoint(run / "checkpoint")
    assert any(isinstance(r, Train) for r in read_records(run / "records.jsonl"))
    assert (run / "summary.json").exists()


def test_a_run_that_diverges_says_which_term_and_keeps_its_records(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(
        [*SMALL, f"--runs_dir={tmp_path}", "--name=a", "--agent.learning_rate=1e30"]
    )
    assert code == 1
    said = capsys.readouterr().err
    assert "became" in said
    assert "lower the learning rate" in said
    assert not (tmp_path / "a" / "checkpoint").exists()
    kept = read_records(tmp_path / "a" / "records.jsonl")
    assert kept
    assert not any(isinstance(record, Train) for record in kept)


def test_a_sequence_that_does_not_fit_in_memory_is_refused_before_it_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(
        [*SMALL, f"--runs_dir={tmp_path}", "--name=a", "--agent.buffer_size=10000000"]
    )
    assert code == 1
    said = capsys.readouterr().err
    assert "need 16.5 GiB" in said
    assert "lower agent.buffer_size" in said
    assert not (tmp_path / "a").exists()


def test_a_run_that_finds_more_tasks_than_it_has_room_for_keeps_its_agent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [
        "--games=breakout,pong",
        "--recogniser=oracle",
        "--network.max_tasks=1",
    ]
    sizes = ["--sequence.visit_steps=400", "--sequence.visits_per_game=1"]
    code = main([*SMALL, *arguments, *sizes, f"--runs_dir={tmp_path}", "--name=a"])
    assert code == 2
    assert "max_tasks" in capsys.readouterr().err
    assert "policy" in read_checkpoint(tmp_path / "a" / "checkpoint")
