"""The forget-me-not process: partition tree weighting that remembers earlier segments.

Milan et al. (2016), section 3. Each node of the partition tree explains its segment by
a mixture of an untrained model and of all models in a pool; finished segments teach the
pool (``ModelPool``), so that what returns need not be learnt again.

Axis letters: ``B`` independent sequences, ``G`` open segments, ``I`` identities.
"""

import numpy as np
from jaxtyping import Float64, Shaped

from clrl.errors import CheckpointError
from clrl.recognition.model_pool import ModelPool
from clrl.recognition.partition_tree import FinishedSegment, PartitionTree
from clrl.recognition.segment import Candidates, Segment


class ForgetMeNot:
    """Predicts a stream whose sources change without notice, and may return.

    The defaults are those of the authors' published code, but for the tree's height:
    15 there, growing from 0 here.

    Args:
        pool: The models that are remembered; its density's family is the stream's.
        height: The tree's to begin with (``PartitionTree``).
        min_segment: Shorter segments teach the pool nothing, observations.
        min_whole_probability: A segment teaches the pool only where the tree holds it
            for one segment, rather than cut, at least with this probability (paper: 0).
        hopeless_nats: A model this far behind the best one of a segment is given up
            there, which saves time (paper: never).
    """

    def __init__(
        self,
        pool: ModelPool,
        *,
        height: int = 0,
        min_segment: int = 32,
        min_whole_probability: float = 0.0,
        hopeless_nats: float = np.inf,
    ) -> None:
        self.pool = pool
        self._min_segment = min_segment
        self._min_whole_probability = min_whole_probability
        self._hopeless_nats = hopeless_nats
        self.tree = PartitionTree(self, height)

    def update(
        self, observation: Shaped[np.ndarray, "B *observation"]
    ) -> Float64[np.ndarray, "B"]:
        """Learns one observation of each sequence.

        Returns:
            What its log predictive density was, in nats.
        """
        return self.tree.update(observation)

    def log_predictive(
        self, observation: Shaped[np.ndarray, "B *observation"]
    ) -> Float64[np.ndarray, "B"]:
        """Log density, in nats, of the next observation, without learning it."""
        return self.tree.log_predictive(observation)

    def close(self) -> None:
        """Lets the pool learn now from the segments that the last observation ended.

        Otherwise it does when the next observation comes.
        """
        self.tree.close()

    def open(self, start: int) -> Segment:
        """A new segment, which any model of the pool may explain."""
        pool = self.pool
        return Segment(
            pool.density,
            pool.candidates,
            start,
            pool.reservoir_size,
            self._hopeless_nats,
        )

    def finish(self, finished: list[FinishedSegment]) -> None:
        """Teaches the pool what was seen."""
        for segment, whole_probability in finished:
            is_eligible = whole_probability >= self._min_whole_probability
            if segment.length >= self._min_segment and is_eligible.any():
                self.pool.learn(segment, is_eligible)

    def posterior(self) -> Float64[np.ndarray, "B I"]:
        """Whose the newest observation is: of each identity, the untrained model last.

        Summed over all segments that it may belong to, and over the models of each.
        """
        _, parts = self.posteriors()
        return np.asarray(parts.sum(axis=0))

    def posteriors(self) -> tuple[list[Segment], Float64[np.ndarray, "G B I"]]:
        """The open segments, the longest first, and what each adds to the posterior."""
        segments, probabilities = self.tree.segment_probabilities()
        sequence = np.arange(probabilities.shape[1])[:, None]
        columns = int(self.pool.identities_given.max()) + 1
        parts = np.zeros((*probabilities.shape, columns))
        for segment, probability, part in zip(
            segments, probabilities, parts, strict=True
        ):
            identity, of_models = segment.posterior()
            # Identity -1, the untrained model's, is the last column.
            np.add.at(part, (sequence, identity), probability[:, None] * of_models)
        return segments, parts

    def state_dict(self) -> dict[str, np.ndarray]:
        """A copy of the tree, its open segments and the pool.

        Models that several segments share are there once.
        """
        tree, segments = self.tree, self.tree.open_segments
        shared = _distinct([self.pool.candidates, *(s.candidates for s in segments)])
        state = self.pool.state_dict() | {
            "tree.progress": np.array([tree.observations, tree.is_between], np.int64),
            "tree.log_left": tree.log_left.copy(),
            "tree.log_weights": tree.log_weights.copy(),
            "tree.segments": np.array(
                [segments.index(segment) for segment in tree.segments], np.int64
            ),
            "candidates": np.array(
                [_place(segment.candidates, shared) for segment in segments], np.int64
            ),
        }
        for i, segment in enumerate(segments):
            state |= {f"segment.{i}.{k}": v for k, v in segment.state_dict().items()}
        for i, candidates in enumerate(shared):
            for name, array in candidates._asdict().items():
                state[f"candidates.{i}.{name}"] = array.copy()
        return state

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """Continues from a saved state, to the same predictions.

        Raises:
            CheckpointError: If the state was saved with another family of densities.
        """
        expected = self.pool.density.statistics
        came = state["candidates.0.models"].shape[2]
        if came != expected:
            raise CheckpointError(
                f"the recogniser's state must have {expected} statistics for each "
                f"model, got {came}; set the recogniser as it was when it was saved."
            )
        shared: list[Candidates] = []
        while f"candidates.{len(shared)}.models" in state:
            prefix = f"candidates.{len(shared)}."
            fields = (state[prefix + name].copy() for name in Candidates._fields)
            shared.append(Candidates(*fields))
        self.pool.candidates = shared[0]
        self.pool.load_state_dict(state)

        segments = []
        for i, place in enumerate(state["candidates"]):
            segment = self.open(start=0)
            segment.candidates = shared[int(place)]
            prefix = f"segment.{i}."
            segment.load_state_dict(
                {
                    name.removeprefix(prefix): array
                    for name, array in state.items()
                    if name.startswith(prefix)
                }
            )
            segments.append(segment)
        tree = self.tree
        tree.observations = int(state["tree.progress"][0])
        tree.is_between = bool(state["tree.progress"][1])
        tree.log_left = state["tree.log_left"].copy()
        tree.log_weights = state["tree.log_weights"].copy()
        tree.segments = [segments[int(i)] for i in state["tree.segments"]]


def _distinct(candidates: list[Candidates]) -> list[Candidates]:
    return list({id(each): each for each in candidates}.values())


def _place(candidates: Candidates, among: list[Candidates]) -> int:
    return [id(each) for each in among].index(id(candidates))
