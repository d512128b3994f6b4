"""The results of a run as one picture.

Left, the transfer matrix: what each game scores before training and after each visit.
Right, what was seen in training: returns per game over time, each visit shaded in its
game's colour, with the true and the inferred task as strips below; of a supervised run,
which has no returns in training, the accuracy on each task from stage to stage.
"""

import math
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec, GridSpecFromSubplotSpec
from matplotlib.patches import Rectangle
from matplotlib.ticker import EngFormatter

from clrl import records
from clrl.history import Episodes, History, of_kind, spans
from clrl.report.tables import number, score
from clrl.summary import Summary, comparable_scores

# Okabe and Ito's palette, which stays distinct for colour-blind readers, then greys.
COLOURS = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#CC79A7",
    "#D55E00",
    "#56B4E9",
    "#8C6D1F",
    "#7F7F7F",
    "#332288",
    "#117733",
)
UNSCORED = "#EEEEEE"
INK = "#222222"
FEW_EPISODES = 30

# In inches; games share the height and width that eight have, down to a legible least.
_COLUMN, _LEAST_COLUMN, _COLUMNS = 0.95, 0.55, 7.6
_PANEL, _LEAST_PANEL, _PANELS, _STRIPS = 1.2, 0.55, 9.6, 0.42
_UPRIGHT_COLUMN = 0.7  # names of narrower ones are turned


def save_picture(history: History, summary: Summary, path: Path) -> None:
    """Draws a run and writes the picture as PNG.

    Args:
        history: What happened in it.
        summary: Its summary.
        path: Where the PNG goes.
    """
    draw(history, summary).savefig(path, format="png")


def draw(history: History, summary: Summary) -> Figure:
    """The picture."""
    n_games, n_stages = len(summary.tasks), len(summary.stages)
    panel = min(_PANEL, max(_LEAST_PANEL, _PANELS / n_games))
    height = max(4.5, panel * n_games + _STRIPS + 1.2, 0.42 * n_stages + 2.0)
    matrix_width = _matrix_width(n_games)
    figure = Figure(figsize=(matrix_width + 8.0, height), dpi=120, layout="constrained")
    grid = GridSpec(1, 2, figure, width_ratios=(matrix_width, 8.0))
    figure.suptitle(title(summary), fontsize=11, color=INK)
    _draw_matrix(figure.add_subplot(grid[0]), summary)

    right = GridSpecFromSubplotSpec(
        n_games + 1,
        1,
        grid[1],
        height_ratios=[*[panel] * n_games, _STRIPS],
        hspace=0.08,
    )
    strips = figure.add_subplot(right[n_games])
    _draw_strips(strips, history, summary)
    for row, game in enumerate(summary.tasks):
        axes = figure.add_subplot(right[row], sharex=strips)
        if summary.measure == "accuracy":
            _draw_accuracy(axes, history, summary, game)
        else:
            _draw_returns(axes, history, summary, game)
    return figure


def draw_matrix(summary: Summary) -> Figure:
    """The transfer matrix alone."""
    size = (
        _matrix_width(len(summary.tasks)),
        max(3.0, 0.42 * len(summary.stages) + 1.2),
    )
    figure = Figure(figsize=size, dpi=120, layout="constrained")
    _draw_matrix(figure.add_subplot(), summary)
    return figure


