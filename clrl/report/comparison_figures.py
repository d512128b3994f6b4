"""The comparison as figures: measures, games, performance profiles, improvement.

Methods differ in colour and in marker or line, so that neither has to be told apart.
What is no method's is drawn in ``INK``, ``GREY`` and ``GRID``, which a page exchanges
for its own.
"""

import math
from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from clrl.evaluation.statistics import Estimate
from clrl.report.comparison import Comparison
from clrl.report.comparison_measures import MEASURES
from clrl.report.score_matrix import COLOURS, INK

SHOWN_MEASURES = (
    "ACC",
    "total clipped",
    "training score",
    "BWT",
    "forgetting",
    "FWT",
    "normalised FT",
    "level against alone",
    "isolated forgetting",
    "zero-shot transfer",
    "recognition ARI",
)

GREY = "#777777"
GRID = "#E6E6E6"

_MARKERS = "osD^vPX*<>"
_LINES = ("-", "--", "-.", ":")
_PANELS_IN_A_ROW = 3
_WIDTH = 10.0
_LEAST_SPAN = 0.2
"""Of a measure's panel."""


def figures(comparison: Comparison) -> Iterator[tuple[str, str, Figure]]:
    """Name of the file, what the figure shows in words, and the figure.

    Figures without anything in them (profiles without a human score, improvement with
    a single method) are left out.
    """
    yield "measures", _measure_caption(), draw_measures(comparison)
    yield "games", _game_caption(), draw_games(comparison)
    if not np.isnan(comparison.methods[0].profile.value).any():
        yield "profiles", _profile_caption(), draw_profiles(comparison)
    if comparison.improvements:
        yield "improvement", _improvement_caption(), draw_improvement(comparison)


def draw_measures(comparison: Comparison) -> Figure:
    """A panel for each measure that a run has, a row for each method, a dot a run."""
    shown = [
        (index, measure.name)
        for index, measure in enumerate(MEASURES)
        if measure.name in SHOWN_MEASURES
        and not all(np.isnan(m.values[index]).all() for m in comparison.methods)
    ]
    shown.sort(key=lambda pair: SHOWN_MEASURES.index(pair[1]))
    figure, panels = _panels(len(shown), len(comparison.methods))
    for axes, (index, name) in zip(panels, shown, strict=True):
        _draw_rows(
            axes,
            [method.measures[index] for method in comparison.methods],
            [method.values[index] for method in comparison.methods],
        )
        _widen(axes)
        axes.set_title(name, fontsize=10, color=INK)
    _name_rows(panels, comparison)
    return figure


def draw_games(comparison: Comparison) -> Figure:
    """A panel for each game: raw scores at the end and after its own last visit."""
    games = comparison.selection.games
    figure, panels = _panels(len(games), len(comparison.methods))
    for column, (axes, game) in enumerate(zip(panels, games, strict=True)):
        results = [method.games[column] for method in comparison.methods]
        for row, result in enumerate(results):
            axes.plot(
                result.own.value,
                row,
                _marker(row),
                ms=10,
                mfc="none",
                mec=_colour(row),
                mew=1.5,
                zorder=2,
            )
        _draw_rows(axes, [r.final for r in results], [r.finals for r in results])
        _draw_random(axes, comparison, game)
        axes.set_title(game, fontsize=10, color=INK)
    _name_rows(panels, comparison)
    return figure


def draw_profiles(comparison: Comparison) -> Figure:
    """Share of runs and games above each human-normalised score."""
    figure = Figure(figsize=(_WIDTH, 4.6), layout="constrained")
    axes = figure.add_subplot()
    for row, method in enumerate(comparison.methods):
        value, low, high = method.profile
        tau = comparison.thresholds
        axes.plot(
            tau,
            value,
            color=_colour(row),
            ls=_LINES[row % len(_LINES)],
            lw=2,
            drawstyle="steps-post",
            label=f"{method.name} ({len(method.runs)})",
        )
        axes.fill_between(
            tau, low, high, color=_colour(row), alpha=0.15, lw=0, step="post"
        )
    for reference, name in ((0.0, "random"), (1.0, "human")):
        axes.axvline(reference, color=GREY, lw=1, ls=(0, (4, 3)), zorder=0)
        axes.annotate(
            name,
            (reference, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(0, 3),
            textcoords="offset points",
            ha="center",
            fontsize=8,
            color=GREY,
        )
    axes.set_ylim(0, 1.03)
    axes.set_xlim(comparison.thresholds[0], comparison.thresholds[-1])
    axes.set_xlabel("final human-normalised score τ")
    axes.set_ylabel("share of runs and games above τ")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9, title="method (seeds)", title_fontsize=9)
    return figure


