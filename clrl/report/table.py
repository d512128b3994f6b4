"""Tables for people, in HTML and Markdown, and for programs, in CSV.

People read ``0.42 [0.31, 0.55]`` in one cell; programs get three columns.
"""

import csv
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from clrl.evaluation.statistics import Estimate
from clrl.report.tables import number, score


@runtime_checkable
class Column(Protocol):
    """A column of a table."""

    @property
    def name(self) -> str:
        """What stands above it."""
        ...

    @property
    def is_number(self) -> bool:
        """Whether it is set flush right."""
        ...

    def shown(self) -> Iterator[str]:
        """The cells, for people."""
        ...

    def raw(self) -> Iterator[tuple[str, list[str]]]:
        """Columns with their names, for programs."""
        ...


@dataclass(frozen=True)
class TextColumn:
    """Cells that are words."""

    name: str
    cells: Sequence[str]
    is_number: bool = False

    def shown(self) -> Iterator[str]:
        """The words."""
        yield from self.cells

    def raw(self) -> Iterator[tuple[str, list[str]]]:
        """One column."""
        yield self.name, list(self.cells)


@dataclass(frozen=True)
class NumberColumn:
    """Cells that are numbers; NaN where there is none."""

    name: str
    cells: Sequence[float]
    is_number: bool = True

    def shown(self) -> Iterator[str]:
        """Rounded."""
        yield from map(number, self.cells)

    def raw(self) -> Iterator[tuple[str, list[str]]]:
        """One column, empty for NaN."""
        yield self.name, [_exact(value) for value in self.cells]


@dataclass(frozen=True)
class EstimateColumn:
    """Cells that are estimates; ``is_raw_score`` chooses how many digits matter."""

    name: str
    cells: Sequence[Estimate]
    is_raw_score: bool = False
    is_number: bool = True

    def shown(self) -> Iterator[str]:
        """Value and interval."""
        for estimate in self.cells:
            yield estimate_text(estimate, is_raw_score=self.is_raw_score)

    def raw(self) -> Iterator[tuple[str, list[str]]]:
        """Value, lower and upper end; empty cells for what does not exist."""
        for suffix, values in zip(
            ("", " low", " high"), zip(*self.cells, strict=True), strict=True
        ):
            yield self.name + suffix, [_exact(value) for value in values]


@dataclass(frozen=True)
class Table:
    """Columns of equal length under a title.

    Attributes:
        slug: Name of its file, without ending.
        title: Above the table.
        note: How to read it.
        columns: From left to right.
    """

    slug: str
    title: str
    note: str
    columns: tuple[Column, ...]

    def header(self) -> list[tuple[str, bool]]:
        """Name of each column, and whether it holds numbers."""
        return [(column.name, column.is_number) for column in self.columns]

    def rows(self) -> list[list[tuple[str, bool]]]:
        """Cells for people, and whether each is a number."""
        shown = zip(*(column.shown() for column in self.columns), strict=True)
        kinds = [column.is_number for column in self.columns]
        return [list(zip(row, kinds, strict=True)) for row in shown]


def to_markdown(table: Table) -> str:
    """The table in GitHub's Markdown, under its title."""
    marks = ["---:" if is_number else "---" for _, is_number in table.header()]
    lines = [
        [name for name, _ in table.header()],
        marks,
        *([cell for cell, _ in row] for row in table.rows()),
    ]
    body = "\n".join(f"| {' | '.join(map(_escaped, line))} |" for line in lines)
    return f"## {table.title}\n\n{table.note}\n\n{body}\n"


def to_csv(table: Table) -> str:
    """The table with full precision; an estimate takes three columns."""
    columns = [pair for column in table.columns for pair in column.raw()]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([name for name, _ in columns])
    writer.writerows(zip(*(cells for _, cells in columns), strict=True))
    return out.getvalue()


def estimate_text(estimate: Estimate, *, is_raw_score: bool = False) -> str:
    """``0.42 [0.31, 0.55]``; without an interval no brackets, for NaN a dash."""
    value, low, high = estimate
    if math.isnan(value):
        return "-"
    text = score if is_raw_score else number
    return (
        text(value) if math.isnan(low) else f"{text(value)} [{text(low)}, {text(high)}]"
    )


def _exact(value: float) -> str:
    return "" if math.isnan(value) else repr(float(value))


def _escaped(cell: str) -> str:
    return " ".join(cell.replace("|", "\\|").split())
