"""The transfer matrix R and what is read off it.

``R[i, j]`` is the score on task ``j`` after stage ``i``; row 0 is before any training,
and stage ``i >= 1`` trains on one task, ``trained[i - 1]``. Lopez-Paz and Ranzato
(2017), sec. 3, define the measures for streams that visit each task once. Here tasks
may return; then

- "right after task j was learnt" is the stage that trained on ``j`` **last**. A task's
  own later visits thus never count as transfer to it, neither backward nor as
  forgetting;
- "before task j was learnt" is the stage before the one that trained on ``j``
  **first**.

When each task is visited once, the papers' values come out. A measure over no task (a
single stage, say) is NaN. Columns that hold NaN (games without a human score) are left
out of every mean.
"""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64


def average_score(R: Float64[np.ndarray, "S T"]) -> float:
    """ACC: mean over tasks of the final score, ``R[-1]``.

    Source: Lopez-Paz and Ranzato (2017), eq. 2.
    """
    return known_mean(R[-1])


def backward_transfer(R: Float64[np.ndarray, "S T"], trained: Sequence[int]) -> float:
    """BWT: mean of ``R[-1, j] - R[last(j), j]``; negative where tasks were forgotten.

    The mean is over tasks that were trained but not in the last stage (T - 1 of them
    when each is visited once). Source: Lopez-Paz and Ranzato (2017), eq. 3.

    Args:
        R: Scores before training and after each stage.
        trained: The task of each stage.
    """
    last = {task: stage for stage, task in enumerate(trained, start=1)}
    return known_mean([R[-1, j] - R[i, j] for j, i in last.items() if i < len(trained)])


def forward_transfer(R: Float64[np.ndarray, "S T"], trained: Sequence[int]) -> float:
    """FWT: mean of ``R[first(j) - 1, j] - R[0, j]``: what other tasks give it.

    The mean is over tasks that were not trained in the first stage. Source: Lopez-Paz
    and Ranzato (2017), eq. 4, with the untrained network's score as the reference b.
    """
    first = {task: stage for stage, task in reversed([*enumerate(trained, start=1)])}
    return known_mean([R[i - 1, j] - R[0, j] for j, i in first.items() if i > 1])


def forgetting(R: Float64[np.ndarray, "S T"], trained: Sequence[int]) -> float:
    """Mean of ``max_i R[i, j] - R[-1, j]`` over earlier stages ``i >= 1``.

    The mean is over tasks that were trained but not in the last stage. Source: Chaudhry
    et al. (2018), "Riemannian walk", eq. 3.
    """
    tasks = set(trained) - set(trained[-1:])
    return known_mean([R[1:-1, j].max() - R[-1, j] for j in sorted(tasks)])


def total_clipped(normalised: Float64[np.ndarray, "T"]) -> float:
    """Sum over games of min(1, human-normalised score); there is no lower clip.

    Source: Kirkpatrick et al. (2017), fig. 4B.
    """
    known = normalised[~np.isnan(normalised)]
    return float(np.minimum(1.0, known).sum())


def known_mean(values: Sequence[float] | Float64[np.ndarray, "T"]) -> float:
    """The mean of what is not NaN; NaN if nothing is left."""
    known = [value for value in values if not math.isnan(value)]
    return float(np.mean(known)) if known else math.nan
