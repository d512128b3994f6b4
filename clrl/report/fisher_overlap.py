"""The overlap of two tasks' Fishers, layer by layer: figure, table and JSON."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

import numpy as np
from jaxtyping import Float64
from matplotlib.figure import Figure
from rich.table import Table

from clrl.report.score_matrix import COLOURS

Overlaps: TypeAlias = Mapping[int, Mapping[str, Float64[np.ndarray, "R"]]]
"""By the side of the permuted square and by layer, input first: one for each seed."""


def draw_overlaps(overlaps: Overlaps) -> Figure:
    """Kirkpatrick et al. (2017), figure 3C: overlap against depth; a dot is a seed."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for colour, (square, layers) in zip(COLOURS, overlaps.items(), strict=False):
        depth = np.arange(1, len(layers) + 1)
        runs = np.stack(list(layers.values()))
        axes.plot(depth, runs, ".", color=colour)
        axes.plot(depth, runs.mean(1), color=colour, label=f"{square}x{square} pixels")
    axes.set(xlabel="layer", ylabel="overlap of the Fishers", ylim=(0, 1))
    axes.set_xticks(depth)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, title="permuted square")
    return figure


def overlaps_table(overlaps: Overlaps) -> Table:
    """The mean over seeds of each layer's overlap."""
    table = Table(
        "layer", title="overlap of the Fishers of two tasks, by permuted square"
    )
    for square in overlaps:
        table.add_column(f"{square}x{square}", justify="right")
    for layer in next(iter(overlaps.values())):
        means = (f"{layers[layer].mean():.3f}" for layers in overlaps.values())
        table.add_row(layer, *means)
    return table


def write_overlaps(overlaps: Overlaps, path: Path, *, seed: int) -> None:
    """Writes every number, with the first of the seeds."""
    by_square = {
        str(square): {
            layer: values.round(4).tolist() for layer, values in layers.items()
        }
        for square, layers in overlaps.items()
    }
    content = {"first_seed": seed, "overlap_by_square_and_layer": by_square}
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
