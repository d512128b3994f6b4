"""How well the labels of a recogniser follow the true tasks.

Truth and labels are timelines: values that stay the same for long stretches, so that a
run of any length is a few numbers.
"""

import itertools
import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int64

_SMALL_SHARE = 0.01


class Timeline(NamedTuple):
    """A piecewise constant value over agent steps.

    Attributes:
        starts: The agent step at which each stretch begins; the first is 0, increasing.
        values: The task or label of each stretch, from 0; neighbours may be equal.
    """

    starts: Int64[np.ndarray, "H"]
    values: Int64[np.ndarray, "H"]


class RecognitionMeasures(NamedTuple):
    """How well labels follow the true tasks.

    The right label of a task is the most frequent one during all its visits.

    Attributes:
        adjusted_rand_index: 1 for perfect agreement, 0 for chance.
        tasks: True tasks.
        contexts: Labels that were given out.
        contexts_of_at_least_1_percent: Those that hold 1 % of the steps or more.
        switches: True switches.
        median_delay_steps: Agent steps from a true switch to the right label; NaN
            without switches.
        max_delay_steps: The longest such delay.
        median_delay_frames: The same in emulator frames.
        max_delay_frames: The same in emulator frames.
        false_switches: How often the right label was left within a visit.
        false_switches_per_million_steps: The same, by agent steps.
        wrong_label_share: Share of steps (and so of stored transitions) under another
            label than the right one of their task.
        contaminated_share: Share of steps under a label most of whose steps are another
            task's.
    """

    adjusted_rand_index: float
    tasks: int
    contexts: int
    contexts_of_at_least_1_percent: int
    switches: int
    median_delay_steps: float
    max_delay_steps: float
    median_delay_frames: float
    max_delay_frames: float
    false_switches: int
    false_switches_per_million_steps: float
    wrong_label_share: float
    contaminated_share: float


class _Stretches(NamedTuple):
    """Stretches over which neither truth nor label changes."""

    starts: Int64[np.ndarray, "H"]
    lengths: Int64[np.ndarray, "H"]
    truth: Int64[np.ndarray, "H"]
    labels: Int64[np.ndarray, "H"]


def contingency(
    truth: Timeline, labels: Timeline, total_steps: int
) -> Int64[np.ndarray, "T C"]:
    """Agent steps spent in each true task under each label.

    Raises:
        ValueError: If a timeline does not start at 0, does not increase, or reaches
            beyond ``total_steps``.
    """
    return _steps_by_task_and_label(_common_stretches(truth, labels, total_steps))


def measure(
    truth: Timeline, labels: Timeline, total_steps: int, frames_per_step: int
) -> RecognitionMeasures:
    """All measures at once.

    Args:
        truth: True tasks.
        labels: Inferred tasks.
        total_steps: Agent steps that both cover.
        frames_per_step: Emulator frames of an agent step.

    Raises:
        ValueError: As for ``contingency``.
    """
    table = contingency(truth, labels, total_steps)
    delays = switch_delays_steps(truth, labels, total_steps)
    median, longest = (
        (float(np.median(delays)), float(delays.max()))
        if len(delays)
        else (math.nan, math.nan)
    )
    false = int(false_switches(truth, labels, total_steps).sum())
    return RecognitionMeasures(
        adjusted_rand_index=float(adjusted_rand_index(table)),
        tasks=int(np.sum(table.sum(axis=1) > 0)),
        contexts=int(np.sum(table.sum(axis=0) > 0)),
        contexts_of_at_least_1_percent=contexts_of_at_least(table, _SMALL_SHARE),
        switches=len(delays),
        median_delay_steps=median,
        max_delay_steps=longest,
        median_delay_frames=median * frames_per_step,
        max_delay_frames=longest * frames_per_step,
        false_switches=false,
        false_switches_per_million_steps=false * 1e6 / total_steps,
        wrong_label_share=wrong_label_share(table),
        contaminated_share=contamination(table),
    )


def adjusted_rand_index(contingency: Int64[np.ndarray, "T C"]) -> float:
    """Agreement of two partitions, corrected for chance (Hubert and Arabie (1985)).

    ``(S - E) / (M - E)``, where ``S`` counts pairs of steps that are together in both
    partitions, ``E`` is its expectation for random partitions of the same sizes, and
    ``M`` the mean of the pairs together in one of them. 1 is perfect agreement up to
    the names of labels, 0 is chance; two single-part partitions agree perfectly.
    """
    together = _pairs(contingency)
    in_truth = _pairs(contingency.sum(axis=1))
    in_labels = _pairs(contingency.sum(axis=0))
    everything = _pairs(contingency.sum(keepdims=True))
    if together == in_truth == in_labels:
        return 1.0
    # Python's integers: the products exceed 64 bits from about 10^5 steps on.
    numerator = 2 * (together * everything - in_truth * in_labels)
    denominator = (in_truth + in_labels) * everything - 2 * in_truth * in_labels
    return numerator / denominator


