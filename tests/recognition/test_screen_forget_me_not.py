import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import UInt8

from clrl.errors import CheckpointError
from clrl.recognition.protocol import ScreenRecogniser
from clrl.recognition.screen_forget_me_not import ScreenForgetMeNot
from tests.recognition.screens import play, still_screen

MIN_SEGMENT = 4


def recogniser(
    *,
    bins: int = 8,
    update_period_steps: int = 1,
    max_contexts: int = 10,
    debounce_updates: int = 1,
    new_debounce_updates: int = 1,
    min_visit_steps: int = 0,
) -> ScreenForgetMeNot:
    return ScreenForgetMeNot(
        bins=bins,
        prior=0.02,
        segment_updates=MIN_SEGMENT,
        update_period_steps=update_period_steps,
        max_contexts=max_contexts,
        debounce_updates=debounce_updates,
        new_debounce_updates=new_debounce_updates,
        min_visit_steps=min_visit_steps,
    )


def labels(
    recogniser: ScreenForgetMeNot, frames: UInt8[np.ndarray, "T N 42 42"]
) -> list[int]:
    return [recogniser.observe(frame) for frame in frames]


def test_one_game_is_one_context() -> None:
    fmn = recogniser()
    assert set(labels(fmn, play(game=0, steps=100))) == {0}
    assert fmn.contexts == 1


@pytest.mark.parametrize("grey", [0, 128, 255])
def test_blank_frames_are_one_context(grey: int) -> None:
    fmn = recogniser()
    assert set(labels(fmn, np.full((60, 2, 42, 42), grey, np.uint8))) == {0}
    assert fmn.contexts == 1


def test_games_that_return_get_their_old_labels() -> None:
    fmn = recogniser()
    schedule = [0, 1, 2, 0, 2, 1]
    visits = [labels(fmn, play(g, 30, seed=v)) for v, g in enumerate(schedule)]
    assert [visit[-1] for visit in visits] == schedule
    assert fmn.contexts == 3


@pytest.mark.parametrize("environments", [1, 3])
def test_a_new_game_is_found_after_a_segment_and_an_old_one_at_once(
    environments: int,
) -> None:
    fmn = recogniser(debounce_updates=0, new_debounce_updates=0)
    labels(fmn, play(0, 19, environments))
    new = labels(fmn, play(1, 20, environments))
    old = labels(fmn, play(0, 20, environments, seed=1))
    assert new.index(1) <= 2 * MIN_SEGMENT
    assert set(new[new.index(1) :]) == {1}
    assert set(old) == {0}


def test_a_long_flash_that_comes_again_is_no_task_until_it_stays() -> None:
    fmn = recogniser(new_debounce_updates=20)
    for visit in range(3):
        frames = play(0, 64, seed=visit)
        frames[32:48] = 255  # four segments, of which a context is made
        assert set(labels(fmn, frames)) == {0}
    assert fmn.contexts == 1
    found = labels(fmn, np.full((64, 1, 42, 42), 255, np.uint8))
    assert 20 <= found.index(1) <= 24
    assert set(found[found.index(1) :]) == {1}
    assert fmn.contexts == 2


@pytest.mark.parametrize("flash_updates", [1, 2, 3])
def test_a_flash_of_the_screen_is_no_context(flash_updates: int) -> None:
    frames = play(0, 60)
    frames[30 : 30 + flash_updates] = 255
    fmn = recogniser()
    assert set(labels(fmn, frames)) == {0}
    assert fmn.contexts == 1


@pytest.mark.parametrize("blank_updates", [3, 6])
def test_a_blank_screen_is_not_the_game_that_is_blank_mostly(
    blank_updates: int,
) -> None:
    nearly_blank = np.zeros((60, 1, 42, 42), np.uint8)
    nearly_blank[:, :, 20:26] = still_screen(1)[20:26]
    frames = play(0, 60)
    frames[30 : 30 + blank_updates] = 0
    fmn = recogniser(new_debounce_updates=12)
    assert set(labels(fmn, np.concatenate([play(0, 60), nearly_blank]))) == {0, 1}
    found = labels(fmn, frames)
    assert set(found[found.index(0) :]) == {0}


def test_a_context_that_is_surprised_is_named_when_it_stays() -> None:
    fmn = recogniser(new_debounce_updates=12)
    labels(fmn, np.concatenate([play(0, 60), play(1, 60)]))
    frames = play(0, 30, seed=1)
    frames[:, :, :4] = still_screen(2)[:4]  # a tenth of the screen is another one
    assert labels(fmn, frames).index(0) == 12


def test_doubt_starts_the_short_wait_anew() -> None:
    fmn = recogniser(debounce_updates=1, new_debounce_updates=12)
    labels(fmn, np.concatenate([play(0, 60), play(1, 60)]))
    frames = play(0, 30, seed=1)
    frames[[0, 1, 3], :, :4] = still_screen(2)[:4]
    assert labels(fmn, frames).index(0) == 5


