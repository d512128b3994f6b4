"""A whole supervised run from the command line, small."""

import json
from pathlib import Path

import pytest

from clrl.cli import main

from ..supervised.original_files import accept_cifar, write_cifar

pytestmark = pytest.mark.slow

TINY = [
    "train",
    "configs/mnist/quickstart.yaml",
    "--training.passes=1",
    "--training.examples_per_task=100",
    "--network.hidden=20",
    "--name=tiny",
]


def test_the_quickstart_is_trained_reported_and_evaluated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert main([*TINY, f"--runs_dir={tmp_path}"]) == 0
    said = capsys.readouterr().out
    assert "Accuracy on each task after each visit" in said
    run = tmp_path / "tiny"
    report = (run / "report.html").read_text(encoding="utf-8")
    assert "Finished: all 3 visits, 300 examples." in report
    summary = json.loads((run / "summary.json").read_text())
    assert summary["measure"] == "accuracy"
    assert summary["tasks"] == ["permutation_1", "permutation_2", "permutation_3"]
    assert len(summary["scores"]) == 4
    assert summary["human_normalised"] == [[None] * 3] * 4
    assert (run / "scores.png").read_bytes().startswith(b"\x89PNG")

    assert main(["evaluate", str(run)]) == 0
    said = capsys.readouterr().out
    for accuracy in summary["scores"][-1]:
        assert f"{accuracy:.3f}" in said
    assert "true label" not in said

    assert main(["evaluate", str(run), "--also-under", "no_label,true_label"]) == 0
    said = capsys.readouterr().out
    assert said.index("true label") < said.index("no label")
    assert "as task 2, its true label" in said


def test_missing_data_end_the_run_with_what_to_do_and_leave_nothing_behind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--dataset=mnist", f"--data-dir={tmp_path}", f"--runs_dir={tmp_path}"]
    assert main([*TINY, *arguments]) == 1
    said = capsys.readouterr().err
    assert "--data-dir" in said
    assert "Traceback" not in said
    assert not (tmp_path / "tiny").exists()


def test_cifar_is_split_from_its_original_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accept_cifar(monkeypatch, write_cifar(tmp_path, train=400, test=100))
    arguments = ["--dataset=cifar100", f"--data-dir={tmp_path}", "--stream.tasks=10"]
    small = ["--training.passes=1", "--network.hidden=20", "--name=cifar"]
    assert (
        main(["train", "mnist/split", *arguments, *small, f"--runs_dir={tmp_path}"])
        == 0
    )
    summary = json.loads((tmp_path / "cifar" / "summary.json").read_text())
    assert len(summary["tasks"]) == 10
    assert len(summary["scores"]) == 11
    assert all(0 <= accuracy <= 1 for row in summary["scores"] for accuracy in row)


def test_a_wrong_run_of_a_domain_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*TINY, f"--runs_dir={tmp_path}", "--agent.gamma=0.9"]) == 2
    assert "unknown key 'agent.gamma'" in capsys.readouterr().err
