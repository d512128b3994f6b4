"""CORA's isolated forgetting and zero-shot forward transfer.

Both look at one stage at a time: what does learning task ``i`` do to another task
``j``? (Powers et al. (2022), "CORA".) Forgetting is the loss on tasks learnt
before, zero-shot transfer the gain on tasks not met yet; each in shares of the largest
absolute score on ``j`` in any row of ``R``, row 0 included, so that raw scores serve.

Matrices have the trained task as row and the other task as column. ``R`` and
``trained`` are those of ``transfer_matrix``. Where tasks return,

- a stage counts as forgetting of every other task trained in an earlier stage, and as
  transfer to every task whose first stage is yet to come (or never comes);
- a pair that occurs in several stages is averaged over them first, so that each pair
  weighs the same in the mean. A task's own stages count for neither.

Means are over the pairs that occur; NaN if none does. A task that scores 0 throughout
has no scale, and is left out.

Unlike the paper: scores are those of the evaluations between visits, not a smoothed
curve; the scale is this run's own, not that of all runs of a method; and nothing is
multiplied by 10, as the tables there are.
"""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64

from clrl.evaluation.transfer_matrix import known_mean


def isolated_forgetting(R: Float64[np.ndarray, "S T"], trained: Sequence[int]) -> float:
    """Mean of ``forgetting_by_pair``; positive where scores fell."""
    return known_mean(forgetting_by_pair(R, trained).ravel())


def zero_shot_transfer(R: Float64[np.ndarray, "S T"], trained: Sequence[int]) -> float:
    """Mean of ``transfer_by_pair``; positive where scores rose."""
    return known_mean(transfer_by_pair(R, trained).ravel())


def forgetting_by_pair(
    R: Float64[np.ndarray, "S T"], trained: Sequence[int]
) -> Float64[np.ndarray, "T T"]:
    """What training on row ``i`` costs column ``j``, which was trained before.

    ``(R[s - 1, j] - R[s, j]) / max_k |R[k, j]|``, averaged over the stages ``s`` that
    train on ``i`` after ``j`` was first trained. NaN for pairs without such a stage.
    """
    return -_mean_changes(R, trained, after_first_training=True)


def transfer_by_pair(
    R: Float64[np.ndarray, "S T"], trained: Sequence[int]
) -> Float64[np.ndarray, "T T"]:
    """What training on row ``i`` gives column ``j``, which comes later.

    ``(R[s, j] - R[s - 1, j]) / max_k |R[k, j]|``, averaged over the stages ``s`` that
    train on ``i`` before ``j`` is first trained. NaN for pairs without such a stage.
    """
    return _mean_changes(R, trained, after_first_training=False)


def _mean_changes(
    R: Float64[np.ndarray, "S T"], trained: Sequence[int], *, after_first_training: bool
) -> Float64[np.ndarray, "T T"]:
    tasks = range(R.shape[1])
    scale = np.abs(R).max(axis=0)
    scale[scale == 0] = math.nan
    changes = np.diff(R, axis=0) / scale
    mean = np.full((len(tasks), len(tasks)), math.nan)
    for i in tasks:
        for j in tasks:
            stages = [
                stage
                for stage, task in enumerate(trained)
                if task == i != j and (j in trained[:stage]) == after_first_training
            ]
            if stages:
                mean[i, j] = changes[stages, j].mean()
    return mean
