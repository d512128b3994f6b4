"""The weight-perturbation test of a run: its scores as files, figure and table."""

import csv
import dataclasses
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.table import Table

from clrl.errors import CheckpointError
from clrl.report.figure_files import save_figure
from clrl.report.inline_svg import inline_svg
from clrl.report.score_matrix import COLOURS
from clrl.report.tables import plus_minus
from clrl.summary_visits import RandomSummary, summarise_returns

NOISE_NAMES = {
    "uniform": "uniform",
    "inverse_importance": "inverse importance",
    "null_space": "null space",
}
"""Of the shapes of noise in ``clrl.continual.perturbation``, for people."""

_MARKERS = dict(zip(NOISE_NAMES, "osD", strict=True))
_COLOURS = dict(zip(NOISE_NAMES, (7, 0, 4), strict=True))
_PANELS_IN_A_ROW = 3


@dataclass(frozen=True, kw_only=True)
class NoiseCurve:
    """Scores of one game under noise of one shape.

    Attributes:
        game: Its name.
        noise: The shape, a key of ``NOISE_NAMES``.
        reached_share: Share of the shared weights that the noise changes.
        scores: Mean raw return of each draw, a row for each size.
    """

    game: str
    noise: str
    reached_share: float
    scores: tuple[tuple[float, ...], ...]

    def points(self) -> list[RandomSummary]:
        """Mean and standard error over draws, for each size."""
        return [summarise_returns(draws) for draws in self.scores]


@dataclass(frozen=True, kw_only=True)
class Perturbation:
    """What the noise did to the scores of a run's games.

    Attributes:
        method: Whose importance shaped the noise, by its name in the config.
        sizes: Root mean square of the noise over all shared weights, rising.
        draws: Of the noise, for each size.
        episodes: Of each draw.
        damping: lambda of the inverse importance, in multiples of its mean.
        unperturbed: By game, the mean raw return of as many rounds without noise.
        random_policy: By game, the mean raw return of random play; where known.
        curves: Game by game.
        left_out: Games without importance, and why.
    """

    method: str
    sizes: tuple[float, ...]
    draws: int
    episodes: int
    damping: float
    unperturbed: dict[str, tuple[float, ...]]
    random_policy: dict[str, float]
    curves: tuple[NoiseCurve, ...]
    left_out: dict[str, str]

    def of_game(self, game: str) -> list[NoiseCurve]:
        """The curves of one game."""
        return [curve for curve in self.curves if curve.game == game]


