"""The figures of a run's report, each as SVG for its page."""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.ticker import EngFormatter, MaxNLocator

from clrl import records
from clrl.evaluation.recognition import Timeline
from clrl.history import Episodes, of_kind, spans
from clrl.report.downsample import Spans, binned, joined
from clrl.report.inline_svg import FAINT, INK, MUTED, inline_svg
from clrl.report.retention import Retention
from clrl.report.run_data import RunData
from clrl.report.score_matrix import COLOURS
from clrl.summary_recognition import timelines

CURVE_BINS = 240
"""Bins of a curve over the whole run; a visit has its share of them."""

EPISODES_IN_A_BIN = 5
"""A visit has no more bins than make this many episodes each."""

FEW_EPISODES = 400
"""Below this many, every episode of a game is drawn as well."""

MANY_STAGES = 20
"""Above this many, scores are drawn smaller."""

LINEAR_UP_TO = 2.0
"""Human-normalised; beyond that, a chart of several games is logarithmic."""

NARROWEST_BAR = 1 / 700
"""Of the timeline's width."""

MOST_LABELS = 24
"""Inferred tasks with a row of their own in the timeline."""


def colour_of(game: int) -> str:
    """The colour of the game at this position."""
    return COLOURS[game % len(COLOURS)]


def learning_curve(run: RunData, game: int) -> Markup:
    """Training returns and scores of one game over the whole run."""
    name = run.games[game]

    def draw(figure: Figure) -> None:
        axes = figure.add_axes((0.115, 0.17, 0.85, 0.79))
        _draw_visits(axes, run, game)
        _draw_random(axes, run, name)
        _draw_training(axes, run, game)
        _draw_scores(axes, run, game)
        _over_agent_steps(axes, run)
        axes.yaxis.set_major_formatter(EngFormatter(sep=""))
        axes.yaxis.set_major_locator(MaxNLocator(5, integer=False))

    label = f"Training returns and scores of {name} over agent steps"
    return inline_svg(draw, width=440, height=200, name=f"curve{game}", label=label)


def accuracy_curve(run: RunData, task: int) -> Markup:
    """Test accuracy on one task over the whole run."""
    name = run.games[task]
    tests = [
        e for e in of_kind(run.history.events, records.Evaluation) if e.game == name
    ]

    def draw(figure: Figure) -> None:
        axes = figure.add_axes((0.115, 0.17, 0.85, 0.79))
        _draw_visits(axes, run, task)
        axes.plot(
            [test.agent_steps for test in tests],
            [test.returns[0] for test in tests],
            color=colour_of(task),
            marker="o",
            ms=4 if len(tests) <= MANY_STAGES else 2,
        )
        axes.set_ylim(0.0, 1.02)
        _over_agent_steps(axes, run)

    label = f"Test accuracy on {name} over examples shown"
    return inline_svg(draw, width=440, height=200, name=f"curve{task}", label=label)


def curves(run: RunData) -> list[Markup]:
    """The curve of each game or task."""
    curve = accuracy_curve if run.is_supervised else learning_curve
    return [curve(run, task) for task in range(len(run.games))]


def retention_chart(rows: Sequence[Retention], scale: str) -> Markup:
    """Each game's score after its own last visit and at the end.

    Args:
        rows: Of the games.
        scale: Of the scores, in words.
    """
    rows = [row for row in rows if not math.isnan(row.comparable_change)]

    def draw(figure: Figure) -> None:
        height = figure.get_figheight() * 72
        bottom = 44 / height
        axes = figure.add_axes((0.27, bottom, 0.69, 1 - bottom - 6 / height))
        for y, row in enumerate(rows):
            colour = colour_of(row.game)
            ends = [row.comparable_after, row.comparable_final]
            axes.plot(ends, [y, y], color=colour, lw=3, alpha=0.45)
            axes.scatter(ends[:1], [y], s=55, fc="none", ec=colour, lw=1.8)
            axes.scatter(ends[1:], [y], s=55, color=colour, lw=1.8)
        if max(
            max(map(abs, (r.comparable_after, r.comparable_final))) for r in rows
        ) > (LINEAR_UP_TO):
            axes.set_xscale("symlog", linthresh=1)
        axes.axvline(0.0, color=FAINT, lw=1)
        axes.axvline(1.0, color=FAINT, lw=1, ls=(0, (4, 3)))
        axes.set_yticks(range(len(rows)), [row.name for row in rows])
        axes.tick_params(axis="y", length=0, labelcolor=INK)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.margins(x=0.06)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(scale)

    return inline_svg(
        draw,
        width=420,
        height=56 + 26 * len(rows),
        name="retention",
        label="Score of each game after its last visit and at the end of the run",
    )


