"""The report of a supervised run: the same page, without what only games have."""

from pathlib import Path

import numpy as np
import pytest

from clrl.errors import ConfigError
from clrl.records import Evaluation, Record, Train, Visit
from clrl.report.page import write_report
from clrl.report.run_data import read_run
from clrl.report.tables import number, score
from clrl.summary import summarise

from ..run_files import run_directory, supervised_config
from ..synthetic_run import (
    ACCURACIES,
    TASKS,
    supervised_description,
    supervised_run,
)
from .page_reader import PageReader

TRAINING = [
    Train(
        agent_steps=50 + 100 * visit,
        visit=visit,
        game=task,
        label=0,
        loss=0.5,
        penalty=0.1 * visit,
        gradient_norm=1.0,
        exploration_rate=0.0,
    )
    for visit, task in enumerate(TASKS)
]
FINISHED = sorted([*supervised_run(), *TRAINING], key=lambda r: r.agent_steps)


def page_of(path: Path, run: list[Record], seconds: float | None = None) -> PageReader:
    directory = run_directory(path / "run", run, supervised_config(), seconds)
    return PageReader(write_report(directory.path).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> PageReader:
    return page_of(tmp_path_factory.mktemp("finished"), FINISHED, seconds=20.0)


def test_sections_that_apply_are_shown_and_no_others(finished: PageReader) -> None:
    assert finished.headings == [
        "Scores",
        "Accuracy",
        "Forgetting",
        "Recognition",
        "Penalty",
        "Cost",
        "Config and provenance",
    ]
    assert finished.tags.count("svg") == len(TASKS) + 3
    assert len(set(finished.ids)) == len(finished.ids)


def test_the_page_shows_every_accuracy_and_measure(finished: PageReader) -> None:
    summary = summarise(supervised_run(), supervised_description())
    for accuracy in np.ravel(ACCURACIES):
        assert score(accuracy, "accuracy") in finished.cells
    for value in (summary.acc, summary.bwt, summary.forgetting):
        assert number(value) in finished.text
    assert score(0.5 - 0.975, "accuracy") in finished.cells
    assert "Mean final accuracy over 2 tasks." in finished.text


@pytest.mark.parametrize(
    "word",
    ["game", "games", "agent", "human", "human-normalised", "nan", "None", "episodes"],
)
def test_nothing_is_said_of_games(finished: PageReader, word: str) -> None:
    assert word not in finished.text.replace(".", " ").replace(",", " ").split()


def test_the_page_says_what_was_run(finished: PageReader) -> None:
    for expected in (
        "tasks permutation_1, permutation_2",
        "mnist, permutations (tasks 2)",
        "1 visit to each task, 1 pass over all of its examples",
        "hidden layers of 400, 400 units",
        "Finished: all 2 visits, 200 examples.",
        "examples per second 10.0",
    ):
        assert expected in finished.text


def test_a_run_in_progress_says_so(tmp_path: Path) -> None:
    so_far = [
        r
        for r in FINISHED
        if r.agent_steps <= 150 and not (isinstance(r, Evaluation) and r.stage > 1)
    ]
    page = page_of(tmp_path, so_far)
    assert "Not finished: visit 2 of 2, 150 examples." in page.text
    assert "The run has not ended" in page.text


def test_a_run_whose_tasks_are_still_tested_has_no_results(tmp_path: Path) -> None:
    first = next(r for r in FINISHED if isinstance(r, Evaluation))
    directory = run_directory(tmp_path / "run", [first], supervised_config())
    run = read_run(directory.path)
    assert run.summary is None
    assert not run.is_finished
    page = PageReader(write_report(directory.path).read_text(encoding="utf-8"))
    assert "ACC" not in page.cells
    assert "Training has not begun." in page.text


@pytest.mark.parametrize("count", [0, 1, 3, 5])
def test_a_run_that_has_hardly_begun_has_a_report(tmp_path: Path, count: int) -> None:
    page = page_of(tmp_path, FINISHED[:count])
    assert "nan" not in page.text.split()
    assert "None" not in page.text


def test_many_tasks_are_counted_from_the_config(tmp_path: Path) -> None:
    visits = [r for r in FINISHED if isinstance(r, Visit)]
    directory = run_directory(tmp_path / "run", visits, supervised_config(tasks=20))
    assert read_run(directory.path).planned_visits == 20


def test_a_config_that_is_not_resolved_is_refused(tmp_path: Path) -> None:
    mine = supervised_config()
    del mine["stream"]
    with pytest.raises(ConfigError, match="lacks 'stream'"):
        read_run(run_directory(tmp_path / "run", [], mine).path)