def switch_delays_steps(
    truth: Timeline, labels: Timeline, total_steps: int
) -> Int64[np.ndarray, "H"]:
    """Agent steps from each true switch to the first right label.

    The right label of a task is the most frequent one during all its visits. A visit
    that never gets it counts with its whole length.

    Raises:
        ValueError: As for ``contingency``.
    """
    stretches = _common_stretches(truth, labels, total_steps)
    is_right = _is_right(stretches)
    visits = np.flatnonzero(np.diff(stretches.truth)) + 1
    ends = np.append(visits, len(stretches.starts))[1:]
    edges = np.append(stretches.starts, total_steps)
    delays = []
    for first, end in zip(visits, ends, strict=True):
        right = first + np.flatnonzero(is_right[first:end])
        found = right[0] if len(right) else end
        delays.append(edges[found] - edges[first])
    return np.array(delays, np.int64)


def switches(truth: Timeline) -> Int64[np.ndarray, "H"]:
    """The agent step of each true switch."""
    return np.asarray(truth.starts[1:][np.diff(truth.values) != 0])


def false_switches(
    truth: Timeline, labels: Timeline, total_steps: int
) -> Int64[np.ndarray, "T"]:
    """How often each task's right label was left although the task stayed the same.

    The right label of a task is the most frequent one during all its visits. The way
    back is not counted again.

    Raises:
        ValueError: As for ``contingency``.
    """
    stretches = _common_stretches(truth, labels, total_steps)
    is_right = _is_right(stretches)
    is_same_task = np.diff(stretches.truth) == 0
    is_left = is_same_task & is_right[:-1] & ~is_right[1:]
    tasks = int(stretches.truth.max()) + 1
    return np.bincount(stretches.truth[:-1][is_left], minlength=tasks)


def contexts_of_at_least(contingency: Int64[np.ndarray, "T C"], share: float) -> int:
    """The number of labels that hold at least this share of all steps, in [0, 1]."""
    return int(np.sum(contingency.sum(axis=0) >= share * contingency.sum()))


def contamination(contingency: Int64[np.ndarray, "T C"]) -> float:
    """The share of steps under a label most of whose steps are another task's.

    It is the share of foreign transitions in the replay memories, were they unlimited.
    A task split over several labels contaminates nothing.
    """
    return float(1 - contingency.max(axis=0).sum() / contingency.sum())


def wrong_label_share(contingency: Int64[np.ndarray, "T C"]) -> float:
    """The share of steps under another label than the most frequent one of their task.

    Each is a transition stored where its task does not look for it.
    """
    return float(1 - contingency.max(axis=1).sum() / contingency.sum())


def _steps_by_task_and_label(stretches: _Stretches) -> Int64[np.ndarray, "T C"]:
    shape = int(stretches.truth.max()) + 1, int(stretches.labels.max()) + 1
    steps = np.zeros(shape, np.int64)
    np.add.at(steps, (stretches.truth, stretches.labels), stretches.lengths)
    return steps


def _is_right(stretches: _Stretches) -> Bool[np.ndarray, "H"]:
    """Whether each stretch has the most frequent label of its true task."""
    right = _steps_by_task_and_label(stretches).argmax(axis=1)
    return np.asarray(right[stretches.truth] == stretches.labels)


def _common_stretches(
    truth: Timeline, labels: Timeline, total_steps: int
) -> _Stretches:
    _check("truth", truth, total_steps)
    _check("labels", labels, total_steps)
    starts = np.union1d(truth.starts, labels.starts)
    return _Stretches(
        starts,
        np.diff(starts, append=total_steps),
        values_at(truth, starts),
        values_at(labels, starts),
    )


def values_at(
    timeline: Timeline, steps: Int64[np.ndarray, "L"]
) -> Int64[np.ndarray, "L"]:
    """The value at each of some steps of 0 or more."""
    return timeline.values[np.searchsorted(timeline.starts, steps, side="right") - 1]


def _pairs(steps: Int64[np.ndarray, "..."]) -> int:
    """Unordered pairs of steps within the parts of these sizes."""
    return sum(n * (n - 1) // 2 for n in np.ravel(steps).tolist())


def _check(name: str, timeline: Timeline, total_steps: int) -> None:
    edges = [-1, *timeline.starts.tolist(), total_steps]
    is_ordered = all(a < b for a, b in itertools.pairwise(edges))
    if not is_ordered or edges[1] != 0:
        raise ValueError(
            f"the starts of {name} must rise from 0 to below total_steps, got "
            f"{edges[1:-1]} for {total_steps} steps; give each change once, in order."
        )