def recognition_timeline(run: RunData) -> Markup | None:
    """When each task was inferred, coloured by the game that was really played."""
    known = timelines(run.history, run.games)
    if known is None:
        return None
    truth, inferred = known
    total_steps = run.history.agent_steps
    rows = _label_rows(inferred, total_steps)

    def draw(figure: Figure) -> None:
        height = figure.get_figheight() * 72
        bottom = 38 / height
        axes = figure.add_axes((0.09, bottom, 0.88, 1 - bottom - 4 / height))
        stretches = _common_stretches(truth, inferred, total_steps)
        _draw_row(axes, 0, stretches, total_steps)
        for y, (_, labels) in enumerate(rows, start=1):
            is_here = np.isin(stretches.labels, labels)
            here = _Stretches(*(column[is_here] for column in stretches))
            _draw_row(axes, y, here, total_steps)
        names = ["true", *(name for name, _ in rows)]
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.axhline(0.5, color=FAINT, lw=1)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        _over_agent_steps(axes, run)

    return inline_svg(
        draw,
        width=680,
        height=52 + 18 * (len(rows) + 1),
        name="timeline",
        label=f"True {run.words.task} and inferred task over {run.words.steps}",
    )


def penalty_curve(run: RunData) -> Markup | None:
    """Task loss, penalty and, where recorded, the ratio of their gradients."""
    updates = run.history.updates
    if not len(updates.loss):
        return None
    has_ratio = ~np.isnan(updates.penalty_gradient_ratio)

    def draw(figure: Figure) -> None:
        panels = 2 if has_ratio.any() else 1
        axes_of = figure.subplots(panels, 1, sharex=True, squeeze=False)[:, 0]
        height = figure.get_figheight() * 72
        figure.subplots_adjust(
            left=0.10, right=0.88, bottom=40 / height, top=1 - 8 / height, hspace=0.16
        )
        top = axes_of[0]
        _draw_logarithmic(top, updates.agent_steps, updates.loss, MUTED, "task loss")
        penalty = updates.penalty
        _draw_logarithmic(top, updates.agent_steps, penalty, COLOURS[4], "penalty")
        if has_ratio.any():
            ratios = updates.penalty_gradient_ratio[has_ratio]
            steps = updates.agent_steps[has_ratio]
            _draw_logarithmic(axes_of[1], steps, ratios, COLOURS[0], "gradient\nratio")
        for axes in axes_of:
            for left in of_kind(run.history.events, records.Consolidation):
                axes.axvline(left.agent_steps, color=FAINT, lw=0.8)
            _over_agent_steps(axes, run)
            axes.label_outer()

    return inline_svg(
        draw,
        width=680,
        height=330 if has_ratio.any() else 220,
        name="penalty",
        label=f"Task loss and penalty over {run.words.steps}",
    )


# ---- learning curves ----------------------------------------------------------------


def _draw_visits(axes: Axes, run: RunData, game: int) -> None:
    for visit, end in spans(run.visits, run.history.agent_steps):
        if visit.game == run.games[game]:
            colour = colour_of(game)
            axes.axvspan(visit.agent_steps, end, color=colour, alpha=0.13, lw=0)


def _draw_random(axes: Axes, run: RunData, name: str) -> None:
    for random in of_kind(run.history.events, records.RandomPolicy):
        if random.game == name:
            mean = float(np.mean(random.returns))
            axes.axhline(mean, color=MUTED, lw=1, ls=(0, (4, 3)), alpha=0.8)


def _draw_training(axes: Axes, run: RunData, game: int) -> None:
    colour = colour_of(game)
    of_visits = [run.history.episodes.of_visit(v) for v in _visits_of(run, game)]
    is_few = sum(len(episodes.returns) for episodes in of_visits) <= FEW_EPISODES
    for episodes in of_visits:
        if is_few:
            axes.scatter(
                episodes.agent_steps, episodes.returns, s=6, color=colour, alpha=0.4
            )
        bins = binned(episodes.agent_steps, episodes.returns, _bins(run, episodes))
        axes.fill_between(
            bins.agent_steps, bins.low, bins.high, color=colour, alpha=0.22, lw=0
        )
        marker = "o" if len(bins.mean) == 1 else ""
        axes.plot(bins.agent_steps, bins.mean, color=colour, marker=marker, ms=4)


