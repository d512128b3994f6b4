"""Long series made short enough to draw."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64, Shaped


class Bins(NamedTuple):
    """A series in bins of equal width; bins without a value are left out.

    Attributes:
        agent_steps: Mean position of the values of each bin.
        mean: Of its values.
        low: Smallest.
        high: Largest.
    """

    agent_steps: Float64[np.ndarray, "K"]
    mean: Float64[np.ndarray, "K"]
    low: Float64[np.ndarray, "K"]
    high: Float64[np.ndarray, "K"]


def binned(
    agent_steps: Int64[np.ndarray, "N"], values: Float64[np.ndarray, "N"], bins: int
) -> Bins:
    """At most ``bins`` bins of equal width, from the first value to the last.

    Args:
        agent_steps: Where the values are; never falling.
        values: Of the series.
        bins: 1 or more.
    """
    if not len(values):
        nothing = np.empty(0)
        return Bins(nothing, nothing, nothing, nothing)
    offset = agent_steps - agent_steps[0]
    bin_of = offset * bins // (offset[-1] + 1)
    first = np.flatnonzero(np.diff(bin_of, prepend=-1))
    counts = np.diff(first, append=len(values))
    return Bins(
        np.add.reduceat(agent_steps, first) / counts,
        np.add.reduceat(values, first) / counts,
        np.minimum.reduceat(values, first),
        np.maximum.reduceat(values, first),
    )


class Spans(NamedTuple):
    """Stretches of a run, in order.

    Attributes:
        starts: The first agent step of each.
        ends: The agent step after its last.
    """

    starts: Shaped[np.ndarray, "N"]
    ends: Shaped[np.ndarray, "N"]


def joined(spans: Spans, least: float) -> Spans:
    """Spans that are nearer than ``least`` joined, and none shorter than that."""
    gaps = spans.starts[1:] - spans.ends[:-1]
    breaks = np.flatnonzero(gaps >= least)
    starts = spans.starts[np.concatenate(([0], breaks + 1))]
    ends = spans.ends[np.concatenate((breaks, [-1]))]
    return Spans(starts, np.maximum(ends, starts + least))
