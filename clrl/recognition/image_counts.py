"""Models of sets of images: each pixel's grey level is Dirichlet-multinomial.

A set of images is what a learner sees at once, a minibatch say. Its order says nothing,
so that it is as good as its counts: how often each pixel shows each grey bin. With two
bins and a prior of 1/2, each pixel's model is Krichevsky and Trofimov's (1981).
"""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64, Int32, Integer, Shaped
from scipy.special import gammaln

from clrl.recognition.density import GroupByGroup
from clrl.recognition.pixel_model import GREY_LEVELS


def count_images(
    images: Shaped[np.ndarray, "N *image"], bins: int
) -> Int32[np.ndarray, "S"]:
    """How often each pixel shows each bin, ``[K, P]`` flat, then the number of images.

    The channels of a colour image are pixels of their own.

    Args:
        images: Grey levels; N may be 0.
        bins: ``K``, equal intervals of grey level, 2 to 256.

    Raises:
        ValueError: If the images are not bytes.
    """
    if images.dtype != np.uint8:
        raise ValueError(
            f"images are modelled as bytes, 0 to 255, got {images.dtype}; convert them."
        )
    flat = images.reshape(len(images), math.prod(images.shape[1:]))
    shown = flat.astype(np.uint16) * bins // GREY_LEVELS
    counts = [np.sum(shown == k, axis=0, dtype=np.int32) for k in range(bins)]
    return np.append(np.concatenate(counts), np.int32(len(images)))


class CountedImages(GroupByGroup):
    """The family of densities of sets of images (a ``clrl.recognition.density``).

    Observations are counts, ``Int32[B, S]``, as ``count_images`` makes them; so are the
    statistics.

    Args:
        image_shape: Of one image.
        bins: ``K``, grey bins.
        prior: ``a0``, pseudo-counts of each bin.
    """

    dtype: np.dtype[np.generic] = np.dtype(np.int32)

    def __init__(self, image_shape: Sequence[int], bins: int, prior: float) -> None:
        self.image_shape = tuple(image_shape)
        self.pixels = math.prod(image_shape)
        self.bins = bins
        self.prior = prior
        self.statistics = bins * self.pixels + 1

    def _of_group(
        self,
        models: Integer[np.ndarray, "B M S"],
        evidence: Integer[np.ndarray, "B S"],
        observation: Integer[np.ndarray, "B S"],
    ) -> Float64[np.ndarray, "B M"]:
        """Log probability of each sequence's next set of images, in any one order.

        Every model learns from the images one after the other: pixel and bin give
        ``prod_{j < c} (a0 + n + j)``, over ``prod_{j < N} (K a0 + n + j)`` for each
        pixel (the Dirichlet-multinomial's chain rule).
        """
        seen = models + evidence[:, None]
        of_bins = _log_rising(self.prior + seen[..., :-1], observation[:, None, :-1])
        of_images = _log_rising(
            self.bins * self.prior + seen[..., -1], observation[:, None, -1]
        )
        return np.asarray(of_bins.sum(axis=2) - self.pixels * of_images)

    def log_frozen(
        self, models: Integer[np.ndarray, "M S"], observation: Integer[np.ndarray, "S"]
    ) -> Float64[np.ndarray, "M"]:
        """Log probability of a set of images under each model as it is."""
        log_bins = np.log(self.prior + models[:, :-1])
        log_images = np.log(self.bins * self.prior + models[:, -1])
        of_images = self.pixels * observation[-1] * log_images
        return np.asarray(log_bins @ observation[:-1] - of_images)

    def statistics_of(
        self, observation: Integer[np.ndarray, "B S"]
    ) -> Integer[np.ndarray, "B S"]:
        """The counts of one set of images of each sequence."""
        return observation

    def expected_images(
        self, models: Integer[np.ndarray, "M S"]
    ) -> Float64[np.ndarray, "M H W"]:
        """What each model expects to see: mean grey levels, 0 to 255, over channels.

        A bin counts as its middle.
        """
        weights = models[:, :-1].reshape(len(models), self.bins, self.pixels)
        weights = weights + self.prior
        middles = (np.arange(self.bins) + 0.5) * GREY_LEVELS / self.bins
        expected = np.einsum("k,mkp->mp", middles, weights) / weights.sum(axis=1)
        height, width = self.image_shape[-2:]
        return np.asarray(expected.reshape(len(models), -1, height, width).mean(axis=1))


def _log_rising(
    start: Float64[np.ndarray, "*#S"], length: Integer[np.ndarray, "*#S"]
) -> Float64[np.ndarray, "*S"]:
    """``log(start (start + 1) ... (start + length - 1))``."""
    return np.asarray(gammaln(start + length) - gammaln(start))
