import csv
import html.parser
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from clrl.errors import ConfigError
from clrl.report.comparison import Comparison, compare
from clrl.report.comparison_figures import SHOWN_MEASURES, figures
from clrl.report.comparison_measures import MEASURES
from clrl.report.comparison_page import FIGURES, TABLES, write_comparison
from clrl.report.comparison_runs import select

from ..synthetic_run import GAMES, synthetic_run
from .run_files import (
    FINETUNE,
    config_of,
    write_methods,
    write_references,
    write_run,
)

RUN = synthetic_run(episodes_per_visit=3)


class Page(html.parser.HTMLParser):
    """What a page holds and refers to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.references: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(str(value))
            if name in ("src", "href", "srcset", "data", "action"):
                self.references.append(str(value))

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    folder = tmp_path_factory.mktemp("runs")
    paths = write_methods(folder, seeds=2, episodes_per_visit=5)
    write_references(folder, config_of())
    going = write_run(
        folder / "<b>going",
        config_of(seed=9),
        [r for r in RUN if r.agent_steps < 60_000],
        with_summary=False,
    )
    return compare(select([*paths, going]))


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory, both: Comparison) -> Path:
    return write_comparison(both, tmp_path_factory.mktemp("out") / "new").parent


def test_every_figure_and_table_is_written(out: Path) -> None:
    names = {path.name for path in out.iterdir()}
    expected = {f"{name}.{ending}" for name in FIGURES for ending in ("svg", "png")}
    expected |= {f"{name}.csv" for name in TABLES} | {"index.html", "tables.md"}
    assert names == expected


def test_the_page_needs_no_other_file_and_runs_nothing(out: Path) -> None:
    text = (out / "index.html").read_text("utf-8")
    page = Page(text)
    assert page.references
    assert all(r.startswith("#") and r[1:] in page.ids for r in page.references)
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    assert not re.search(r"@import|url\((?!#)", text)


def test_the_page_shows_every_figure_and_table(out: Path) -> None:
    page = Page((out / "index.html").read_text("utf-8"))
    sections = [*(f"figure-{name}" for name in FIGURES), *TABLES]
    assert [name for name in page.ids if name in sections] == sections
    assert len(set(page.ids)) == len(page.ids)
    assert page.tags.count("svg") == len(FIGURES)
    words = " ".join(page.words)
    for expected in (*GAMES, *(measure.name for measure in MEASURES), "2 seeds"):
        assert expected in words


def test_names_from_outside_are_escaped(out: Path) -> None:
    page = Page((out / "index.html").read_text("utf-8"))
    assert "<b>going" in page.words
    assert "b" not in page.tags


def test_figures_are_files_of_their_own_too(out: Path) -> None:
    for name in FIGURES:
        drawn = ET.fromstring((out / f"{name}.svg").read_bytes())
        assert drawn.tag == "{http://www.w3.org/2000/svg}svg"
        height, width, _ = imread(out / f"{name}.png").shape
        assert width > 1000
        assert height > 100


def test_figures_wear_the_colours_of_the_page(out: Path) -> None:
    text = (out / "index.html").read_text("utf-8")
    figures = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    for figure in figures:
        assert "var(--faint)" in figure
        assert "currentColor" in figure
        assert not re.search(r"(?:fill|stroke): #", figure)


def test_numbers_in_csv_are_exact(out: Path, both: Comparison) -> None:
    with (out / "measures.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for method in both.methods:
        for row, estimate in zip(rows, method.measures, strict=True):
            found = [float(row[f"{method.name}{end}"]) for end in ("", " low", " high")]
            assert found == list(estimate)
    with (out / "runs.csv").open(encoding="utf-8") as file:
        runs = list(csv.DictReader(file))
    assert [float(run["ACC"]) for run in runs] == [
        run.summary.acc for method in both.methods for run in method.runs
    ]


def test_markdown_has_every_table_with_cells_of_equal_number(out: Path) -> None:
    text = (out / "tables.md").read_text("utf-8")
    assert text.count("\n## ") == len(TABLES)
    for block in text.split("\n## ")[1:]:
        lines = [line for line in block.splitlines() if line.startswith("|")]
        assert len(lines) > 2
        assert len({line.count(" | ") for line in lines}) == 1
    assert "in progress or interrupted: 1 of 6 visits are scored" in text


def test_the_same_comparison_gives_the_same_files(
    tmp_path: Path, out: Path, both: Comparison
) -> None:
    write_comparison(both, tmp_path)
    for path in out.iterdir():
        assert path.read_bytes() == (tmp_path / path.name).read_bytes(), path.name


def test_an_earlier_comparison_leaves_nothing_behind(tmp_path: Path) -> None:
    for name in ("improvement.svg", "improvement.csv", "left_out.csv", "mine.txt"):
        (tmp_path / name).write_text("earlier")
    alone = write_run(tmp_path / "alone", config_of(FINETUNE), RUN)
    write_comparison(compare(select([alone])), tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert not {"improvement.svg", "improvement.csv", "left_out.csv"} & names
    assert {"mine.txt", "measures.svg", "profiles.png"} <= names


def test_a_file_in_the_place_of_the_directory_is_refused(
    tmp_path: Path, both: Comparison
) -> None:
    (tmp_path / "out").write_text("data")
    with pytest.raises(ConfigError, match="--out must be a directory"):
        write_comparison(both, tmp_path / "out")
    assert (tmp_path / "out").read_text() == "data"


@pytest.mark.parametrize(
    ("games", "drawn"),
    [
        (("adventure",), {"measures", "games"}),  # no human score
        ((*GAMES, "pong"), {"measures", "games", "profiles"}),
    ],
)
def test_any_number_of_games_and_a_single_seed_can_be_drawn(
    tmp_path: Path, games: tuple[str, ...], drawn: set[str]
) -> None:
    run = synthetic_run(games, rounds=2, episodes_per_visit=3)
    path = write_run(tmp_path / "run", config_of(games=games), run)
    page = write_comparison(compare(select([path])), tmp_path / "out")
    said = (page.parent / "tables.md").read_text("utf-8")
    assert "nan" not in said
    assert f"to make them: clrl reference {path.resolve()}" in said
    assert {path.stem for path in page.parent.glob("*.svg")} == drawn


def test_a_panel_shows_each_measure_with_its_runs(both: Comparison) -> None:
    drawn = {name: figure for name, _, figure in figures(both)}
    panels = [a for a in drawn["measures"].axes if a.get_visible()]
    assert [axes.get_title() for axes in panels] == list(SHOWN_MEASURES)
    index = [measure.name for measure in MEASURES].index("ACC")
    dots = [np.asarray(dots.get_offsets()) for dots in panels[0].collections]
    for method, found in zip(both.methods, dots, strict=True):
        np.testing.assert_array_equal(found[:, 0], method.values[index])


def test_the_command_compares_runs_that_have_no_summary_yet(tmp_path: Path) -> None:
    paths = write_methods(tmp_path, 1, episodes_per_visit=50, rounds=4)
    for path in paths:
        (path / "summary.json").unlink()
    command = [sys.executable, "-m", "clrl", "compare", *map(str, paths)]
    subprocess.run([*command, "--out", str(tmp_path / "out")], check=True)
    assert (tmp_path / "out" / "index.html").exists()
