"""Models of a game's screen: each pixel's grey level is Dirichlet-multinomial."""

import numpy as np
from jaxtyping import Float64, Int32, Int64, Integer, Shaped, UInt8

MODEL_SIDE = 42
"""Height and width of the frames that are modelled."""

PIXELS = MODEL_SIDE * MODEL_SIDE
GREY_LEVELS = 256


def grey_bins(
    frames: UInt8[np.ndarray, "*B H W"], bins: int
) -> UInt8[np.ndarray, "*B P"]:
    """The grey bin of each pixel of the halved frames, ``grey * bins // 256``.

    84x84 frames are halved (Kirkpatrick et al. (2017), table S2: "model down-scaling
    x2", which does not say how): each 2x2 block by the mean of its two middle levels,
    which one pixel that shows anything at all hardly changes. 42x42 frames are used as
    they are.

    Args:
        frames: Luminance, 84x84 or 42x42.
        bins: ``K``, equal intervals of grey level, 2 to 256.

    Raises:
        ValueError: If the frames have another size.
    """
    levels = _halved(frames).astype(np.uint16)
    binned = (levels * bins // GREY_LEVELS).astype(np.uint8)
    return binned.reshape(*frames.shape[:-2], PIXELS)


def _halved(frames: UInt8[np.ndarray, "*B H W"]) -> Shaped[np.ndarray, "*B 42 42"]:
    size = frames.shape[-2:]
    if size == (MODEL_SIDE, MODEL_SIDE):
        return frames
    if size != (2 * MODEL_SIDE, 2 * MODEL_SIDE):
        raise ValueError(
            f"the pixel model expects frames of 84x84 or 42x42 pixels, got "
            f"{size[0]}x{size[1]}; resize the observations or use another recogniser."
        )
    above, below = frames[..., 0::2, :], frames[..., 1::2, :]
    low, high = np.minimum(above, below), np.maximum(above, below)
    # Of four levels in two sorted pairs, the middle ones are the higher of the two low
    # ones and the lower of the two high ones.
    middle = np.maximum(low[..., 0::2], low[..., 1::2]).astype(np.uint16)
    middle += np.minimum(high[..., 0::2], high[..., 1::2])
    return np.asarray(middle // 2)


class PixelModels:
    """One Dirichlet-multinomial model per context, each a product over pixels.

    The predictive probability of bin ``k`` at pixel ``p`` after ``n`` updates, of which
    ``n_pk`` showed ``k``, is ``(a0 + n_pk) / (K a0 + n)``: the posterior mean under a
    symmetric Dirichlet prior of concentration ``a0``.

    Args:
        bins: ``K``, grey bins.
        prior: ``a0``, pseudo-counts of each bin before any update.
    """

    def __init__(self, bins: int, prior: float) -> None:
        self.bins = bins
        self.prior = prior
        self.counts: Int32[np.ndarray, "C KP"] = np.zeros((0, bins * PIXELS), np.int32)
        self.updates = np.zeros(0, np.int64)

    def __len__(self) -> int:
        """The number of models."""
        return len(self.updates)

    def append_untrained(self) -> None:
        """Adds a model that predicts every bin with probability ``1 / K``."""
        untrained = np.zeros((1, self.counts.shape[1]), np.int32)
        self.counts = np.concatenate([self.counts, untrained])
        self.updates = np.append(self.updates, 0)

    def update(self, model: int, frames: UInt8[np.ndarray, "W P"]) -> None:
        """Counts the frames' bins in one model."""
        counts = self.counts[model]
        for shown in cells(frames):
            counts[shown] += 1  # no cell occurs twice within a frame
        self.updates[model] += len(frames)

    def log_predictive(self, model: int) -> Float64[np.ndarray, "K P"]:
        """Log probability of each bin at each pixel of the next frame."""
        counts = self.counts[model].reshape(self.bins, PIXELS)
        total = self.bins * self.prior + self.updates[model]
        return np.asarray(np.log(self.prior + counts) - np.log(total))

    def log_likelihood(
        self, frames: UInt8[np.ndarray, "T P"]
    ) -> Float64[np.ndarray, "C"]:
        """Log probability of all the frames under each model as it is."""
        shown = cells(frames)
        predictive = [self.log_predictive(model).ravel() for model in range(len(self))]
        return np.array([table[shown].sum() for table in predictive])

    def prequential_log_likelihood(
        self, frames: UInt8[np.ndarray, "W P"]
    ) -> Float64[np.ndarray, "C"]:
        """Log probability of a window when every model learns from its earlier frames.

        No model is changed: what a model would have learnt within the window is the
        number of earlier frames that had the same bin at the same pixel.
        """
        updates = self.updates[:, None] + np.arange(len(frames))  # [C, W]
        counts = self.counts.take(cells(frames), axis=1) + _earlier_matches(frames)
        each = log_frame_predictive(counts, updates, self.bins, self.prior)
        return np.asarray(each.sum(axis=1))


def log_frame_predictive(
    counts: Integer[np.ndarray, "*B P"],
    updates: Integer[np.ndarray, "*B"],
    bins: int,
    prior: float,
) -> Float64[np.ndarray, "*B"]:
    """Log probability of a frame, ``prod_p (a0 + n_pk) / (K a0 + n)``.

    Args:
        counts: ``n_pk``, how often each pixel has shown the bin that it shows now.
        updates: ``n``, the frames that were counted.
        bins: ``K``.
        prior: ``a0``.
    """
    # Logarithms in float32 are some five times faster; they are summed in float64.
    pseudo_counts = counts.astype(np.float32)
    pseudo_counts += np.float32(prior)
    log_counts = np.log(pseudo_counts, out=pseudo_counts)
    log_numerators = log_counts.sum(axis=-1, dtype=np.float64)
    return np.asarray(log_numerators - PIXELS * np.log(bins * prior + updates))


def expected_screen(
    counts: Integer[np.ndarray, "KP"], bins: int, prior: float
) -> Float64[np.ndarray, "42 42"]:
    """The mean grey level of each pixel under a model; a bin counts as its middle.

    Args:
        counts: How often each pixel showed each bin, ``[K, P]`` flat.
        bins: ``K``.
        prior: ``a0``.
    """
    weights = counts.reshape(bins, PIXELS) + prior
    middles = (np.arange(bins) + 0.5) * GREY_LEVELS / bins
    screen = middles @ weights / weights.sum(axis=0)
    return np.asarray(screen.reshape(MODEL_SIDE, MODEL_SIDE))


def _earlier_matches(frames: UInt8[np.ndarray, "W P"]) -> Int32[np.ndarray, "W P"]:
    """How many earlier frames of the window had the same bin at the same pixel."""
    matches = [np.sum(frames[:t] == frames[t], axis=0) for t in range(len(frames))]
    return np.stack(matches).astype(np.int32)


def cells(frames: UInt8[np.ndarray, "*W P"]) -> Int64[np.ndarray, "*W P"]:
    """Where in a model's flat ``[K, P]`` counts each pixel's bin is counted."""
    return frames * np.int64(PIXELS) + np.arange(PIXELS)
