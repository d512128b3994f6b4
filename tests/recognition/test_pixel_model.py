import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import UInt8

from clrl.recognition.pixel_model import (
    PIXELS,
    PixelModels,
    expected_screen,
    grey_bins,
)


def binned_frames(bins: int, frames: int, seed: int) -> UInt8[np.ndarray, "T P"]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, bins, (frames, PIXELS)).astype(np.uint8)


def models_trained_on(
    frames: UInt8[np.ndarray, "T P"], bins: int, prior: float
) -> PixelModels:
    models = PixelModels(bins, prior)
    models.append_untrained()
    if len(frames):
        models.update(0, frames)
    return models


def exact_sequential_probability(
    frames: UInt8[np.ndarray, "W P"], pixel: int, bins: int, prior: Fraction
) -> Fraction:
    """The chain rule for one pixel, one frame after the other, in rational numbers."""
    probability = Fraction(1)
    counts = [0] * bins
    for seen, frame in enumerate(frames):
        level = int(frame[pixel])
        probability *= (prior + counts[level]) / (bins * prior + seen)
        counts[level] += 1
    return probability


def test_grey_bins_are_equal_intervals() -> None:
    frame = np.zeros((1, 42, 42), np.uint8)
    frame[0, 0, :6] = [0, 63, 64, 127, 128, 255]
    assert grey_bins(frame, 4)[0, :6].tolist() == [0, 0, 1, 1, 2, 3]


def test_256_bins_are_the_grey_levels() -> None:
    frame = np.arange(PIXELS).astype(np.uint8).reshape(42, 42)
    assert np.array_equal(grey_bins(frame, 256), frame.ravel())


def test_large_frames_are_halved_by_the_middle_of_four_pixels() -> None:
    rng = np.random.default_rng(0)
    frames = rng.integers(256, size=(3, 84, 84), dtype=np.uint8)
    blocks = frames.reshape(3, 42, 2, 42, 2).swapaxes(2, 3).reshape(3, 42, 42, 4)
    middle = np.sort(blocks, axis=3)[..., 1:3].astype(int).sum(axis=3) // 2
    halved = grey_bins(frames, 256).reshape(3, 42, 42)
    assert np.array_equal(halved, middle)


@given(row=st.integers(0, 83), column=st.integers(0, 83), level=st.integers(0, 255))
def test_one_noisy_pixel_of_an_even_ground_does_not_show(
    row: int, column: int, level: int
) -> None:
    frame = np.full((84, 84), 90, np.uint8)
    even = grey_bins(frame, 256)
    frame[row, column] = level
    assert np.array_equal(grey_bins(frame, 256), even)


def test_frames_of_another_size_are_refused_with_the_remedy() -> None:
    with pytest.raises(ValueError, match=r"84x84 or 42x42.*got 64x80.*resize"):
        grey_bins(np.zeros((1, 64, 80), np.uint8), 8)


@given(
    bins=st.integers(2, 64),
    prior=st.floats(1e-3, 10),
    frames=st.integers(0, 5),
    seed=st.integers(0, 100),
)
def test_the_predictive_sums_to_one_over_bins(
    bins: int, prior: float, frames: int, seed: int
) -> None:
    models = models_trained_on(binned_frames(bins, frames, seed), bins, prior)
    total = np.exp(models.log_predictive(0)).sum(axis=0)
    np.testing.assert_allclose(total, 1, rtol=1e-12)


def test_the_untrained_predictive_is_uniform() -> None:
    models = models_trained_on(binned_frames(8, 0, 0), 8, 0.01)
    np.testing.assert_allclose(models.log_predictive(0), -math.log(8))


@pytest.mark.parametrize("prior", [Fraction(1, 100), Fraction(1, 8), Fraction(1)])
def test_a_windows_likelihood_is_the_sequential_product(prior: Fraction) -> None:
    frames = binned_frames(8, 4, seed=1)
    frames[2] = frames[0]  # so that learning within the window matters
    models = models_trained_on(frames[:0], 8, float(prior))
    expected = sum(
        math.log(exact_sequential_probability(frames, pixel, 8, prior))
        for pixel in range(PIXELS)
    )
    found = models.prequential_log_likelihood(frames)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@given(seed=st.integers(0, 100), history=st.integers(0, 6))
def test_a_windows_likelihood_is_what_updating_one_by_one_gives(
    seed: int, history: int
) -> None:
    frames = binned_frames(4, history + 4, seed)
    models = models_trained_on(frames[:history], 4, 0.25)
    at_once = models.prequential_log_likelihood(frames[history:])[0]
    one_by_one = 0.0
    for frame in frames[history:]:
        one_by_one += models.log_likelihood(frame[None])[0]
        models.update(0, frame[None])
    np.testing.assert_allclose(at_once, one_by_one, rtol=1e-6)


@given(order=st.permutations(range(4)), seed=st.integers(0, 100))
def test_a_windows_likelihood_does_not_depend_on_the_order_of_frames(
    order: list[int], seed: int
) -> None:
    frames = binned_frames(3, 4, seed)
    models = models_trained_on(binned_frames(3, 2, seed + 1), 3, 0.1)
    np.testing.assert_allclose(
        models.prequential_log_likelihood(frames[order]),
        models.prequential_log_likelihood(frames),
        rtol=1e-6,
    )


def test_the_likelihood_of_a_window_changes_no_model() -> None:
    models = models_trained_on(binned_frames(8, 3, 0), 8, 0.1)
    before = models.counts.copy()
    models.prequential_log_likelihood(binned_frames(8, 4, 1))
    assert np.array_equal(models.counts, before)


def test_an_update_touches_one_model_only() -> None:
    models = models_trained_on(binned_frames(8, 3, 0), 8, 0.1)
    models.append_untrained()
    models.update(1, binned_frames(8, 2, 1))
    assert models.updates.tolist() == [3, 2]
    assert models.counts.sum(axis=1).tolist() == [3 * PIXELS, 2 * PIXELS]


def test_the_expected_screen_is_the_mean_of_what_was_seen() -> None:
    frames = np.zeros((4, PIXELS), np.uint8)
    frames[:, 0] = [0, 1, 3, 3]
    models = models_trained_on(frames, bins=4, prior=1e-9)
    screen = expected_screen(models.counts[0], bins=4, prior=1e-9)
    assert screen[0, 0] == pytest.approx((32 + 96 + 224 + 224) / 4)
    assert screen[0, 1] == pytest.approx(32)


def test_the_untrained_model_expects_medium_grey() -> None:
    models = models_trained_on(binned_frames(8, 0, 0), bins=8, prior=0.1)
    screen = expected_screen(models.counts[0], bins=8, prior=0.1)
    np.testing.assert_allclose(screen, 128)