def draw_timeline(history: History, summary: Summary) -> Figure:
    """The true and the inferred task over time, with the games' colours."""
    figure = Figure(figsize=(9.0, 1.7), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    _draw_strips(axes, history, summary)
    patches = [Rectangle((0, 0), 1, 1, fc=colour_of(g, summary)) for g in summary.tasks]
    figure.legend(
        patches, summary.tasks, loc="outside upper left", ncols=6, fontsize=8
    ).get_frame().set_linewidth(0)
    return figure


def title(summary: Summary) -> str:
    """What was run and what came out, on one line."""
    amount = f" protocol, {summary.agent_steps:,} agent steps"
    if summary.measure == "accuracy":
        amount = f", {summary.agent_steps:,} examples"
    return (
        f"{summary.method}, {summary.recogniser}, seed {summary.seed}, "
        f"{summary.protocol}{amount}     "
        f"ACC {number(summary.acc)}   BWT {number(summary.bwt)}   "
        f"FWT {number(summary.fwt)}   forgetting {number(summary.forgetting)}"
    )


def colour_of(game: str, summary: Summary) -> str:
    """The game's colour throughout the picture."""
    return COLOURS[summary.tasks.index(game) % len(COLOURS)]


def _column(n_games: int) -> float:
    return min(_COLUMN, max(_LEAST_COLUMN, _COLUMNS / n_games))


def _matrix_width(n_games: int) -> float:
    return max(4.0, _column(n_games) * n_games + 1.6)


def _draw_matrix(axes: Axes, summary: Summary) -> None:
    is_accuracy = summary.measure == "accuracy"
    normalised = np.array(comparable_scores(summary), dtype=float)
    axes.set_facecolor(UNSCORED)
    image = axes.imshow(
        normalised, cmap="cividis", norm=Normalize(0.0, 1.0), aspect="auto"
    )
    for (stage, column), value in np.ndenumerate(normalised):
        bright = math.isnan(value) or value > 0.5  # noqa: PLR2004 - half the scale
        axes.text(
            column,
            stage,
            score(summary.scores[stage][column], summary.measure),
            ha="center",
            va="center",
            fontsize=9,
            color=INK if bright else "white",
        )
    for stage, visit in enumerate(summary.visits[: len(summary.stages) - 1], start=1):
        axes.add_patch(_outline(summary.tasks.index(visit.game), stage))
    upright = _column(len(summary.tasks)) >= _UPRIGHT_COLUMN
    names = [game.replace("_", "\n" if upright else " ") for game in summary.tasks]
    axes.set_xticks(range(len(names)), names, fontsize=9, rotation=0 if upright else 90)
    axes.set_yticks(range(len(summary.stages)), summary.stages, fontsize=9)
    for label, visit in zip(axes.get_yticklabels()[1:], summary.visits, strict=False):
        label.set_color(colour_of(visit.game, summary))
    axes.set_xticks(np.arange(len(names) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(summary.stages) + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", lw=1)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    what = "accuracy after each visit; outlined: the task just learnt"
    if not is_accuracy:
        what = "score after each visit; outlined: the game just played"
    axes.set_title(what, fontsize=9)
    bar = axes.figure.colorbar(image, ax=axes, fraction=0.05, pad=0.03, aspect=35)
    ends = ("0", "1") if is_accuracy else ("random", "human")
    bar.set_ticks([0.0, 0.5, 1.0], labels=[ends[0], "0.5", ends[1]], fontsize=8)
    bar.outline.set_visible(False)


def _outline(column: int, stage: int) -> Rectangle:
    return Rectangle(
        (column - 0.46, stage - 0.46), 0.92, 0.92, fill=False, ec="#D55E00", lw=2.2
    )


def _draw_returns(axes: Axes, history: History, summary: Summary, game: str) -> None:
    colour = colour_of(game, summary)
    visits = of_kind(history.events, records.Visit)
    for visit, end in spans(visits, history.agent_steps):
        if visit.game == game:
            axes.axvspan(visit.agent_steps, end, color=colour, alpha=0.12, lw=0)
            _draw_episodes(axes, history.episodes.of_visit(visit.visit), colour)
    if game in summary.random_policy:
        random = summary.random_policy[game].mean
        axes.axhline(random, color="#777777", lw=1, ls=(0, (4, 3)))
        axes.annotate(
            "random",
            (1.0, random),
            xycoords=("axes fraction", "data"),
            xytext=(3, 0),
            textcoords="offset points",
            va="center",
            fontsize=7,
            color="#777777",
        )
    _dress(axes, game, colour)
    axes.margins(y=0.12)
    if game == summary.tasks[0]:
        axes.set_title("returns of training episodes, raw", fontsize=9)


def _draw_accuracy(axes: Axes, history: History, summary: Summary, task: str) -> None:
    """The accuracy on one task at every stage, with its visits shaded."""
    colour = colour_of(task, summary)
    visits = of_kind(history.events, records.Visit)
    for visit, end in spans(visits, history.agent_steps):
        if visit.game == task:
            axes.axvspan(visit.agent_steps, end, color=colour, alpha=0.12, lw=0)
    tests = [e for e in of_kind(history.events, records.Evaluation) if e.game == task]
    steps = [e.agent_steps for e in tests]
    axes.plot(steps, [e.returns[0] for e in tests], color=colour, lw=1.8, marker=".")
    axes.set_ylim(0.0, 1.02)
    axes.set_yticks([0.0, 0.5, 1.0])
    _dress(axes, task, colour)
    if task == summary.tasks[0]:
        axes.set_title("test accuracy", fontsize=9)


def _dress(axes: Axes, game: str, colour: str) -> None:
    """What the panels of all games have in common."""
    axes.set_ylabel(game.replace("_", "\n"), fontsize=9, color=colour, rotation=0)
    axes.yaxis.set_label_coords(-0.125, 0.35)
    axes.tick_params(labelbottom=False, bottom=False, labelsize=8)
    axes.spines[["top", "right", "bottom"]].set_visible(False)


def _draw_episodes(axes: Axes, episodes: Episodes, colour: str) -> None:
    """Each episode of one visit a dot, with a moving average."""
    steps, returns = episodes.agent_steps, episodes.returns
    if not len(returns):
        return
    size = 5 if len(returns) > FEW_EPISODES else 14
    axes.scatter(steps, returns, s=size, color=colour, alpha=0.35, lw=0)
    window = min(len(returns), max(3, len(returns) // 10))
    means = np.convolve(returns, np.ones(window) / window, mode="valid")
    axes.plot(steps[window - 1 :], means, color=colour, lw=1.8)


def _draw_strips(axes: Axes, history: History, summary: Summary) -> None:
    """True games above, inferred tasks below, over the agent's steps."""
    last = history.agent_steps
    for visit, end in spans(of_kind(history.events, records.Visit), last):
        _strip(axes, 1, visit.agent_steps, end, colour_of(visit.game, summary))
    for label, end in spans(of_kind(history.events, records.Label), last):
        colour = colour_of_label(label.label, summary)
        _strip(axes, 0, label.agent_steps, end, colour)
    axes.set_ylim(0.0, 2.0)
    axes.set_xlim(0, max(1, last))
    axes.set_yticks([1.5, 0.5], ["true", "inferred"], fontsize=8)
    axes.tick_params(length=0, labelsize=8)
    axes.spines[:].set_visible(False)
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    unit = "examples" if summary.measure == "accuracy" else "agent steps"
    axes.set_xlabel(unit, fontsize=9)


def _strip(axes: Axes, row: int, start: int, end: int, colour: str) -> None:
    axes.add_patch(Rectangle((start, row + 0.08), end - start, 0.84, fc=colour, lw=0))


def colour_of_label(label: int, summary: Summary) -> str:
    """The colour of the game an inferred task mostly stands for; grey if of none."""
    steps: dict[str, int] = {}
    for visit in summary.visits:
        if visit.label == label:
            steps[visit.game] = steps.get(visit.game, 0) + visit.agent_steps
    return colour_of(max(steps, key=steps.__getitem__), summary) if steps else "#BBBBBB"
