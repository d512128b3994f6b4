"""Densities that learn by adding up: conjugate models and their predictive densities.

Every model here is a vector of sufficient statistics: what it has learnt is a sum over
its observations. So a copy of a model that went on to learn from a segment is the
model's statistics plus the segment's, and one segment's *evidence* trains any number of
models at once. Copying and saving a model is copying and saving an array.

Axis letters: ``B`` independent sequences, ``M`` models, ``S`` statistics.
"""

import abc
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64, Integer, Shaped
from scipy.special import gammaln

from clrl.recognition.pixel_model import PIXELS, log_frame_predictive


class TrainedModels(NamedTuple):
    """Models that have learnt the same on top of what each of them knew.

    Attributes:
        models: Statistics of the models.
        evidence: What all of them have learnt on top.
    """

    models: Shaped[np.ndarray, "B M S"]
    evidence: Shaped[np.ndarray, "B S"]


class Density(abc.ABC):
    """A conjugate family: prior, sufficient statistics and predictive density.

    The statistics of a model that has seen nothing are zero.

    Attributes:
        statistics: ``S``, the length of a model's vector of statistics.
        dtype: Of the statistics.
    """

    statistics: int
    dtype: np.dtype[np.generic]

    @abc.abstractmethod
    def log_predictives(
        self,
        groups: Sequence[TrainedModels],
        observation: Shaped[np.ndarray, "B *observation"],
    ) -> list[Float64[np.ndarray, "B M"]]:
        """Log density, in nats, of each sequence's next observation under each model.

        Args:
            groups: Each may have another number of models.
            observation: One of each sequence.

        Returns:
            One array for each group.
        """

    def log_predictive(
        self,
        models: Shaped[np.ndarray, "B M S"],
        evidence: Shaped[np.ndarray, "B S"],
        observation: Shaped[np.ndarray, "B *observation"],
    ) -> Float64[np.ndarray, "B M"]:
        """The same for one group."""
        (each,) = self.log_predictives([TrainedModels(models, evidence)], observation)
        return each

    @abc.abstractmethod
    def statistics_of(
        self, observation: Shaped[np.ndarray, "B *observation"]
    ) -> Shaped[np.ndarray, "B S"]:
        """What one observation of each sequence adds to a model that learns it."""


class GroupByGroup(Density):
    """A family that gains nothing from seeing all groups at once."""

    def log_predictives(
        self,
        groups: Sequence[TrainedModels],
        observation: Shaped[np.ndarray, "B *observation"],
    ) -> list[Float64[np.ndarray, "B M"]]:
        """One group after the other."""
        return [self._of_group(*group, observation) for group in groups]

    @abc.abstractmethod
    def _of_group(
        self,
        models: Shaped[np.ndarray, "B M S"],
        evidence: Shaped[np.ndarray, "B S"],
        observation: Shaped[np.ndarray, "B *observation"],
    ) -> Float64[np.ndarray, "B M"]:
        """As ``log_predictive``."""


class KrichevskyTrofimov(GroupByGroup):
    """Symbols: a categorical distribution under a Dirichlet prior of 1/2 each.

    The predictive probability of symbol ``k`` is ``(n_k + 1/2) / (n + K/2)``
    (Krichevsky and Trofimov (1981), eq. 3.2 for two symbols). Observations are integers
    from 0 to ``K - 1``, shape ``[B]``.

    Args:
        symbols: ``K``, the size of the alphabet.
    """

    dtype: np.dtype[np.generic] = np.dtype(np.float64)

    def __init__(self, symbols: int = 2) -> None:
        self.statistics = symbols

    def _of_group(
        self,
        models: Float64[np.ndarray, "B M S"],
        evidence: Float64[np.ndarray, "B S"],
        observation: Integer[np.ndarray, "B"],
    ) -> Float64[np.ndarray, "B M"]:
        """Log probability of each sequence's next symbol under each model."""
        sequence = np.arange(len(observation))
        of_symbol = evidence[sequence, observation, None]
        of_symbol = of_symbol + models[sequence, :, observation]
        of_all = models.sum(axis=2) + evidence.sum(axis=1)[:, None]
        return np.asarray(np.log((of_symbol + 0.5) / (of_all + 0.5 * self.statistics)))

    def statistics_of(
        self, observation: Integer[np.ndarray, "B"]
    ) -> Float64[np.ndarray, "B S"]:
        """A count of one symbol of each sequence."""
        added = np.zeros((len(observation), self.statistics))
        added[np.arange(len(observation)), observation] = 1
        return added