def draw_improvement(comparison: Comparison) -> Figure:
    """A row for each pair of methods."""
    found = comparison.improvements
    height = 1.2 + 0.45 * len(found)
    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    axes = figure.add_subplot()
    axes.axvline(0.5, color=GREY, lw=1, ls=(0, (4, 3)), zorder=0)
    for row, improvement in enumerate(found):
        _draw_estimate(axes, row, improvement.probability, INK, "o")
    names = [f"X: {pair.method}\nY: {pair.over}" for pair in found]
    axes.set_yticks(range(len(found)), names, fontsize=9)
    axes.set_ylim(len(found) - 0.5, -0.5)
    axes.set_xlim(-0.02, 1.02)
    axes.set_xlabel("P(X > Y)")
    _tidy(axes)
    return figure


def _panels(number: int, methods: int) -> tuple[Figure, list[Axes]]:
    rows = math.ceil(number / _PANELS_IN_A_ROW)
    columns = min(number, _PANELS_IN_A_ROW)
    height = rows * (0.85 + 0.32 * methods)
    figure = Figure(figsize=(_WIDTH, height))
    # Room between the axis of one panel and the title of the next.
    figure.set_layout_engine("constrained", h_pad=0.08)
    grid = figure.subplots(rows, columns, squeeze=False)
    panels: list[Axes] = list(grid.ravel())
    for empty in panels[number:]:
        empty.set_visible(False)
    return figure, panels[:number]


def _draw_rows(
    axes: Axes, estimates: Sequence[Estimate], values: Sequence[np.ndarray]
) -> None:
    """A row for each method: its runs as dots, its estimate with the interval."""
    for row, (estimate, dots) in enumerate(zip(estimates, values, strict=True)):
        below = np.full(len(dots), row + 0.28)
        axes.scatter(dots, below, s=9, color=_colour(row), alpha=0.55, lw=0)
        _draw_estimate(axes, row, estimate, _colour(row), _marker(row))
    axes.set_ylim(len(estimates) - 0.4, -0.6)
    axes.margins(x=0.12)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    _tidy(axes)


def _draw_estimate(
    axes: Axes, row: int, estimate: Estimate, colour: str, marker: str
) -> None:
    if not math.isnan(estimate.low):
        ends = [estimate.low, estimate.high]
        axes.plot(
            ends,
            [row, row],
            color=colour,
            lw=4,
            alpha=0.4,
            zorder=1,
            solid_capstyle="butt",  # or bars would reach beyond their ends
        )
    axes.plot(estimate.value, row, marker, color=colour, ms=6, zorder=3)


def _widen(axes: Axes) -> None:
    """Keeps noise from filling a panel, and marks zero where it is in sight."""
    low, high = axes.get_xlim()
    lacking = max(0.0, _LEAST_SPAN - (high - low)) / 2
    axes.set_xlim(low - lacking, high + lacking)
    if low - lacking < 0 < high + lacking:
        axes.axvline(0, color=GREY, lw=1, zorder=0)


def _draw_random(axes: Axes, comparison: Comparison, game: str) -> None:
    """The random policy's mean score over all runs that played it."""
    means = [
        run.summary.random_policy[game].mean
        for method in comparison.methods
        for run in method.runs
        if game in run.summary.random_policy
    ]
    if means:
        mean = float(np.mean(means))
        axes.axvline(mean, color=GREY, lw=1, ls=(0, (4, 3)), zorder=0)


def _name_rows(panels: Sequence[Axes], comparison: Comparison) -> None:
    names = [f"{method.name} ({len(method.runs)})" for method in comparison.methods]
    for position, axes in enumerate(panels):
        is_first = position % _PANELS_IN_A_ROW == 0
        axes.set_yticks(range(len(names)), names if is_first else [], fontsize=9)


def _tidy(axes: Axes) -> None:
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=8)
    axes.grid(axis="x", color=GRID, lw=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)


def _colour(row: int) -> str:
    return COLOURS[row % len(COLOURS)]


def _marker(row: int) -> str:
    return _MARKERS[row % len(_MARKERS)]


def _measure_caption() -> str:
    return (
        "Measures. Large marker: interquartile mean over seeds (their number in "
        "brackets); bar: 95 % bootstrap interval, none for a single seed; dots: runs."
    )


def _game_caption() -> str:
    return (
        "Raw scores. Filled marker, bar and dots: at the end of the run; hollow "
        "marker: after the game's own last visit; dashed: random play. The way from "
        "hollow to filled is what was forgotten, or gained."
    )


def _profile_caption() -> str:
    return (
        "Performance profiles. How many of all runs on all games end above a score; "
        "higher is better. Shaded: pointwise 95 % bootstrap interval."
    )


def _improvement_caption() -> str:
    return (
        "Probability of improvement. How likely a run of X ends with a higher score "
        "than a run of Y, mean over games; at the dashed line neither is better."
    )
