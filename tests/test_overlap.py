"""``clrl overlap`` on scikit-learn's digits."""

import json
from pathlib import Path

import pytest

from clrl.cli import main

SMALL = (
    *("--dataset", "digits", "--network.hidden", "32,32"),
    *("--training.examples_per_task", "320", "--training.passes", "5"),
    *("--training.batch_size", "16"),
)


def test_tasks_that_are_less_alike_share_less_of_the_first_layer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "overlap.svg"
    options = ["--seeds", "1", "--output", str(picture), *SMALL]
    assert main(["overlap", "mnist/overlap", "--squares", "2", "8", *options]) == 0
    assert "layers.0" in capsys.readouterr().out
    assert "<svg" in picture.read_text(encoding="utf-8")
    numbers = json.loads(picture.with_suffix(".json").read_text(encoding="utf-8"))
    overlaps = numbers["overlap_by_square_and_layer"]
    assert list(overlaps["2"]) == ["layers.0", "layers.1", "layers.2"]
    for mild, strong in zip(
        overlaps["2"]["layers.0"], overlaps["8"]["layers.0"], strict=True
    ):
        assert mild > strong
    for first, last in zip(
        overlaps["8"]["layers.0"], overlaps["8"]["layers.2"], strict=True
    ):
        assert last > first


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("mnist/overlap", "--method", "l2"), "overlap.yaml"),
        (("mnist/overlap", "--stream", "rotations"), "overlap.yaml"),
        (("mnist/overlap", "--stream.tasks", "3"), "two tasks"),
        (("mnist/overlap", "--seeds", "0"), "at least one"),
        (("mnist/overlap", "--dataset", "digits", "--squares", "9"), "at most 8"),
        (("atari/smoke",), "supervised"),
    ],
)
def test_what_has_no_overlap_is_refused(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], complaint: str
) -> None:
    assert main(["overlap", *arguments]) == 2
    assert complaint in capsys.readouterr().err.replace("\n", " ")
