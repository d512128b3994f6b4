"""Trains on two tasks, mildly and strongly unlike, and compares their Fishers."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.table import Table

from clrl.checks import check_picture
from clrl.config.supervised import SupervisedRunConfig
from clrl.continual.methods import EWC
from clrl.continual.penalty import QuadraticPenalty
from clrl.errors import ConfigError
from clrl.evaluation.fisher_overlap import overlap_by_layer
from clrl.progress import Listener
from clrl.report.fisher_overlap import (
    draw_overlaps,
    overlaps_table,
    write_overlaps,
)
from clrl.run.supervised import make_trainer
from clrl.supervised.streams import Permutations
from clrl.supervised.train import SilentObserver


def run_overlap(
    config: SupervisedRunConfig,
    picture: Path,
    *,
    squares: Sequence[int],
    seeds: int,
    listener: Listener,
) -> Table:
    """Draws figure 3C of Kirkpatrick et al. (2017), its numbers as JSON beside it.

    Args:
        config: Two permutations and EWC; each of its tasks' Fishers is taken when the
            task has been learnt.
        picture: An SVG, PNG or PDF.
        squares: Sides of the permuted squares, one comparison for each.
        seeds: Networks that are trained of each, with seeds from the config's on.
        listener: Is told of each training.

    Returns:
        The overlap of each layer.

    Raises:
        ConfigError: The config is not of two permutations with EWC.
    """
    if not isinstance(config.method, EWC) or not isinstance(
        config.stream, Permutations
    ):
        raise ConfigError(
            "the overlap is of Fishers that EWC takes of permutations, got another "
            "method or stream; use configs/mnist/overlap.yaml."
        )
    if config.stream.tasks != 2:  # noqa: PLR2004 - a pair
        raise ConfigError(
            f"the overlap is of two tasks, got {config.stream.tasks}; set stream.tasks."
        )
    check_picture(picture)
    if seeds < 1 or not squares:
        raise ConfigError(
            f"expected at least one square and one seed, got {list(squares)} and "
            f"{seeds}."
        )
    found: dict[int, list[dict[str, float]]] = {square: [] for square in squares}
    for square in squares:
        stream = dataclasses.replace(config.stream, square=square)
        for seed in range(config.seed, config.seed + seeds):
            listener.message(f"square of {square}x{square} pixels, seed {seed}")
            one = dataclasses.replace(config, stream=stream, seed=seed)
            found[square].append(_overlaps(one))
    overlaps = {
        square: {layer: np.array([run[layer] for run in runs]) for layer in runs[0]}
        for square, runs in found.items()
    }
    write_overlaps(overlaps, picture.with_suffix(".json"), seed=config.seed)
    draw_overlaps(overlaps).savefig(picture)
    return overlaps_table(overlaps)


def _overlaps(config: SupervisedRunConfig) -> dict[str, float]:
    """The overlap of the two tasks' Fishers by layer, after training on both."""
    trainer = make_trainer(config)
    trainer.learn(SilentObserver())
    penalty = trainer.learner.method.penalty
    assert isinstance(penalty, QuadraticPenalty)
    fishers = []
    for task in (0, 1):
        importance = penalty.importance(task)
        assert importance is not None
        fishers.append({name: f.cpu().numpy() for name, f in importance.items()})
    return overlap_by_layer(*fishers)
