import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from jaxtyping import UInt8

from clrl.recognition.image_counts import CountedImages, count_images

SHAPE = (2, 3)

sets_of_images = arrays(np.uint8, st.tuples(st.integers(0, 5), st.just(2), st.just(3)))


def sequential_probability(
    learnt: np.ndarray, images: np.ndarray, bins: int, prior: Fraction
) -> Fraction:
    """Image by image and pixel by pixel, each under all that came before it."""
    probability = Fraction(1)
    before = list(learnt)
    for image in images:
        for pixel, grey in np.ndenumerate(image):
            shown = [int(earlier[pixel]) * bins // 256 for earlier in before]
            count = shown.count(int(grey) * bins // 256)
            probability *= (prior + count) / (bins * prior + len(before))
        before.append(image)
    return probability


@given(learnt=sets_of_images, evidence=sets_of_images, images=sets_of_images)
@pytest.mark.parametrize(("bins", "prior"), [(2, Fraction(1, 2)), (5, Fraction(1, 10))])
def test_the_predictive_is_the_sequential_product(
    learnt: np.ndarray,
    evidence: np.ndarray,
    images: np.ndarray,
    bins: int,
    prior: Fraction,
) -> None:
    density = CountedImages(SHAPE, bins, float(prior))
    seen = density.log_predictive(
        np.stack([count_images(learnt, bins), count_images(learnt[:0], bins)])[None],
        count_images(evidence, bins)[None],
        count_images(images, bins)[None],
    )
    for found, known in zip(
        seen[0], [np.concatenate([learnt, evidence]), evidence], strict=True
    ):
        expected = sequential_probability(known, images, bins, prior)
        assert found == pytest.approx(math.log(expected), abs=1e-9)


def test_the_predictive_sums_to_one_over_all_sets_of_images() -> None:
    density = CountedImages((1, 2), 3, 0.2)
    learnt: UInt8[np.ndarray, "3 1 2"] = np.array(
        [[[0, 200]], [[90, 90]], [[0, 10]]], np.uint8
    )
    model, nothing = count_images(learnt, 3), count_images(learnt[:0], 3)
    total = 0.0
    for greys in itertools.product([0, 100, 200], repeat=4):  # two images of two pixels
        images = np.array(greys, np.uint8).reshape(2, 1, 2)
        counts = count_images(images, 3)
        total += math.exp(
            density.log_predictive(model[None, None], nothing[None], counts[None])[0, 0]
        )
    assert total == pytest.approx(1)


@given(learnt=sets_of_images, images=sets_of_images)
def test_frozen_models_do_not_learn_within_the_set(
    learnt: np.ndarray, images: np.ndarray
) -> None:
    density = CountedImages(SHAPE, 4, 0.25)
    model = count_images(learnt, 4)
    one_by_one = sum(
        density.log_predictive(
            model[None, None],
            np.zeros((1, density.statistics), np.int32),
            count_images(image[None], 4)[None],
        )[0, 0]
        for image in images
    )
    found = density.log_frozen(model[None], count_images(images, 4))
    assert found[0] == pytest.approx(one_by_one, abs=1e-9)


def test_counts_are_of_pixels_and_grey_bins() -> None:
    images = np.array([[[0, 127]], [[128, 255]], [[0, 255]]], np.uint8)
    assert count_images(images, 2).tolist() == [2, 1, 1, 2, 3]


def test_learning_adds_the_counts() -> None:
    density = CountedImages(SHAPE, 2, 0.5)
    images = np.arange(24, dtype=np.uint8).reshape(4, 2, 3) * 10
    evidence = count_images(images[:1], 2)[None].copy()
    evidence += density.statistics_of(count_images(images[1:], 2)[None])
    assert np.array_equal(evidence[0], count_images(images, 2))


def test_the_expected_image_is_the_mean_of_what_was_seen() -> None:
    density = CountedImages((2, 1, 2), 2, 1e-9)
    images = np.array([[[[0, 255]], [[255, 255]]], [[[0, 255]], [[0, 255]]]], np.uint8)
    expected = density.expected_images(count_images(images, 2)[None])
    # Bins count as their middles, 64 and 192; the channels' mean of (64, 128).
    assert np.allclose(expected, [[[96, 192]]])


def test_images_that_are_not_bytes_are_refused() -> None:
    with pytest.raises(ValueError, match="as bytes, 0 to 255, got float64"):
        count_images(np.zeros((1, 2, 2)), 2)
