"""Recipes that differ in one number: accuracy and forgetting against it, drawn."""

import statistics
from collections.abc import Iterator, Mapping
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from recipe import Recipe, SweepPoint
from recipe_results import Result

from clrl.report.score_matrix import COLOURS

_DPI = 160


def draw_sweeps(
    recipes: Mapping[str, Recipe], results: Mapping[str, Result | None], folder: Path
) -> None:
    """Draws every sweep of which anything was run, as ``<picture>.png``.

    Args:
        recipes: By name.
        results: By the same names; None where a recipe was not run.
        folder: Where the pictures go.
    """
    for picture in dict.fromkeys(
        point.picture for point, _ in _points(recipes, results)
    ):
        folder.mkdir(parents=True, exist_ok=True)
        draw_sweep(picture, recipes, results).savefig(
            folder / f"{picture}.png", dpi=_DPI, metadata={"Software": None}
        )


def draw_sweep(
    picture: str, recipes: Mapping[str, Recipe], results: Mapping[str, Result | None]
) -> Figure:
    """One sweep: means over seeds, with the standard deviation."""
    points = [(p, r) for p, r in _points(recipes, results) if p.picture == picture]
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    for axes, measure, title in zip(
        figure.subplots(1, 2),
        ("acc", "forgetting"),
        ("accuracy after the last task", "forgetting"),
        strict=True,
    ):
        _draw(axes, points, measure)
        axes.set(title=title, xlabel=points[0][0].axis, xscale="log")
        axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    return figure


def _draw(axes: Axes, points: list[tuple[SweepPoint, Result]], measure: str) -> None:
    curves = dict.fromkeys(point.curve for point, _ in points)
    for colour, curve in zip(COLOURS, curves, strict=False):
        of_curve = sorted(
            (point.value, [run[measure] for run in result.runs.values()])
            for point, result in points
            if point.curve == curve
        )
        axes.errorbar(
            [value for value, _ in of_curve],
            [statistics.fmean(runs) for _, runs in of_curve],
            [statistics.stdev(runs) if len(runs) > 1 else 0.0 for _, runs in of_curve],
            fmt=".-",
            color=colour,
            label=curve,
            capsize=2,
        )


def _points(
    recipes: Mapping[str, Recipe], results: Mapping[str, Result | None]
) -> Iterator[tuple[SweepPoint, Result]]:
    for name, recipe in recipes.items():
        result = results[name]
        if recipe.sweep is not None and result is not None:
            yield recipe.sweep, result
