"""The models that a forget-me-not process remembers, and which segments teach it."""

from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import Bool, Float64, Int64, Shaped

from clrl.recognition.density import Density
from clrl.recognition.segment import UNTRAINED, Candidates, Segment, untrained_only

WhenFull: TypeAlias = Literal["drop_oldest", "refuse"]


class ModelPool:
    """A bounded pool of models, one pool for each sequence.

    A finished segment's best model is the one that explains it best, after learning
    from it. That model

    - replaces the pool's model which it descends from, if that is still there and the
      newer one predicts the older one's sample better; or else
    - joins the pool, if it predicts the segment's sample better than the pool does; or
      else is forgotten

    (Milan et al. (2016), section 3; tests and defaults as in the authors' published
    code).

    Args:
        density: The family of the models.
        sequences: ``B``, independent sequences.
        capacity: Models that a pool holds at most.
        reservoir_size: Observations kept as a sample of each segment and model.
        when_full: Whether the oldest model makes room for a new one, or the new one is
            forgotten.
    """

    def __init__(
        self,
        density: Density,
        *,
        sequences: int = 1,
        capacity: int = 15,
        reservoir_size: int = 100,
        when_full: WhenFull = "drop_oldest",
    ) -> None:
        self.density = density
        self.capacity = capacity
        self.reservoir_size = reservoir_size
        self.when_full = when_full
        self.candidates = untrained_only(density, sequences)
        # [B, M, R, *observation]; the first segment tells the observations' shape.
        self.samples = np.zeros((sequences, 1))
        self.sample_sizes = np.zeros((sequences, 1), np.int64)
        self.stamps_given = 0
        self.identities_given = np.zeros(sequences, np.int64)

    def learn(self, segment: Segment, is_eligible: Bool[np.ndarray, "B"]) -> None:
        """Takes what a finished segment teaches, for the sequences that are eligible.

        Args:
            segment: With a sample of its observations.
            is_eligible: Sequences whose pool may change.
        """
        best = _best_candidate(segment)
        sequence = np.arange(len(best))
        trained = segment.candidates.models[sequence, best] + segment.evidence
        replaces = is_eligible & self._outdoes_ancestor(segment, best, trained)
        joins = is_eligible & ~replaces
        if joins.any():
            joins &= self._is_news(segment, best, trained)
        replaced = np.where(replaces, best, UNTRAINED)
        if (replaces | joins).any():
            self._store(segment, trained, replaced, joins)

    def state_dict(self) -> dict[str, np.ndarray]:
        """A copy of all but the candidates."""
        return {
            "pool.samples": self.samples.copy(),
            "pool.sample_sizes": self.sample_sizes.copy(),
            "pool.stamps_given": np.array(self.stamps_given),
            "pool.identities_given": self.identities_given.copy(),
        }

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """Continues from a saved state; the candidates must be those of then."""
        self.samples = state["pool.samples"].copy()
        self.sample_sizes = state["pool.sample_sizes"].copy()
        self.stamps_given = int(state["pool.stamps_given"])
        self.identities_given = state["pool.identities_given"].copy()

    def _outdoes_ancestor(
        self,
        segment: Segment,
        best: Int64[np.ndarray, "B"],
        trained: Shaped[np.ndarray, "B S"],
    ) -> Bool[np.ndarray, "B"]:
        """Whether the model predicts its ancestor's sample better than the ancestor."""
        ancestor_is_there = self._ancestor_is_there(segment, best)
        if not ancestor_is_there.any():
            return ancestor_is_there
        sequence = np.arange(len(best))
        rivals = np.stack([trained, self.candidates.models[sequence, best]], axis=1)
        sample = np.moveaxis(self.samples[sequence, best], 1, 0)
        sizes = self.sample_sizes[sequence, best]
        scores = _sum_over_sample(self._log_predictives(rivals, sample), sizes)
        return np.asarray(ancestor_is_there & (scores[:, 0] > scores[:, 1]))

    def _ancestor_is_there(
        self, segment: Segment, best: Int64[np.ndarray, "B"]
    ) -> Bool[np.ndarray, "B"]:
        """Whether the pool still has the version that each model descends from."""
        sequence = np.arange(len(best))
        stamps = segment.candidates.stamps[sequence, best]
        is_same = self.candidates.stamps[sequence, best] == stamps
        return np.asarray(is_same & (best != UNTRAINED))

    def _is_news(
        self,
        segment: Segment,
        best: Int64[np.ndarray, "B"],
        trained: Shaped[np.ndarray, "B S"],
    ) -> Bool[np.ndarray, "B"]:
        """Whether the model predicts the segment's sample better than the pool does.

        The pool draws one of its models anew for each observation, so that a segment
        that holds two known tasks is no news.
        """
        del best
        sample = np.stack(segment.reservoir)
        of_trained = self._log_predictives(trained[:, None], sample)[:, :, 0]
        is_held = self.candidates.identities >= 0
        of_each = self._log_predictives(self.candidates.models, sample)
        held = np.where(is_held, of_each, -np.inf)
        models = np.maximum(is_held.sum(axis=1), 1)
        of_pool = np.logaddexp.reduce(held, axis=2) - np.log(models)
        return np.asarray(of_trained.sum(axis=0) > of_pool.sum(axis=0))

    def _log_predictives(
        self,
        models: Shaped[np.ndarray, "B M S"],
        sample: Shaped[np.ndarray, "R B *observation"],
    ) -> Float64[np.ndarray, "R B M"]:
        """Of each observation of a sample, the models frozen."""
        nothing = np.zeros((len(models), self.density.statistics), self.density.dtype)
        return np.stack(
            [self.density.log_predictive(models, nothing, x) for x in sample]
        )

    def _store(
        self,
        segment: Segment,
        trained: Shaped[np.ndarray, "B S"],
        replaced: Int64[np.ndarray, "B"],
        joins: Bool[np.ndarray, "B"],
    ) -> None:
        """Writes trained models into copies: open segments still use the old arrays.

        Args:
            segment: What the models learnt from.
            trained: The models.
            replaced: Which model makes way in each sequence; ``UNTRAINED`` for none.
            joins: Sequences in which the model is a new one.
        """
        slots = np.where(joins, self._free_slots(joins), replaced)
        models, _, stamps, identities = (array.copy() for array in self.candidates)
        changed = np.flatnonzero(slots != UNTRAINED)
        models[changed, slots[changed]] = trained[changed]
        self.stamps_given += 1
        stamps[changed, slots[changed]] = self.stamps_given

        new = np.flatnonzero((slots != UNTRAINED) & joins)
        identities[new, slots[new]] = self.identities_given[new]
        self.identities_given[new] += 1
        self._keep_sample(segment, new, slots[new])
        log_prior = _log_prior(identities)
        self.candidates = Candidates(models, log_prior, stamps, identities)

    def _free_slots(self, joins: Bool[np.ndarray, "B"]) -> Int64[np.ndarray, "B"]:
        """A place for a new model in each pool; ``UNTRAINED`` where there is none."""
        is_held = self.candidates.identities >= 0
        is_held[:, UNTRAINED] = True
        is_full = is_held.all(axis=1)
        if (is_full & joins).any() and is_held.shape[1] <= self.capacity:
            self._append_slot()
            return self._free_slots(joins)
        if self.when_full == "refuse":
            return np.where(is_full, UNTRAINED, is_held.argmin(axis=1))
        identities = self.candidates.identities.copy()
        identities[:, UNTRAINED] = np.iinfo(np.int64).max
        # Identities are given in order of insertion, and empty places have -1.
        return np.asarray(identities.argmin(axis=1))

    def _append_slot(self) -> None:
        sequences = len(self.sample_sizes)
        empty = untrained_only(self.density, sequences)
        self.candidates = Candidates(
            *(
                np.concatenate([held, added], axis=1)
                for held, added in zip(self.candidates, empty, strict=True)
            )
        )
        none = np.zeros((sequences, 1), np.int64)
        self.sample_sizes = np.concatenate([self.sample_sizes, none], axis=1)
        self.samples = np.concatenate([self.samples, self.samples[:, :1]], axis=1)

    def _keep_sample(
        self,
        segment: Segment,
        new: Int64[np.ndarray, "new"],
        slots: Int64[np.ndarray, "new"],
    ) -> None:
        if not segment.reservoir:
            return
        sample = np.stack(segment.reservoir, axis=1)  # [B, R, *observation]
        if self.samples.ndim < sample.ndim + 1:  # the first segment ever
            shape = (*self.sample_sizes.shape, self.reservoir_size, *sample.shape[2:])
            self.samples = np.zeros(shape, sample.dtype)
        self.samples[new, slots, : sample.shape[1]] = sample[new]
        self.sample_sizes[new, slots] = sample.shape[1]


