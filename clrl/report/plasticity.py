"""What is left of a network's ability to learn, visit by visit, for a run's report."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from clrl.history import of_kind
from clrl.records import Plasticity
from clrl.report.figures import colour_of
from clrl.report.inline_svg import MUTED, inline_svg
from clrl.report.run_data import RunData


class PlasticitySection(NamedTuple):
    """The section of a report.

    Attributes:
        sentence: From the first visit to the last, in words.
        chart: Each visit.
    """

    sentence: str
    chart: Markup


class _Series(NamedTuple):
    """One measure over the visits; NaN where it was not taken."""

    title: str
    name: str
    values: list[float]
    digits: int
    unit: str = ""

    def text(self, visit: int) -> str:
        """The value after a visit, counted from 0, or from the end."""
        return f"{self.values[visit]:,.{self.digits}f}"


def plasticity_section(run: RunData) -> PlasticitySection | None:
    """What the records say; None before the end of the first visit."""
    measured = of_kind(run.history.events, Plasticity)
    if not measured:
        return None
    known = [each for each in _series(measured) if not _is_unknown(each)]
    return PlasticitySection(_sentence(known), _chart(run, measured, known))


def _series(measured: Sequence[Plasticity]) -> list[_Series]:
    return [
        _Series(
            "dormant units, %",
            "the share of dormant units",
            [100 * _number(each.dormant_fraction) for each in measured],
            digits=1,
            unit=" %",
        ),
        _Series(
            "effective rank",
            "the effective rank of the last hidden layer",
            [_number(each.effective_rank) for each in measured],
            digits=0,
        ),
        _Series(
            "weight norm",
            "the norm of the shared weights",
            [each.weight_norm for each in measured],
            digits=1,
        ),
    ]


def _sentence(known: Sequence[_Series]) -> str:
    visits = len(known[0].values)
    if visits == 1:
        stand = [f"{each.name} is {each.text(0)}{each.unit}" for each in known]
        return f"After the first visit, {_joined(stand)}."
    moves = [
        f"{each.name} went from {each.text(0)} to {each.text(-1)}{each.unit}"
        for each in known
    ]
    return f"From visit 1 to visit {visits}, {_joined(moves)}."


def _joined(parts: Sequence[str]) -> str:
    *first, last = parts
    return f"{', '.join(first)} and {last}" if first else last


def _chart(
    run: RunData, measured: Sequence[Plasticity], known: Sequence[_Series]
) -> Markup:
    stages = [each.stage for each in measured]
    colours = [colour_of(run.games.index(each.game)) for each in measured]

    def draw(figure: Figure) -> None:
        panels = figure.subplots(1, len(known), squeeze=False)[0]
        figure.subplots_adjust(left=0.07, right=0.98, bottom=0.24, top=0.86, wspace=0.3)
        for axes, series in zip(panels, known, strict=True):
            axes.plot(stages, series.values, color=MUTED, lw=1, zorder=1)
            axes.scatter(stages, series.values, s=28, c=colours, zorder=2)
            axes.set_title(series.title, fontsize=10)
            axes.set_xlabel("visit")
            axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
            axes.yaxis.set_major_locator(MaxNLocator(4))
            axes.margins(y=0.15)

    return inline_svg(
        draw,
        width=680,
        height=180,
        name="plasticity",
        label="Dormant units, effective rank and weight norm after each visit",
    )


def _is_unknown(series: _Series) -> bool:
    return any(math.isnan(value) for value in series.values)


def _number(value: float | None) -> float:
    return math.nan if value is None else value