class PixelDirichlet(Density):
    """Screens: each pixel's grey bin is Dirichlet-multinomial (``pixel_model``).

    The statistics are the counts of each bin at each pixel, ``[K, P]`` flat, then the
    number of frames. Observations say which of them a frame adds to, ``Int64[B, P]``,
    as ``cells`` finds it for frames from ``grey_bins``.

    Args:
        bins: ``K``, grey bins.
        prior: ``a0``, pseudo-counts of each bin.
    """

    dtype: np.dtype[np.generic] = np.dtype(np.int32)

    def __init__(self, bins: int, prior: float) -> None:
        self.bins = bins
        self.prior = prior
        self.statistics = bins * PIXELS + 1

    def log_predictives(
        self,
        groups: Sequence[TrainedModels],
        observation: Int64[np.ndarray, "B P"],
    ) -> list[Float64[np.ndarray, "B M"]]:
        """Log probability of each sequence's next frame, all logarithms at once."""
        ends = np.cumsum([group.models.shape[1] for group in groups]).tolist()
        rows = [slice(*ends_of) for ends_of in pairwise([0, *ends])]
        sequences = len(observation)
        counts = np.empty((sequences, ends[-1], PIXELS), self.dtype)
        frames = np.empty((sequences, ends[-1]), self.dtype)
        for (models, evidence), mine in zip(groups, rows, strict=True):
            frames[:, mine] = models[:, :, -1] + evidence[:, None, -1]
            for b, at in enumerate(observation):
                # "clip" changes nothing but the speed: the default copies ``out``.
                np.take(models[b], at, axis=1, out=counts[b, mine], mode="clip")
                if evidence[b, -1]:
                    counts[b, mine] += evidence[b].take(at)
        each = log_frame_predictive(counts, frames, self.bins, self.prior)
        return [each[:, mine] for mine in rows]

    def statistics_of(
        self, observation: Int64[np.ndarray, "B P"]
    ) -> Integer[np.ndarray, "B S"]:
        """A count of one frame of each sequence."""
        added = np.zeros((len(observation), self.statistics), self.dtype)
        for counts, at in zip(added, observation, strict=True):
            counts[at] = 1  # no cell occurs twice within a frame
        added[:, -1] = 1
        return added


class DiagonalGaussian(GroupByGroup):
    """Feature vectors: independent Gaussians of unknown mean and variance.

    Under a normal-inverse-gamma prior of mean 0, the predictive density of each feature
    is Student's t (Bishop (2006), section 2.3.6; Murphy (2007), eq. 110). Observations
    are ``Float64[B, D]``, best scaled to about unit variance. The statistics are
    the number of observations, the sums of the features and of their squares.

    Args:
        features: ``D``.
        mean_strength: ``kappa_0``, observations that the prior mean is worth.
        shape: ``alpha_0`` of the variance's inverse gamma prior.
        scale: ``beta_0`` of the same.
    """

    dtype: np.dtype[np.generic] = np.dtype(np.float64)

    def __init__(
        self,
        features: int,
        *,
        mean_strength: float = 0.1,
        shape: float = 1.0,
        scale: float = 0.1,
    ) -> None:
        self.features = features
        self.mean_strength = mean_strength
        self.shape = shape
        self.scale = scale
        self.statistics = 1 + 2 * features

    def _of_group(
        self,
        models: Float64[np.ndarray, "B M S"],
        evidence: Float64[np.ndarray, "B S"],
        observation: Float64[np.ndarray, "B D"],
    ) -> Float64[np.ndarray, "B M"]:
        """Log density of each sequence's next feature vector under each model."""
        seen = models + evidence[:, None]
        count, sums, squares = np.split(seen, [1, 1 + self.features], axis=2)
        strength = self.mean_strength + count
        mean = sums / strength
        shape = self.shape + count / 2
        scale = self.scale + (squares - strength * mean**2) / 2
        # Rounding may leave less than the prior, which every sum of squares exceeds.
        scale = np.maximum(scale, self.scale)
        spread = 2 * scale * (strength + 1) / strength  # degrees of freedom x width^2
        distance = (observation[:, None] - mean) ** 2 / spread
        log_density = (
            gammaln(shape + 0.5)
            - gammaln(shape)
            - np.log(np.pi * spread) / 2
            - (shape + 0.5) * np.log1p(distance)
        )
        return np.asarray(log_density.sum(axis=2))

    def statistics_of(
        self, observation: Float64[np.ndarray, "B D"]
    ) -> Float64[np.ndarray, "B S"]:
        """One feature vector of each sequence, and its square."""
        one = np.ones((len(observation), 1))
        return np.concatenate([one, observation, observation**2], axis=1)