def test_a_room_seen_shortly_within_a_visit_is_of_its_game_for_good() -> None:
    fmn = recogniser(new_debounce_updates=12, min_visit_steps=60)
    room = play(1, 8)
    labels(fmn, np.concatenate([play(0, 30), room, play(0, 60), play(2, 100)]))
    assert labels(fmn, play(0, 100, seed=2))[-1] == 0
    assert set(labels(fmn, play(1, 30, seed=2))) == {0}
    assert fmn.contexts == 2


def test_a_game_that_was_still_at_first_is_known_when_it_moves() -> None:
    fmn = recogniser(new_debounce_updates=12)
    still = np.tile(still_screen(0), (40, 1, 1, 1))
    labels(fmn, np.concatenate([still, play(0, 60), play(1, 60)]))
    assert labels(fmn, play(0, 4, seed=1))[-1] == 0


def test_switches_at_any_time_make_no_mixed_context() -> None:
    fmn = recogniser()
    for visit, steps in enumerate([17, 18, 19, 21, 22, 23, 25]):
        labels(fmn, play(visit % 2, steps, seed=visit))
    assert fmn.contexts == 2


def test_no_context_is_new_at_the_cap() -> None:
    fmn = recogniser(max_contexts=2)
    found = labels(fmn, np.concatenate([play(game, 20) for game in range(4)]))
    assert fmn.contexts == 2
    assert max(found) == 1


def test_the_posterior_is_a_distribution_over_contexts_and_the_unknown() -> None:
    fmn = recogniser()
    labels(fmn, np.concatenate([play(game, 20) for game in range(3)]))
    assert fmn.posterior.shape == (4,)
    assert math.isclose(fmn.posterior.sum(), 1, rel_tol=1e-9)
    assert fmn.posterior.argmax() == 2
    fmn.observe(play(3, 1)[0])
    assert fmn.posterior.argmax() == 3  # not seen before


def test_each_context_expects_its_own_screen() -> None:
    fmn = recogniser()
    assert isinstance(fmn, ScreenRecogniser)
    assert fmn.expected_screens().shape == (1, 42, 42)
    labels(fmn, np.concatenate([play(game, 40) for game in range(3)]))
    expected = fmn.expected_screens()
    assert expected.shape == (3, 42, 42)
    for game, screen in enumerate(expected):
        errors = [np.abs(screen - still_screen(other)).mean() for other in range(3)]
        assert int(np.argmin(errors)) == game


def test_recognise_says_the_best_known_context_and_changes_nothing() -> None:
    fmn = recogniser()
    assert fmn.recognise(play(0, 5)) == 0
    labels(fmn, np.concatenate([play(game, 20) for game in range(3)]))
    before = fmn.state_dict()
    found = [fmn.recognise(play(game, 5, 2, seed=9)) for game in (2, 0, 1, 7)]
    after = fmn.state_dict()
    assert found[:3] == [2, 0, 1]
    assert found[3] < fmn.contexts
    assert all(np.array_equal(before[name], after[name]) for name in before)


@settings(max_examples=6)
@given(
    split=st.integers(0, 60),
    debounce_updates=st.integers(0, 2),
    new_debounce_updates=st.integers(0, 5),
    min_visit_steps=st.sampled_from([0, 10, 40]),
)
def test_a_saved_recogniser_goes_on_as_if_never_interrupted(
    split: int, debounce_updates: int, new_debounce_updates: int, min_visit_steps: int
) -> None:
    frames = np.concatenate(
        [play(g, 15, 2, seed=v) for v, g in enumerate([0, 1, 2, 0])]
    )
    whole, first, second = (
        recogniser(
            debounce_updates=debounce_updates,
            new_debounce_updates=new_debounce_updates,
            min_visit_steps=min_visit_steps,
        )
        for _ in range(3)
    )
    expected = labels(whole, frames)
    found = labels(first, frames[:split])
    second.load_state_dict(first.state_dict())
    found += labels(second, frames[split:])
    assert found == expected
    end, expected_end = second.state_dict(), whole.state_dict()
    assert end.keys() == expected_end.keys()
    assert all(np.array_equal(end[name], expected_end[name]) for name in expected_end)


def test_a_state_with_other_bins_is_refused() -> None:
    state = recogniser(bins=4).state_dict()
    with pytest.raises(CheckpointError, match=r"must have 14113 .* got 7057"):
        recogniser(bins=8).load_state_dict(state)


def test_frames_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match=r"84x84 or 42x42.*got 64x80"):
        recogniser().observe(np.zeros((1, 64, 80), np.uint8))


@pytest.mark.parametrize("steps_before", [12, 13, 15, 16, 24, 31, 32])
def test_a_new_game_is_noticed_with_its_first_whole_segment(steps_before: int) -> None:
    """Also where a long segment of the tree begins with it: at multiples of 8."""
    fmn = recogniser(debounce_updates=1)
    labels(fmn, play(game=0, steps=steps_before))
    seen = labels(fmn, play(game=1, steps=60))
    wait = -steps_before % MIN_SEGMENT  # until a segment begins
    noticed = seen.index(1)
    assert noticed <= wait + MIN_SEGMENT
    assert set(seen[noticed:]) == {1}