def _visits_of(run: RunData, game: int) -> Iterator[int]:
    return (v.visit for v in run.visits if v.game == run.games[game])


def _bins(run: RunData, episodes: Episodes) -> int:
    """A visit's share of the bins of a curve, and enough episodes in each."""
    share = math.ceil(CURVE_BINS / max(1, run.planned_visits))
    enough = len(episodes.returns) // EPISODES_IN_A_BIN
    return max(2, min(share, enough))


def _draw_scores(axes: Axes, run: RunData, game: int) -> None:
    name = run.games[game]
    scores = [
        (e.agent_steps, float(np.mean(e.returns)))
        for e in of_kind(run.history.events, records.Evaluation)
        if e.game == name
    ]
    if scores:
        steps, means = zip(*scores, strict=True)
        size = 3.5 if len(scores) <= MANY_STAGES else 2.0
        axes.plot(steps, means, color=INK, lw=1, ls=(0, (1, 2)), marker="D", ms=size)


def _over_agent_steps(axes: Axes, run: RunData) -> None:
    axes.set_xlim(0, max(1, run.history.agent_steps))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.xaxis.set_major_locator(MaxNLocator(7))
    axes.set_xlabel(run.words.steps)


# ---- recognition --------------------------------------------------------------------


class _Stretches(NamedTuple):
    """Stretches of a run over which neither the game nor the label changes."""

    starts: Int64[np.ndarray, "N"]
    ends: Int64[np.ndarray, "N"]
    games: Int64[np.ndarray, "N"]
    labels: Int64[np.ndarray, "N"]


def _label_rows(inferred: Timeline, total_steps: int) -> list[tuple[str, list[int]]]:
    """The labels of each row: one each, the last row for those that held least."""
    lengths = np.diff(inferred.starts, append=total_steps)
    steps = np.bincount(inferred.values, lengths)
    found = [int(label) for label in np.flatnonzero(steps)]
    by_steps = sorted(found, key=lambda label: (-steps[label], label))
    rows = [(str(label), [label]) for label in sorted(by_steps[:MOST_LABELS])]
    rest = by_steps[MOST_LABELS:]
    return [*rows, (f"{len(rest)} more", rest)] if rest else rows


def _common_stretches(
    truth: Timeline, inferred: Timeline, total_steps: int
) -> _Stretches:
    starts = np.union1d(truth.starts, inferred.starts)
    return _Stretches(
        starts,
        np.append(starts[1:], total_steps),
        truth.values[np.searchsorted(truth.starts, starts, side="right") - 1],
        inferred.values[np.searchsorted(inferred.starts, starts, side="right") - 1],
    )


def _draw_row(axes: Axes, y: int, stretches: _Stretches, total_steps: int) -> None:
    """A bar for each stretch, in the colour of its game."""
    for game in np.unique(stretches.games):
        of_game = stretches.games == game
        spans_of_game = Spans(stretches.starts[of_game], stretches.ends[of_game])
        bars = joined(spans_of_game, NARROWEST_BAR * total_steps)
        path = Path.make_compound_path(
            *(
                Path([(a, y - 0.38), (b, y - 0.38), (b, y + 0.38), (a, y + 0.38)])
                for a, b in zip(*bars, strict=True)
            )
        )
        axes.add_patch(PathPatch(path, fc=colour_of(int(game)), lw=0))


# ---- penalty ------------------------------------------------------------------------


def _draw_logarithmic(
    axes: Axes,
    steps: Int64[np.ndarray, "N"],
    values: Float64[np.ndarray, "N"],
    colour: str,
    name: str,
) -> None:
    """Means of bins, named at their right end; a logarithm shows no zeros."""
    bins = binned(steps, values, CURVE_BINS)
    means = np.where(bins.mean > 0, bins.mean, math.nan)
    if np.isnan(means).all():
        return
    axes.set_yscale("log")
    axes.plot(bins.agent_steps, means, color=colour)
    last = np.flatnonzero(~np.isnan(means))[-1]
    axes.annotate(
        name,
        (1.0, float(means[last])),
        xycoords=("axes fraction", "data"),
        xytext=(6, 0),
        textcoords="offset points",
        va="center",
        color=colour,
    )
