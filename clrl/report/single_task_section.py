"""A run beside single-task runs of the same agent, for the run's report."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from clrl.report.figures import LINEAR_UP_TO, colour_of
from clrl.report.inline_svg import FAINT, inline_svg
from clrl.report.run_data import RunData
from clrl.report.single_task import (
    GameTransfer,
    VisitLevel,
    forward_transfer,
    game_transfers,
    level_difference,
    visit_levels,
)


class SingleTaskSection(NamedTuple):
    """The section of a report; empty lists and NaN where nothing is known.

    Attributes:
        run: The run's directory, as a command line may name it.
        missing: Games without references.
        levels: Of the visits to the other games.
        level_difference: Their mean.
        chart: Of them; None where none has a human score.
        transfers: Of the games with references.
        forward_transfer: Their mean.
    """

    run: str
    missing: list[str]
    levels: list[VisitLevel]
    level_difference: float
    chart: Markup | None
    transfers: list[GameTransfer]
    forward_transfer: float


def single_task_section(run: RunData) -> SingleTaskSection:
    """What the run and its references say."""
    summary, references = run.summary, run.references
    levels = visit_levels(summary, references) if summary else []
    return SingleTaskSection(
        run="/".join(run.directory.path.parts[-2:]),
        missing=[game for game in run.games if game not in references],
        levels=levels,
        level_difference=level_difference(summary, references) if summary else math.nan,
        chart=_chart([x for x in levels if not math.isnan(x.human_difference)]),
        transfers=game_transfers(summary, references) if summary else [],
        forward_transfer=forward_transfer(summary, references) if summary else math.nan,
    )


def _chart(levels: Sequence[VisitLevel]) -> Markup | None:
    """A dot and a ring for each visit, joined."""
    if not levels:
        return None

    def draw(figure: Figure) -> None:
        axes = figure.add_axes((0.09, 0.2, 0.89, 0.75))
        axes.axhline(0.0, color=FAINT, lw=1)
        axes.axhline(1.0, color=FAINT, lw=1, ls=(0, (4, 3)))
        for x, each in enumerate(levels, start=1):
            colour, ends = colour_of(each.game), [each.human_level, each.human_alone]
            axes.plot([x, x], ends, color=colour, lw=3, alpha=0.45)
            axes.scatter([x], ends[:1], s=40, color=colour, lw=1.8, zorder=3)
            axes.scatter([x], ends[1:], s=80, fc="none", ec=colour, lw=1.8, zorder=3)
        if max(max(map(abs, (e.human_level, e.human_alone))) for e in levels) > (
            LINEAR_UP_TO
        ):
            axes.set_yscale("symlog", linthresh=1)
        axes.set_xlim(0.4, len(levels) + 0.6)
        axes.xaxis.set_major_locator(MaxNLocator(12, integer=True))
        axes.margins(y=0.1)
        axes.set_xlabel("visit")
        axes.set_ylabel("human-normalised")

    return inline_svg(
        draw,
        width=680,
        height=210,
        name="alone",
        label="Score after each visit, and that of an agent on that game alone",
    )
