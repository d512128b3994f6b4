"""One stretch of a stream, explained by a mixture of models that learn from it."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64, Shaped

from clrl.recognition.density import Density, TrainedModels

UNTRAINED = 0
"""Where the untrained model is among the candidates."""


class Candidates(NamedTuple):
    """The models that may explain a segment; the arrays are shared, never changed.

    The first model is untrained. Axis letters as in ``density``.

    Attributes:
        models: Statistics of each model before the segment.
        log_prior: Of each model; ``-inf`` where a sequence has no such model.
        stamps: Each version of each model has its own number; -1 for none.
        identities: A model keeps its identity as it learns; -1 for none.
    """

    models: Shaped[np.ndarray, "B M S"]
    log_prior: Float64[np.ndarray, "B M"]
    stamps: Int64[np.ndarray, "B M"]
    identities: Int64[np.ndarray, "B M"]


def untrained_only(density: Density, sequences: int) -> Candidates:
    """The candidates of a process that remembers no earlier segment."""
    return Candidates(
        np.zeros((sequences, 1, density.statistics), density.dtype),
        np.zeros((sequences, 1)),
        np.full((sequences, 1), -1, np.int64),
        np.full((sequences, 1), -1, np.int64),
    )


class Segment:
    """A Bayes mixture over candidates, all of which learn from the segment.

    Args:
        density: The family of the models.
        candidates: The models, with their prior.
        start: Observations of the stream before the segment.
        reservoir_size: At most so many observations are kept, a uniform sample of the
            segment's (Vitter (1985), algorithm R).
        hopeless_nats: A trained candidate this far behind the best one in every
            sequence is given up, which saves time; ``inf`` is exact.
    """

    _hopeful_models: Shaped[np.ndarray, "B hopeful S"] | None
    _hopeful_likelihood: Float64[np.ndarray, "B hopeful"]

    def __init__(
        self,
        density: Density,
        candidates: Candidates,
        start: int,
        reservoir_size: int = 0,
        hopeless_nats: float = np.inf,
    ) -> None:
        sequences = len(candidates.models)
        self.density = density
        self.candidates = candidates
        self.start = start
        self.reservoir_size = reservoir_size
        self.hopeless_nats = hopeless_nats
        self.length = 0
        self.evidence = np.zeros((sequences, density.statistics), density.dtype)
        self.log_evidence = np.zeros(sequences)
        self.reservoir: list[np.ndarray] = []
        self._consider_all(np.zeros_like(candidates.log_prior))

    @property
    def log_likelihood(self) -> Float64[np.ndarray, "B M"]:
        """Of the segment under each candidate; ``-inf`` for those given up."""
        likelihood = np.full_like(self.candidates.log_prior, -np.inf)
        likelihood[:, self._hopeful] = self._hopeful_likelihood
        return likelihood

    def posterior(
        self,
    ) -> tuple[Int64[np.ndarray, "B hopeful"], Float64[np.ndarray, "B hopeful"]]:
        """Identities of the candidates that are left, and the probability of each."""
        log_posterior = self._joint - self.log_evidence[:, None]
        return self._hopeful_identities, np.exp(log_posterior)

    def log_predictive(
        self, observation: Shaped[np.ndarray, "B *observation"]
    ) -> Float64[np.ndarray, "B"]:
        """Log density, in nats, of the next observation under the mixture."""
        each = self.density.log_predictive(*self.hopeful_models, observation)
        log_evidence = np.logaddexp.reduce(self._joint + each, axis=1)
        return np.asarray(log_evidence - self.log_evidence)

    def learn(
        self,
        observation: Shaped[np.ndarray, "B *observation"],
        added: Shaped[np.ndarray, "B S"],
        log_predictives: Float64[np.ndarray, "B hopeful"],
    ) -> None:
        """Takes one observation of each sequence into the segment.

        Args:
            observation: The next one.
            added: What it adds to the statistics of a model.
            log_predictives: Of it, under each of the ``hopeful_models``.
        """
        self._hopeful_likelihood = self._hopeful_likelihood + log_predictives
        self._joint = self._hopeful_prior + self._hopeful_likelihood
        self._give_up_hopeless()
        # All others are impossible and would add nothing.
        self.log_evidence = np.logaddexp.reduce(self._joint, axis=1)
        self.evidence += added
        self._keep(observation)
        self.length += 1

    @property
    def hopeful_models(self) -> TrainedModels:
        """The candidates that are left, and what they have learnt from the segment."""
        if self._hopeful_models is None:
            self._hopeful_models = self.candidates.models[:, self._hopeful]
        return TrainedModels(self._hopeful_models, self.evidence)

    def _consider_all(self, log_likelihood: Float64[np.ndarray, "B M"]) -> None:
        self._hopeful = np.arange(self.candidates.log_prior.shape[1])
        self._hopeful_identities = self.candidates.identities
        self._hopeful_prior = self.candidates.log_prior
        self._hopeful_models = self.candidates.models
        self._hopeful_likelihood = log_likelihood
        self._joint = self._hopeful_prior + log_likelihood

    def _give_up_hopeless(self) -> None:
        if len(self._hopeful) == 1 or np.isinf(self.hopeless_nats):
            return
        # The untrained model, the first, is behind until it has learnt something.
        behind = self._joint.max(axis=1, keepdims=True) - self._joint[:, 1:]
        if behind.max() > self.hopeless_nats:
            is_hopeful = (behind <= self.hopeless_nats).any(axis=0)
            self._keep_only(np.append(UNTRAINED, 1 + np.flatnonzero(is_hopeful)))

    def _keep_only(self, places: Int64[np.ndarray, "kept"]) -> None:
        """Gives up all candidates but some of those that are left."""
        self._hopeful = self._hopeful[places]
        self._hopeful_identities = self._hopeful_identities[:, places]
        self._hopeful_prior = self._hopeful_prior[:, places]
        self._hopeful_models = None  # most segments end before these are needed
        self._hopeful_likelihood = self._hopeful_likelihood[:, places]
        self._joint = self._joint[:, places]

    def _keep(self, observation: Shaped[np.ndarray, "B *observation"]) -> None:
        if len(self.reservoir) < self.reservoir_size:
            self.reservoir.append(observation.copy())
        elif self.reservoir_size:
            # Seeded by where it is, so that no random state need be saved.
            rng = np.random.default_rng([self.start, self.length])
            place = int(rng.integers(self.length + 1))
            if place < self.reservoir_size:
                self.reservoir[place] = observation.copy()

    def state_dict(self) -> dict[str, np.ndarray]:
        """A copy of what was learnt from the segment, without the candidates."""
        return {
            "span": np.array([self.start, self.length], np.int64),
            "evidence": self.evidence.copy(),
            "log_likelihood": self.log_likelihood,
            "log_evidence": self.log_evidence.copy(),
            "reservoir": np.array(self.reservoir),
        }

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """Continues from a saved state; the candidates must be those of then."""
        self.start, self.length = (int(value) for value in state["span"])
        self.evidence = state["evidence"].copy()
        self._consider_all(state["log_likelihood"].copy())
        is_hopeful = np.isfinite(self._hopeful_likelihood).any(axis=0)
        if not is_hopeful.all():
            self._keep_only(np.flatnonzero(is_hopeful))
        self.log_evidence = state["log_evidence"].copy()
        self.reservoir = list(state["reservoir"].copy())


def learn_together(
    segments: Sequence[Segment], observation: Shaped[np.ndarray, "B *observation"]
) -> None:
    """Takes one observation of each sequence into all segments, of one density."""
    density = segments[0].density
    added = density.statistics_of(observation)
    each = density.log_predictives([s.hopeful_models for s in segments], observation)
    for segment, log_predictives in zip(segments, each, strict=True):
        segment.learn(observation, added, log_predictives)
