"""The comparison as files.

<out>/
    index.html     everything on one page, which needs no other file and no network
    tables.md      all tables in Markdown
    <table>.csv    each table with full precision
    <figure>.svg   each figure, and the same as .png
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jinja2
from markupsafe import Markup

from clrl.errors import ConfigError
from clrl.report.comparison import Comparison
from clrl.report.comparison_figures import GREY, GRID, figures
from clrl.report.comparison_tables import setting_table, tables
from clrl.report.figure_files import save_figure
from clrl.report.inline_svg import DARK_COLOURS, page_style, palette, svg_of
from clrl.report.score_matrix import COLOURS, INK
from clrl.report.table import Table, to_csv, to_markdown

FIGURES = ("measures", "games", "profiles", "improvement")
TABLES = (
    "measures",
    "scores",
    "improvement",
    "games",
    "games_normalised",
    "runs",
    "left_out",
    "setting",
)

_PAGE_COLOURS = {
    INK.lower(): "currentColor",
    GREY.lower(): "var(--muted)",
    GRID.lower(): "var(--faint)",
}


class DrawnFigure(NamedTuple):
    """A figure on the page, in the page's colours."""

    name: str
    caption: str
    svg: Markup


def write_comparison(comparison: Comparison, out: Path) -> Path:
    """Writes all files; those of an earlier comparison there are replaced.

    Args:
        comparison: What is written.
        out: A directory, made if it does not exist.

    Returns:
        The page.

    Raises:
        ConfigError: ``out`` is a file.
    """
    if out.exists() and not out.is_dir():
        raise ConfigError(
            f"--out must be a directory, got the file {out}; choose another."
        )
    out.mkdir(parents=True, exist_ok=True)
    _remove_earlier(out)
    for name, _, figure in figures(comparison):
        save_figure(figure, out / name)
    built, setting = tables(comparison), setting_table(comparison)
    for table in (*built, setting):
        (out / f"{table.slug}.csv").write_text(to_csv(table), encoding="utf-8")
    (out / "tables.md").write_text(
        _markdown(comparison, (*built, setting)), encoding="utf-8"
    )
    page = out / "index.html"
    page.write_text(_html(comparison, built, setting), encoding="utf-8")
    return page


def title(comparison: Comparison) -> str:
    """What is compared, on one line."""
    names = [method.name for method in comparison.methods]
    return " / ".join(names) if len(names) > 1 else names[0]


def subtitle(comparison: Comparison) -> str:
    """On what it is compared."""
    selection = comparison.selection
    runs = sum(len(method.runs) for method in comparison.methods)
    return (
        f"{_counted(runs, 'run')} of {_counted(len(comparison.methods), 'method')} on "
        f"{', '.join(selection.games)}; {selection.setting['sequence.protocol']} "
        f"protocol, "
        f"{_counted(int(selection.setting['sequence.visits_per_game']), 'visit')} to "
        f"each game of {int(selection.setting['sequence.visit_steps']):,} agent steps."
    )


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _remove_earlier(out: Path) -> None:
    """A comparison with fewer figures must not keep an earlier one's."""
    names = [f"{name}.{ending}" for name in FIGURES for ending in ("svg", "png")]
    for name in (*names, *(f"{table}.csv" for table in TABLES)):
        (out / name).unlink(missing_ok=True)


def _drawn_for_page(comparison: Comparison) -> list[DrawnFigure]:
    with page_style():
        return [
            DrawnFigure(
                name,
                caption,
                svg_of(figure, name=name, label=caption, colours=_PAGE_COLOURS),
            )
            for name, caption, figure in figures(comparison)
        ]


def _markdown(comparison: Comparison, all_tables: Sequence[Table]) -> str:
    notes = "\n".join(f"- {note}" for note in comparison.notes)
    head = f"# {title(comparison)}\n\n{subtitle(comparison)}\n\n{notes}\n"
    return "\n".join([head, *map(to_markdown, all_tables)])


def _html(
    comparison: Comparison,
    built: Sequence[Table],
    setting: Table,
) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("clrl.report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template("comparison.html.jinja").render(
        title=title(comparison),
        subtitle=subtitle(comparison),
        notes=comparison.notes,
        figures=_drawn_for_page(comparison),
        palette=palette(COLOURS),
        dark_palette=palette(DARK_COLOURS),
        tables=built,
        setting=setting,
    )
