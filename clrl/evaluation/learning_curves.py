"""What is read off the curve of a task's scores while it is trained."""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64, Int64

from clrl.evaluation.transfer_matrix import known_mean


def area_under_curve(
    steps: Int64[np.ndarray, "H"],
    scores: Float64[np.ndarray, "H"],
    start_steps: int,
    end_steps: int,
) -> float:
    """Area under a curve of scores over its length: the mean score over time.

    ``1 / (end - start)`` times the integral of the scores, joined by straight lines and
    held constant before the first and after the last of them. So episodes count by the
    time between them, and short ones do not outweigh long ones. Source: Wolczyk et al.
    (2021), "Continual World", where scores are success rates.

    Args:
        steps: Agent steps at which a score was seen, not falling.
        scores: Raw or normalised.
        start_steps: Where the curve begins, at or before the first step.
        end_steps: Where it ends, at or after the last step.

    Returns:
        NaN for a curve without a score.

    Raises:
        ValueError: If the steps fall, or reach beyond start and end.
    """
    edges = [start_steps, *steps.tolist(), end_steps]
    if not np.all(np.diff(edges) >= 0) or start_steps == end_steps:
        raise ValueError(
            "steps must rise from start_steps to a later end_steps, got "
            f"{edges}; give the scores of one visit in order."
        )
    if not len(scores):
        return math.nan
    held = np.concatenate([scores[:1], scores, scores[-1:]])
    return float(np.trapezoid(held, edges) / (end_steps - start_steps))


def normalised_forward_transfer(
    areas: Sequence[float], references: Sequence[float], best: float = 1.0
) -> float:
    """FT: mean over tasks of ``forward_transfer_of_task``.

    Tasks for which an area is NaN are left out. Source: Wolczyk et al. (2021). A
    task that returns counts with its first visit, which the single-task run matches in
    length.

    Args:
        areas: Under each task's training curve in the sequence.
        references: The same when the task is all that an agent trains on, for as many
            steps.
        best: The highest score possible, in the areas' unit.
    """
    return known_mean(
        [
            forward_transfer_of_task(area, reference, best)
            for area, reference in zip(areas, references, strict=True)
        ]
    )


def forward_transfer_of_task(area: float, reference: float, best: float = 1.0) -> float:
    """``(area - reference) / (best - reference)``, at most 1.

    0 where earlier tasks neither helped nor hurt learning, negative where they hurt.
    Unlike the paper: scores relative to a human may exceed 1, so ``best`` must be given
    for them. NaN where the reference is the best possible already, or better.
    """
    room = best - reference
    return (area - reference) / room if room > 0 else math.nan
