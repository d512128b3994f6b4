import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from clrl.records import Record, to_line
from clrl.report.page import MOST_BYTES, write_report

from ..run_files import config, run_directory
from ..synthetic_run import synthetic_records
from .page_reader import PageReader
from .test_score_matrix import TEN_GAMES

VISITS_PER_GAME = 6
VISIT_STEPS = 500_000


def long_run(records: int) -> Iterator[Record]:
    """Ten games, 60 visits, and about this many records."""
    visits = len(TEN_GAMES) * VISITS_PER_GAME
    episodes_per_visit = records // (2 * visits)
    return synthetic_records(
        TEN_GAMES, VISITS_PER_GAME, VISIT_STEPS, episodes_per_visit, delay_steps=64
    )


def write_long_report(path: Path, records: int) -> tuple[Path, float]:
    """The report, and the processor's seconds that it took."""
    run = config(TEN_GAMES, VISITS_PER_GAME, VISIT_STEPS)
    directory = run_directory(path / "run", long_run(records), run)
    started = time.process_time()
    return write_report(directory.path), time.process_time() - started


def test_a_report_of_many_visits_is_small(tmp_path: Path) -> None:
    report, _ = write_long_report(tmp_path, 12_000)
    assert report.stat().st_size < MOST_BYTES / 10
    page = PageReader(report.read_text(encoding="utf-8"))
    assert "Finished: all 60 visits, 30,000,000 agent steps." in page.text
    assert page.tags.count("svg") == 10 + 3


@pytest.mark.slow
def test_two_million_records_take_seconds_and_no_more_room(tmp_path: Path) -> None:
    short, _ = write_long_report(tmp_path / "short", 20_000)
    long, seconds = write_long_report(tmp_path / "long", 2_000_000)
    assert long.stat().st_size < 1.1 * short.stat().st_size < MOST_BYTES
    assert seconds < 10


def test_a_long_run_has_as_many_records_as_it_should() -> None:
    assert sum(1 for _ in long_run(12_000)) == pytest.approx(12_000, rel=0.1)
    assert len(to_line(next(iter(long_run(12_000))))) > 100
