"""Noise on the weights of saved agents, in real games."""

import csv
import dataclasses
import json
import shutil
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
import torch
from PIL import Image

from clrl.cli import main
from clrl.continual.methods import Finetune
from clrl.continual.penalty import QuadraticPenalty
from clrl.continual.perturbation import perturbed, uniform
from clrl.errors import CheckpointError, ConfigError
from clrl.perturb import perturb
from clrl.progress import SilentListener
from clrl.report.page import write_report
from clrl.report.perturbation import Perturbation, read_perturbation
from clrl.rl import captured
from clrl.run import games as run
from clrl.run.agent import make_agent, save, saved_agent
from clrl.run.sequence import make_sequence
from clrl.run_directory import RunDirectory

from .report.page_reader import PageReader
from .run.test_games import TINY
from .run_files import new_directory

SIZES = (0.3, 1e-6)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A run whose first game was left, and so consolidated, and the second was not."""
    directory = new_directory(tmp_path_factory.mktemp("runs"), TINY)
    run.train(TINY, directory, SilentListener())
    return directory


def play_with_noise(directory: RunDirectory, **changes: object) -> Perturbation:
    options = {"sizes": SIZES, "draws": 2, "episodes": 1, "damping": 0.01} | changes
    return perturb(directory, None, listener=SilentListener(), **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def found(trained: RunDirectory) -> Perturbation:
    return play_with_noise(trained)


def test_every_noise_has_a_score_for_each_size_and_draw(found: Perturbation) -> None:
    assert found.method == "ewc"
    assert found.sizes == (1e-6, 0.3)
    assert {curve.noise for curve in found.curves} >= {"uniform", "inverse_importance"}
    for curve in found.curves:
        assert curve.game == "pong"
        assert np.shape(curve.scores) == (2, 2)
    assert list(found.random_policy) == ["pong"]


def test_noise_too_small_to_matter_leaves_the_score_as_it_was(
    found: Perturbation,
) -> None:
    for curve in found.curves:
        assert curve.scores[0] == found.unperturbed["pong"]


def test_noise_reaches_the_q_values_and_is_gone_afterwards(
    trained: RunDirectory,
) -> None:
    with saved_agent(TINY, trained) as (agent, sequence):
        seen = sequence.reset()
        assert isinstance(seen, np.ndarray)
        penalty = agent.learner.method.penalty
        assert isinstance(penalty, QuadraticPenalty)
        importance = penalty.importance(0)
        assert importance is not None
        assert penalty.importance(1) is None
        before = agent.q_values(seen)
        generator = torch.Generator().manual_seed(0)
        with perturbed(agent.policy.q_net, uniform(importance), 0.1, generator):
            noisy = [agent.q_values(seen) for _ in range(2)]
        assert not np.allclose(noisy[0], before)
        assert not np.allclose(noisy[0], noisy[1])
        assert np.array_equal(agent.q_values(seen), before)


def test_noise_is_not_played_from_a_recording_made_without_it(
    tmp_path: Path, trained: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = dataclasses.replace(TINY.agent, capture=True)
    directory = new_directory(tmp_path, dataclasses.replace(TINY, agent=agent))
    shutil.copy(trained.records, directory.records)
    shutil.copytree(trained.checkpoint, directory.checkpoint)

    def record(work: object) -> NoReturn:
        pytest.fail("what is recorded replays the weights without noise")

    monkeypatch.setattr(captured, "directly", record)
    play_with_noise(directory)


def test_the_first_draw_plays_the_episodes_that_evaluation_plays(
    trained: RunDirectory, found: Perturbation
) -> None:
    pong, _ = run.evaluate(trained, 1, SilentListener())
    assert found.unperturbed["pong"][0] == np.mean(pong.returns)


def test_a_game_that_was_never_left_is_left_out_with_the_reason(
    found: Perturbation,
) -> None:
    assert list(found.left_out) == ["breakout"]
    assert "task 1, which was never left" in found.left_out["breakout"]


def test_what_is_written_reads_back(trained: RunDirectory, found: Perturbation) -> None:
    folder = trained.perturbation
    assert read_perturbation(folder) == found
    with (folder / "scores.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 + sum(4 for _ in found.curves)
    assert [float(r["score"]) for r in rows[:2]] == list(found.unperturbed["pong"])
    assert (folder / "scores.svg").read_text().startswith("<?xml")
    with Image.open(folder / "scores.png") as picture:
        assert len(np.unique(np.asarray(picture.convert("L")))) > 20


def test_the_report_shows_it(trained: RunDirectory, found: Perturbation) -> None:
    page = PageReader(write_report(trained.path).read_text(encoding="utf-8"))
    assert "Weight perturbation" in page.headings
    assert "inverse importance" in page.text
    assert "of the weights" in page.text or "no null space" in page.text
    assert "breakout is left out: it is taken for task 1" in page.text
    assert len(set(page.ids)) == len(page.ids)
    assert found.curves


def test_the_command_line_prints_a_table(
    trained: RunDirectory, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--game", "pong", "--sizes", "0.01", "--draws", "1", "--episodes", "1"]
    assert main(["perturb", str(trained.path), *arguments]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "by size of the noise" in shown
    assert "inverse importance" in shown
    written = json.loads((trained.perturbation / "scores.json").read_text())
    assert written["sizes"] == [0.01]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--game", "pogn"], "did you mean pong"),
        (["--game", "breakout"], "expects a game whose task was left"),
        (["--sizes", "-1"], "--sizes must be positive and finite, got -1"),
        (["--draws", "0"], "--draws must be at least 1, got 0"),
        (["--episodes", "0"], "--episodes must be at least 1, got 0"),
        (["--damping", "0"], "--damping must be positive and finite, got 0"),
    ],
)
def test_a_wrong_request_is_refused(
    trained: RunDirectory,
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["perturb", str(trained.path), *arguments]) == 2
    assert message in capsys.readouterr().err.replace("\n", " ")


def test_a_method_without_importance_is_refused(tmp_path: Path) -> None:
    config = dataclasses.replace(TINY, method=Finetune())
    directory = new_directory(tmp_path, config)
    sequence = make_sequence(config)
    save(make_agent(config, sequence), directory)
    sequence.close()
    with pytest.raises(ConfigError, match=r"how much each weight matters.*finetune"):
        play_with_noise(directory)


def test_damaged_results_are_refused(tmp_path: Path) -> None:
    assert read_perturbation(tmp_path) is None
    (tmp_path / "scores.json").write_text('{"curves": []}')
    with pytest.raises(CheckpointError, match="run clrl perturb again"):
        read_perturbation(tmp_path)
