import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clrl.errors import CheckpointError, ConfigError
from clrl.recognition.image_recognisers import (
    IMAGE_RECOGNISERS,
    FlatImageRecogniser,
    ImageRecogniserConfig,
    TreeImageRecogniser,
)
from clrl.recognition.protocol import ScreenRecogniser, TaskRecogniser

from .images import batches, digits, schedule

KINDS = [FlatImageRecogniser, TreeImageRecogniser]
both = pytest.mark.parametrize("kind", KINDS)


def made(kind: type[ImageRecogniserConfig], **knobs: int) -> TaskRecogniser:
    def no_peeking() -> int:
        raise AssertionError("only the oracle may ask for the true task")

    return kind(**knobs).build(no_peeking)


def labels(recogniser: TaskRecogniser, stream: list[np.ndarray]) -> list[int]:
    return [recogniser.observe(images) for images in stream]


@both
def test_permutations_are_told_apart_from_their_first_minibatch_on(
    kind: type[ImageRecogniserConfig],
) -> None:
    tasks = [0, 1, 2, 1, 3, 0, 2]
    found = labels(made(kind), schedule(tasks, 30))
    assert found == [task for task in tasks for _ in range(30)]


@both
def test_minibatches_of_one_image_are_judged_together(
    kind: type[ImageRecogniserConfig],
) -> None:
    found = labels(made(kind, window_images=8), schedule([0, 1, 0], 160, size=1))
    assert found == [0] * 167 + [1] * 160 + [0] * 153


@both
def test_what_is_left_of_a_pass_is_not_mixed_with_the_next_task(
    kind: type[ImageRecogniserConfig],
) -> None:
    recogniser = made(kind)
    shown = 0
    for visit, task in enumerate([0, 1, 0, 1]):
        for size in (10, 10, 10, 3):
            (images,) = batches(task, 1, size, start=shown)
            shown += size
            assert recogniser.observe(images) == task, (visit, size)
    assert recogniser.contexts == 2


def test_longer_segments_make_a_context_once_they_are_full() -> None:
    recogniser = made(TreeImageRecogniser, segment_windows=4)
    assert isinstance(recogniser, ScreenRecogniser)
    found = labels(recogniser, schedule([0, 1, 0], 30))
    new = found.index(1)
    assert new - 30 in range(3, 8)  # the first whole segment of four ends
    assert found[new:60] == [1] * (60 - new)
    assert found[60:] == [0] * 30
    assert recogniser.posterior.argmax() == 0


@both
def test_a_change_of_label_waits_when_debounced(
    kind: type[ImageRecogniserConfig],
) -> None:
    recogniser = made(kind, debounce_windows=2)
    one_strange = [*batches(0, 20), *batches(1, 1), *batches(0, 10, start=300)]
    assert set(labels(recogniser, one_strange)) == {0}
    assert labels(recogniser, batches(1, 5, start=100)) == [0, 0, 1, 1, 1]


@both
def test_no_context_is_new_at_the_cap(kind: type[ImageRecogniserConfig]) -> None:
    recogniser = made(kind, max_contexts=2)
    found = labels(recogniser, schedule([0, 1, 2, 3], 20))
    assert recogniser.contexts == 2
    assert max(found) == 1


@both
@pytest.mark.parametrize("grey", [0, 128, 255])
def test_blank_images_are_one_context(
    kind: type[ImageRecogniserConfig], grey: int
) -> None:
    recogniser = made(kind)
    blank = [np.full((10, 8, 8), grey, np.uint8)] * 40
    assert set(labels(recogniser, blank)) == {0}
    assert recogniser.contexts == 1


@both
def test_images_of_another_shape_are_refused_with_the_remedy(
    kind: type[ImageRecogniserConfig],
) -> None:
    recogniser = made(kind)
    recogniser.observe(np.zeros((10, 8, 8), np.uint8))
    with pytest.raises(ValueError, match=r"of shape \[8, 8\], got \[9, 8\]; resize"):
        recogniser.observe(np.zeros((10, 9, 8), np.uint8))
    with pytest.raises(ValueError, match=r"\[N, H, W\] .* got .* \[10, 64\]"):
        made(kind).observe(np.zeros((10, 64), np.uint8))
    with pytest.raises(ValueError, match=r"as bytes, .* got float32"):
        recogniser.observe(np.zeros((10, 8, 8), np.float32))


@both
def test_an_empty_minibatch_says_nothing(kind: type[ImageRecogniserConfig]) -> None:
    recogniser = made(kind)
    assert recogniser.observe(np.zeros((0, 8, 8), np.uint8)) == 0
    assert labels(recogniser, schedule([0, 1], 10)) == [0] * 10 + [1] * 10


