"""A whole supervised run from the command line, small."""

import json
from pathlib import Path

import pytest

from clrl.cli import main

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


def test_a_wrong_run_of_a_domain_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*TINY, f"--runs_dir={tmp_path}", "--agent.gamma=0.9"]) == 2
    assert "unknown key 'agent.gamma'" in capsys.readouterr().err
