"""Partition tree weighting: a mixture over all binary ways to cut a stream.

Milan et al. (2016), section 2, after Veness et al. (2013). A tree of height ``d`` spans
``2^d`` observations. Each of its nodes is either one segment, or is cut into its two
halves; each with probability 1/2, but for single observations, which cannot be cut:

    PTW_d(x) = 1/2 rho(x) + 1/2 PTW_{d-1}(left half) PTW_{d-1}(right half),  PTW_0 = rho

Only the nodes on the path from the root to the newest observation are kept.

Axis letters: ``B`` independent sequences, ``D`` heights of the tree, ``G`` open
segments.
"""

from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float64, Shaped
from scipy.special import logsumexp

from clrl.recognition.density import Density
from clrl.recognition.segment import Segment, learn_together, untrained_only

_LOG_HALF = np.log(0.5)


class FinishedSegment(NamedTuple):
    """A node of the tree that has seen all of its observations.

    Attributes:
        segment: What the node saw, as one segment.
        whole_probability: Probability of each sequence, given the node, that it is one
            segment rather than cut.
    """

    segment: Segment
    whole_probability: Float64[np.ndarray, "B"]


@runtime_checkable
class SegmentSource(Protocol):
    """Opens segments, and learns from those that are finished."""

    def open(self, start: int) -> Segment:
        """A new segment that follows ``start`` observations."""
        ...

    def finish(self, finished: list[FinishedSegment]) -> None:
        """Takes the nodes that end at one moment, the longest first."""
        ...


class UntrainedModels:
    """Every segment starts from nothing: plain partition tree weighting.

    Args:
        density: Of a segment's observations.
        sequences: ``B``, independent sequences that are weighted side by side.
    """

    def __init__(self, density: Density, sequences: int = 1) -> None:
        self._density = density
        self._candidates = untrained_only(density, sequences)

    def open(self, start: int) -> Segment:
        """A segment of one untrained model."""
        return Segment(self._density, self._candidates, start, reservoir_size=0)

    def finish(self, finished: list[FinishedSegment]) -> None:
        """Nothing is remembered."""
        del finished


class PartitionTree:
    """The open path of a tree that grows with the stream.

    When the tree is full it becomes the left half of one twice as long. The predictive
    density stays normalised, conditional on the new tree. Time and memory of an update
    are ``O(log n)`` after ``n`` observations.

    Unlike the paper, which fixes the height (and so the horizon) beforehand; with
    ``height`` as in the paper, the tree is the paper's until ``2^height`` observations.

    Args:
        source: Of the segments.
        height: The tree's to begin with.
    """

    def __init__(self, source: SegmentSource, height: int = 0) -> None:
        self._source = source
        self.observations = 0
        first = source.open(start=0)
        sequences = len(first.log_evidence)
        # Of the open node at each height, from single observations to the root.
        self.segments = [first] * (height + 1)
        self.log_left = np.zeros((height + 1, sequences))
        self.log_weights = np.zeros((height + 1, sequences))
        self.is_between = False

    @property
    def height(self) -> int:
        """Of the tree, which spans ``2^height`` observations."""
        return len(self.segments) - 1

    @property
    def open_segments(self) -> list[Segment]:
        """The different segments of the open nodes, the longest first.

        Nodes of several heights that started together see the same.
        """
        return list(dict.fromkeys(reversed(self.segments)))

    def update(
        self, observation: Shaped[np.ndarray, "B *observation"]
    ) -> Float64[np.ndarray, "B"]:
        """Learns one observation of each sequence.

        Returns:
            What its log predictive density was, in nats.
        """
        self.close()
        before = self.log_weights[-1].copy()
        learn_together(self.open_segments, observation)
        self._weigh()
        self.observations += 1
        self.is_between = True
        return np.asarray(self.log_weights[-1] - before)

    def log_predictive(
        self, observation: Shaped[np.ndarray, "B *observation"]
    ) -> Float64[np.ndarray, "B"]:
        """Log density, in nats, of the next observation, without learning it."""
        self.close()
        segments, probabilities = self.segment_probabilities()
        each = [segment.log_predictive(observation) for segment in segments]
        return np.asarray(logsumexp(each, axis=0, b=probabilities))

    def close(self) -> None:
        """Closes the nodes that ended with the last observation and opens the next.

        Happens by itself when the next observation comes.
        """
        if not self.is_between:
            return
        self.is_between = False
        top = (self.observations & -self.observations).bit_length() - 1
        whole = np.exp(self._log_whole(top + 1))
        finished = [
            FinishedSegment(self.segments[h], whole[h]) for h in range(top, -1, -1)
        ]
        if top == self.height:
            self._grow()
        self.log_left[top + 1] = self.log_weights[top]
        self._source.finish(finished)
        below = slice(0, top + 1)
        self.segments[below] = [self._source.open(self.observations)] * (top + 1)
        self.log_left[below] = 0.0
        self.log_weights[below] = 0.0

    def log_segment_probabilities(self) -> Float64[np.ndarray, "D B"]:
        """Log probability that the newest observation's segment is the open node's.

        One for each height, single observations first; over heights they sum to one.
        """
        weights, left = self.log_weights, self.log_left
        log_is_cut = _LOG_HALF + (left[1:] + weights[:-1]) - weights[1:]
        log_cut = np.zeros_like(weights)  # that all nodes above are cut
        log_cut[:-1] = np.cumsum(log_is_cut[::-1], axis=0)[::-1]
        return np.asarray(log_cut + self._log_whole(len(weights)))

    def segment_probabilities(
        self,
    ) -> tuple[list[Segment], Float64[np.ndarray, "G B"]]:
        """The open segments, the longest first, and whose the newest observation is.

        The probabilities of a sequence sum to one.
        """
        # Nodes that share a segment are neighbours.
        lowest = [
            height
            for height, segment in enumerate(self.segments)
            if height == 0 or segment is not self.segments[height - 1]
        ]
        of_nodes = np.exp(self.log_segment_probabilities())
        of_segments = np.add.reduceat(of_nodes, lowest, axis=0)
        return self.open_segments, of_segments[::-1]

    def _log_whole(self, heights: int) -> Float64[np.ndarray, "heights B"]:
        """Log probability, given each of the lowest open nodes, that it is one segment.

        A single observation cannot be cut.
        """
        evidence = np.array([s.log_evidence for s in self.segments[:heights]])
        log_whole = _LOG_HALF + evidence - self.log_weights[:heights]
        log_whole[0] = 0.0
        return np.asarray(log_whole)

    def _weigh(self) -> None:
        """Computes the nodes' weights from the lowest to the root's."""
        weights = self.log_weights
        weights[0] = self.segments[0].log_evidence
        for height, segment in enumerate(self.segments[1:], start=1):
            halves = weights[height - 1] + self.log_left[height]
            weights[height] = np.logaddexp(
                _LOG_HALF + segment.log_evidence, _LOG_HALF + halves
            )

    def _grow(self) -> None:
        root, weight = self.segments[-1], self.log_weights[-1]
        higher = np.logaddexp(_LOG_HALF + root.log_evidence, _LOG_HALF + weight)
        self.segments.append(root)
        self.log_left = np.concatenate([self.log_left, np.zeros_like(higher)[None]])
        self.log_weights = np.concatenate([self.log_weights, higher[None]])