@both
def test_the_posterior_is_a_distribution_over_contexts_and_the_unknown(
    kind: type[ImageRecogniserConfig],
) -> None:
    recogniser = made(kind)
    assert isinstance(recogniser, ScreenRecogniser)
    assert recogniser.posterior.sum() == 1
    for images in schedule([0, 1, 2], 12):
        label = recogniser.observe(images)
        assert recogniser.posterior.shape == (recogniser.contexts + 1,)
        assert math.isclose(recogniser.posterior.sum(), 1, rel_tol=1e-9)
    assert recogniser.posterior.argmax() == label == 2


@both
def test_each_context_expects_the_mean_image_of_its_task(
    kind: type[ImageRecogniserConfig],
) -> None:
    recogniser = made(kind, bins=16)
    assert isinstance(recogniser, ScreenRecogniser)
    assert len(recogniser.expected_screens()) == 0
    labels(recogniser, schedule([0, 1, 2], 60))
    expected = recogniser.expected_screens()
    assert expected.shape == (3, 8, 8)
    means = [np.concatenate(batches(task, 60)).mean(axis=0) for task in range(3)]
    for task, image in enumerate(expected):
        assert np.abs(image - means[task]).mean() < 8
        assert np.abs(image - means[task - 1]).mean() > 20


@both
def test_recognise_says_the_best_known_context_and_changes_nothing(
    kind: type[ImageRecogniserConfig],
) -> None:
    recogniser = made(kind)
    probes = [np.stack(batches(task, 3, start=900)) for task in (2, 0, 1, 7)]
    assert recogniser.recognise(probes[0]) == 0
    labels(recogniser, schedule([0, 1, 2], 20))
    before = recogniser.state_dict()
    found = [recogniser.recognise(probe) for probe in probes]
    after = recogniser.state_dict()
    assert found[:3] == [2, 0, 1]
    assert found[3] < recogniser.contexts
    assert all(np.array_equal(before[name], after[name]) for name in before)


@settings(max_examples=25)
@given(
    split=st.integers(0, 60),
    size=st.integers(1, 12),
    debounce_windows=st.integers(0, 2),
)
@both
def test_a_saved_recogniser_goes_on_as_if_never_interrupted(
    kind: type[ImageRecogniserConfig], split: int, size: int, debounce_windows: int
) -> None:
    stream = schedule([0, 1, 2, 0], 15, size)
    whole, first, second = (
        made(kind, debounce_windows=debounce_windows) for _ in range(3)
    )
    expected = labels(whole, stream)
    found = labels(first, stream[:split])
    second.load_state_dict(first.state_dict())
    found += labels(second, stream[split:])
    assert found == expected
    end, expected_end = second.state_dict(), whole.state_dict()
    assert end.keys() == expected_end.keys()
    assert all(np.array_equal(end[name], expected_end[name]) for name in expected_end)


def test_a_state_of_other_bins_or_another_kind_is_refused() -> None:
    flat = made(FlatImageRecogniser, bins=4)
    labels(flat, batches(0, 2))
    with pytest.raises(CheckpointError, match=r"must have 513 counts .* got 257"):
        made(FlatImageRecogniser, bins=8).load_state_dict(flat.state_dict())
    with pytest.raises(CheckpointError, match="set the recogniser as it was"):
        made(TreeImageRecogniser, bins=4).load_state_dict(flat.state_dict())


@pytest.mark.parametrize("name", IMAGE_RECOGNISERS)
def test_every_recogniser_of_images_round_trips(name: str) -> None:
    first, second = (IMAGE_RECOGNISERS[name]().build(lambda: 0) for _ in range(2))
    assert first.contexts == 1
    assert set(labels(first, batches(0, 5))) == {0}
    second.load_state_dict(first.state_dict())
    assert second.contexts == first.contexts == 1
    assert second.observe(digits()[:10].reshape(-1, 8, 8)) == 0


def test_values_out_of_range_are_refused_with_the_range() -> None:
    with pytest.raises(ConfigError, match=r"bins must be from 2 to 256, got 1"):
        FlatImageRecogniser(bins=1)
    with pytest.raises(ConfigError, match=r"prior must be positive .*, got 0"):
        FlatImageRecogniser(prior=0.0)
    with pytest.raises(ConfigError, match=r"window_images must be at least 1, got 0"):
        TreeImageRecogniser(window_images=0)
    with pytest.raises(ConfigError, match=r"segment_windows .* power of two.* got 3"):
        TreeImageRecogniser(segment_windows=3)
