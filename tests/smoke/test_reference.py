import csv
import shutil
from pathlib import Path

import pytest

from clrl.cli import main
from clrl.summary_file import read_summary

from ..report.page_reader import PageReader

pytestmark = pytest.mark.slow

TINY = [
    "train",
    "atari/smoke",
    "--games=pong",
    "--sequence.visit_steps=160",
    "--sequence.num_envs=4",
    "--agent.learning_starts=64",
    "--evaluation.max_episode_steps=30",
    "--method.importance_batches=1",
    "--threads=1",
    "--name=run",
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one game, twice, and its reference."""
    runs_dir = tmp_path_factory.mktemp("runs")
    assert main([*TINY, f"--runs_dir={runs_dir}"]) == 0
    assert main(["reference", str(runs_dir / "run")]) == 0
    return runs_dir / "run"


def reference_of(run: Path) -> Path:
    (reference,) = (run.parent / "references").iterdir()
    return reference


def test_a_reference_is_a_run_of_the_same_length_without_a_method(run: Path) -> None:
    alone = read_summary(reference_of(run) / "summary.json")
    whole = read_summary(run / "summary.json")
    assert (alone.method, alone.recogniser) == ("finetune", "one_task")
    assert [v.agent_steps for v in alone.visits] == [
        v.agent_steps for v in whole.visits
    ]
    assert (reference_of(run) / "checkpoint").is_dir()
    assert (reference_of(run) / "report.html").is_file()


def test_a_reference_is_not_trained_again(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (reference_of(run) / "records.jsonl").stat().st_mtime_ns
    assert main(["reference", str(run)]) == 0
    said = capsys.readouterr().out
    assert f"{reference_of(run)}: cached" in said
    assert "0 of 1 references to train, 0 agent steps in all" in said
    assert (reference_of(run) / "records.jsonl").stat().st_mtime_ns == before


def test_one_that_was_interrupted_is_said_and_trained_anew_to_the_same_records(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = Path(shutil.copytree(run.parent, tmp_path / "copy")) / "run"
    records = reference_of(copy) / "records.jsonl"
    whole = records.read_bytes()
    records.write_bytes(whole[: len(whole) // 2])
    (reference_of(copy) / "summary.json").unlink()
    assert main(["reference", str(copy)]) == 0
    said = capsys.readouterr().out
    assert f"{reference_of(copy)}: to train, 320 steps: in progress or inter" in said
    assert records.read_bytes() == whole


def test_reports_and_comparisons_measure_against_it(run: Path, tmp_path: Path) -> None:
    before = PageReader((run / "report.html").read_text("utf-8")).text
    assert f"clrl reference {run.parent.name}/run trains them" in before
    assert main(["report", str(run)]) == 0
    after = PageReader((run / "report.html").read_text("utf-8")).text
    assert "Normalised forward transfer of Continual World" in after
    assert "trains them" not in after
    runs = [str(path) for path in sorted(run.parent.iterdir())]
    assert main(["compare", *runs, "--out", str(tmp_path / "out")]) == 0
    with (tmp_path / "out" / "measures.csv").open(encoding="utf-8") as file:
        rows = {row["measure"]: row["ewc"] for row in csv.DictReader(file)}
    assert rows["level against alone"] != ""
