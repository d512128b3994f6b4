"""Streams of permuted handwritten digits, 8x8 pixels, which come with scikit-learn."""

from collections.abc import Sequence
from functools import cache

import numpy as np
from jaxtyping import UInt8
from sklearn.datasets import load_digits

SIDE = 8


@cache
def digits() -> UInt8[np.ndarray, "N P"]:
    """All images, flat, in a random order."""
    images = (load_digits().images * 255 / 16).astype(np.uint8)
    return np.random.default_rng(0).permutation(images.reshape(len(images), -1))


def batches(
    task: int, count: int, size: int = 10, start: int = 0
) -> list[UInt8[np.ndarray, "N 8 8"]]:
    """Minibatches of a task, whose images have all their pixels permuted alike.

    Args:
        task: Its number; 0 leaves the pixels where they are.
        count: Of minibatches.
        size: Images of each.
        start: Images of the data set that are left out before.
    """
    order = np.random.default_rng([3, task]).permutation(SIDE * SIDE)
    if task == 0:
        order = np.arange(SIDE * SIDE)
    images = digits()[start : start + count * size, order].reshape(-1, SIDE, SIDE)
    return list(images.reshape(count, size, SIDE, SIDE))


def schedule(
    tasks: Sequence[int], count: int, size: int = 10
) -> list[UInt8[np.ndarray, "N 8 8"]]:
    """Visits of ``count`` minibatches to the tasks, no image twice in a task."""
    shown = dict.fromkeys(tasks, 0)
    stream = []
    for task in tasks:
        stream += batches(task, count, size, start=shown[task])
        shown[task] += count * size
    return stream