def write_perturbation(perturbation: Perturbation, folder: Path) -> None:
    """Writes ``scores.json``, ``scores.csv``, ``scores.svg`` and ``scores.png``."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(dataclasses.asdict(perturbation), indent=2)
    (folder / "scores.json").write_text(text + "\n", encoding="utf-8")
    with (folder / "scores.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(_rows(perturbation))
    save_figure(draw_perturbation(perturbation), folder / "scores")


def read_perturbation(folder: Path) -> Perturbation | None:
    """What ``write_perturbation`` wrote; None where nothing was written.

    Raises:
        CheckpointError: The file cannot be read, or another version of clrl wrote it.
    """
    path = folder / "scores.json"
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        curves = tuple(
            NoiseCurve(**curve | {"scores": tuple(map(tuple, curve["scores"]))})
            for curve in content["curves"]
        )
        unperturbed = {g: tuple(s) for g, s in content["unperturbed"].items()}
        read = {
            "curves": curves,
            "sizes": tuple(content["sizes"]),
            "unperturbed": unperturbed,
        }
        return Perturbation(**content | read)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise CheckpointError(
            f"{path} must hold the fields of this version's perturbation test, got "
            f"{error!r}; remove it, and run clrl perturb again."
        ) from error


def perturbation_table(perturbation: Perturbation) -> Table:
    """Mean score and standard error over draws, a column for each size."""
    table = Table(title="Mean score ± standard error over draws, by size of the noise")
    table.add_column("game")
    table.add_column("noise")
    for size in ("none", *(f"{size:g}" for size in perturbation.sizes)):
        table.add_column(size, justify="right")
    for curve in perturbation.curves:
        none = summarise_returns(perturbation.unperturbed[curve.game])
        points = [none, *curve.points()]
        cells = (plus_minus(p.mean, p.standard_error) for p in points)
        table.add_row(curve.game, NOISE_NAMES[curve.noise], *cells)
    return table


def draw_perturbation(perturbation: Perturbation) -> Figure:
    """Kirkpatrick et al. (2017), figure 4C: a panel for each game."""
    games = list(perturbation.unperturbed)
    columns = min(_PANELS_IN_A_ROW, len(games))
    rows = -(-len(games) // columns)
    size = (max(5.0, 3.6 * columns), 3.0 * rows + 0.5)
    figure = Figure(figsize=size, dpi=120, layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes, game in zip(grid.flat, games, strict=False):
        draw_game(axes, perturbation, game)
        axes.set_title(game, fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in grid.flat[len(games) :]:
        axes.set_axis_off()
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=5 if columns > 1 else 3,
        fontsize=8,
        frameon=False,
    )
    return figure


def perturbation_charts(
    perturbation: Perturbation,
) -> list[tuple[str, str, Markup]]:
    """Each game, how large its null space is, and its panel as SVG for a page."""

    def chart(number: int, game: str) -> Markup:
        def draw(figure: Figure) -> None:
            axes = figure.add_axes((0.13, 0.21, 0.84, 0.75))
            draw_game(axes, perturbation, game)

        label = f"Score of {game} against the size of the noise on the weights"
        name = f"perturbation{number}"
        return inline_svg(draw, width=440, height=220, name=name, label=label)

    return [
        (game, _null_space(perturbation.of_game(game)), chart(number, game))
        for number, game in enumerate(perturbation.unperturbed)
    ]


def _null_space(curves: Sequence[NoiseCurve]) -> str:
    for curve in curves:
        if curve.noise == "null_space":
            return f"null space: {100 * curve.reached_share:.3g} % of the weights"
    return "no null space: every weight has importance"


def perturbation_legend(perturbation: Perturbation) -> list[tuple[int, str]]:
    """Position in ``COLOURS`` and words of each shape of noise that is there."""
    used = {curve.noise for curve in perturbation.curves}
    return [
        (_COLOURS[noise], NOISE_NAMES[noise]) for noise in NOISE_NAMES if noise in used
    ]


def draw_game(axes: Axes, perturbation: Perturbation, game: str) -> None:
    """Score against size: a line for each shape of noise, with standard errors."""
    for curve in perturbation.of_game(game):
        points = curve.points()
        axes.errorbar(
            perturbation.sizes,
            [point.mean for point in points],
            yerr=[point.standard_error or 0.0 for point in points],
            color=COLOURS[_COLOURS[curve.noise]],
            marker=_MARKERS[curve.noise],
            ms=4,
            lw=1.6,
            elinewidth=1,
            label=NOISE_NAMES[curve.noise],
        )
    without = float(np.mean(perturbation.unperturbed[game]))
    grey = COLOURS[_COLOURS["uniform"]]
    axes.axhline(without, color=grey, lw=1, label="no noise")
    if game in perturbation.random_policy:
        random = perturbation.random_policy[game]
        axes.axhline(random, color=grey, lw=1, ls=(0, (4, 3)), label="random")
    axes.set_xscale("log")
    axes.set_xlabel("size of the noise (root mean square)")
    axes.set_ylabel("raw score")


def _rows(perturbation: Perturbation) -> Iterator[Sequence[object]]:
    yield "game", "noise", "size", "draw", "score"
    for game, scores in perturbation.unperturbed.items():
        for draw, score in enumerate(scores):
            yield game, "none", 0.0, draw, score
    for curve in perturbation.curves:
        for size, scores in zip(perturbation.sizes, curve.scores, strict=True):
            for draw, score in enumerate(scores):
                yield curve.game, curve.noise, size, draw, score
