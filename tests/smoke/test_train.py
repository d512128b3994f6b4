import json
import shutil
from pathlib import Path

import pytest

from clrl.cli import main
from clrl.config.config_file import read_config
from clrl.config.games import RunConfig
from clrl.records import Visit, read_records

from ..report.page_reader import PageReader

pytestmark = pytest.mark.slow

TINY = [
    "train",
    "atari/smoke",
    "--sequence.visit_steps=320",
    "--sequence.visits_per_game=1",
    "--sequence.num_envs=4",
    "--agent.learning_starts=64",
    "--evaluation.max_episode_steps=30",
    "--method.importance_batches=1",
    "--threads=1",
]


FIRST = "ewc-flat_fmn-pong+breakout-seed0-1"
SECOND = "ewc-flat_fmn-pong+breakout-seed0-2"


@pytest.fixture(scope="module")
def runs_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs of the same config, which names itself."""
    runs_dir = tmp_path_factory.mktemp("runs")
    for _ in range(2):
        assert main([*TINY, f"--runs_dir={runs_dir}"]) == 0
    return runs_dir


def test_runs_without_a_name_are_numbered(runs_dir: Path) -> None:
    assert sorted(path.name for path in runs_dir.iterdir()) == [FIRST, SECOND]


def test_a_run_leaves_its_config_provenance_records_summary_picture_and_report(
    runs_dir: Path,
) -> None:
    run = runs_dir / FIRST
    summary = json.loads((run / "summary.json").read_text())
    assert summary["tasks"] == ["pong", "breakout"]
    assert len(summary["scores"]) == 3
    assert summary["agent_steps"] == 2 * 320
    config = read_config(run / "config.yaml")
    assert isinstance(config, RunConfig)
    assert config.sequence.visit_steps == 320
    provenance = json.loads((run / "provenance.json").read_text())
    assert set(provenance["rom_md5s"]) == {"pong", "breakout"}
    assert (run / "scores.png").read_bytes().startswith(b"\x89PNG")
    assert any((run / "tensorboard").iterdir())
    visits = [r for r in read_records(run / "records.jsonl") if isinstance(r, Visit)]
    assert [v.game for v in visits] == ["pong", "breakout"]


def test_the_report_of_a_run_shows_what_its_files_say(runs_dir: Path) -> None:
    run = runs_dir / FIRST
    page = PageReader((run / "report.html").read_text(encoding="utf-8"))
    summary = json.loads((run / "summary.json").read_text())
    updates = json.loads((run / "checkpoint" / "manifest.json").read_text())
    assert "Finished: all 2 visits, 640 agent steps." in page.text
    assert f"updates {updates['facts']['updates']:,}" in page.text
    assert f"ACC {summary['acc']:.2f}" in page.text
    # A curve for each game; forgetting, recognition, penalty, plasticity.
    assert page.tags.count("svg") == 2 + 4
    for name in ("sequence.visit_steps 320", "rom_md5s.pong"):
        assert name in page.text


def test_a_run_that_diverges_leaves_a_report_that_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    too_fast = ["--agent.learning_rate=1e30", f"--runs_dir={tmp_path}"]
    assert main([*TINY, *too_fast]) == 1
    said = capsys.readouterr()
    run = tmp_path / FIRST
    assert f"clrl report {run}" in said.out
    assert main(["report", str(run)]) == 0
    page = PageReader((run / "report.html").read_text(encoding="utf-8"))
    reason = " ".join(said.err.removeprefix("clrl: ").split())
    assert f"The run ended early: {reason}" in page.text
    assert "Not finished: visit 1 of 2" in page.text


def test_the_same_run_twice_writes_the_same_records(runs_dir: Path) -> None:
    first, second = (
        (runs_dir / name / "records.jsonl").read_bytes() for name in (FIRST, SECOND)
    )
    assert first == second


def test_a_run_can_be_evaluated_again(
    runs_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(runs_dir / FIRST), "--episodes", "3"]) == 0
    assert "breakout" in capsys.readouterr().out


def test_a_damaged_checkpoint_is_refused_without_a_traceback(
    runs_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(runs_dir / FIRST, tmp_path / "copy")
    damaged = next((tmp_path / "copy" / "checkpoint").glob("*.safetensors"))
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
    assert main(["evaluate", str(tmp_path / "copy")]) == 1
    assert damaged.name in capsys.readouterr().err