class ContextPool(ModelPool):
    """A pool with one model for each context, which is what a recogniser needs.

    The model that explains a segment best always keeps what it learnt from it, as in
    the flat recogniser. A new context is made where that is the untrained model, and
    every model of the pool was among the candidates. No samples are kept.

    A new context is made from a segment of a certain length only: the longer a segment,
    the better an untrained model that learns it fits the few things that happen in it,
    compared with a model of all that has ever happened in a game.

    Unlike the paper: its tests compare models on observations that one of them has
    learnt from and the other has not. Where single observations say as much as screens
    do, the former always wins, and the pool fills with variants of the same game.

    Args:
        density: The family of the models.
        capacity: Contexts that are made at most; later ones are not.
        new_context_length: Observations of a segment that makes a new context.
    """

    def __init__(
        self, density: Density, *, capacity: int, new_context_length: int
    ) -> None:
        super().__init__(
            density, capacity=capacity, reservoir_size=0, when_full="refuse"
        )
        self._new_context_length = new_context_length

    def _outdoes_ancestor(
        self,
        segment: Segment,
        best: Int64[np.ndarray, "B"],
        trained: Shaped[np.ndarray, "B S"],
    ) -> Bool[np.ndarray, "B"]:
        """Always; the ancestor of a longer segment may be gone, taught by its parts."""
        del trained
        return self._ancestor_is_there(segment, best)

    def _is_news(
        self,
        segment: Segment,
        best: Int64[np.ndarray, "B"],
        trained: Shaped[np.ndarray, "B S"],
    ) -> Bool[np.ndarray, "B"]:
        """Whether the untrained model won against all models there are now."""
        del trained
        known = (segment.candidates.identities >= 0).sum(axis=1)
        if segment.length != self._new_context_length:
            return np.zeros(len(best), np.bool_)
        is_judged = known == (self.candidates.identities >= 0).sum(axis=1)
        return np.asarray(is_judged & (best == UNTRAINED))


def _best_candidate(segment: Segment) -> Int64[np.ndarray, "B"]:
    """The candidate under which the segment was most probable, prior ignored."""
    is_candidate = np.isfinite(segment.candidates.log_prior)
    likelihood = np.where(is_candidate, segment.log_likelihood, -np.inf)
    return np.asarray(likelihood.argmax(axis=1))


def _sum_over_sample(
    values: Float64[np.ndarray, "R B M"], sizes: Int64[np.ndarray, "B"]
) -> Float64[np.ndarray, "B M"]:
    is_filled = np.arange(len(values))[:, None] < sizes
    return np.asarray(np.sum(values, axis=0, where=is_filled[:, :, None]))


def _log_prior(identities: Int64[np.ndarray, "B M"]) -> Float64[np.ndarray, "B M"]:
    """1/2 for the untrained model, and 1/2 shared by those of the pool."""
    is_held = identities >= 0
    held = is_held.sum(axis=1)
    prior = np.where(is_held, 0.5 / np.maximum(held, 1)[:, None], 0.0)
    prior[:, UNTRAINED] = np.where(held > 0, 0.5, 1.0)
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(prior))
