import subprocess
import sys
from pathlib import Path

import pytest

from clrl.records import to_line
from clrl.report.page import MOST_BYTES
from clrl.run_directory import RunDirectory

from ..run_files import config, run_directory
from ..synthetic_run import synthetic_records
from .page_reader import PageReader
from .test_score_matrix import TEN_GAMES

VISITS_PER_GAME = 6
VISIT_STEPS = 500_000
SHORT_RECORDS = 12_000


def long_run(path: Path, times: int = 1) -> RunDirectory:
    """Ten games and 60 visits; every episode and update is there ``times`` times."""
    visits = len(TEN_GAMES) * VISITS_PER_GAME
    run = synthetic_records(
        TEN_GAMES,
        VISITS_PER_GAME,
        VISIT_STEPS,
        episodes_per_visit=SHORT_RECORDS // (2 * visits),
        delay_steps=64,
    )
    directory = run_directory(path, [], config(TEN_GAMES, VISITS_PER_GAME, VISIT_STEPS))
    with directory.records.open("w", encoding="utf-8") as file:
        for record in run:
            is_frequent = record.kind in ("episode", "train")
            file.write(f"{to_line(record)}\n" * (times if is_frequent else 1))
    return directory


def report_of(directory: RunDirectory) -> Path:
    """The report that ``clrl report`` writes."""
    # In a process of its own, types are not checked at every call.
    subprocess.run(
        [sys.executable, "-m", "clrl", "report", directory.path],
        cwd=Path(__file__).parents[2],
        check=True,
        capture_output=True,
    )
    return directory.report


def test_a_report_of_many_visits_is_small(tmp_path: Path) -> None:
    directory = long_run(tmp_path / "run")
    report = report_of(directory)
    assert report.stat().st_size < MOST_BYTES / 10
    page = PageReader(report.read_text(encoding="utf-8"))
    assert "Finished: all 60 visits, 30,000,000 agent steps." in page.text
    assert page.tags.count("svg") == 10 + 3


@pytest.mark.slow
def test_two_million_records_take_no_more_room(tmp_path: Path) -> None:
    short = report_of(long_run(tmp_path / "short"))
    long_directory = long_run(tmp_path / "long", times=2_000_000 // SHORT_RECORDS + 1)
    with long_directory.records.open("rb") as file:
        assert sum(1 for _ in file) > 2_000_000
    long = report_of(long_directory)
    assert long.stat().st_size < 1.1 * short.stat().st_size < MOST_BYTES
