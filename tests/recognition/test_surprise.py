import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clrl.recognition.surprise import UsualSurprise


def taught(surprises: list[float], context: int = 0) -> UsualSurprise:
    usual = UsualSurprise()
    for surprise in surprises:
        usual.learn(context, surprise)
    return usual


def test_of_a_context_of_which_little_is_known_nothing_is_usual() -> None:
    assert not UsualSurprise().includes(3, 0.0)
    assert not taught([1.0] * 7).includes(0, 1.0)
    assert taught([1.0] * 8).includes(0, 1.0)


def test_what_another_model_explains_far_better_is_never_usual() -> None:
    usual = taught([1.0] * 8 + [math.inf] * 8)
    assert usual.includes(0, 1.0)
    assert not usual.includes(0, 2.5)
    assert not usual.includes(0, math.inf)


@given(st.lists(st.floats(100, 120), min_size=8, max_size=100))
def test_usual_is_three_standard_deviations_of_at_least_a_quarter_of_the_mean(
    surprises: list[float],
) -> None:
    usual = taught(surprises)
    mean = float(np.mean(surprises))
    largest = mean + 3 * max(float(np.std(surprises)), mean / 4)
    assert usual.includes(0, largest * 0.999)
    assert not usual.includes(0, largest * 1.001)
    assert usual.includes(0, 0.0)


def test_a_wide_spread_makes_more_usual_than_the_mean_alone() -> None:
    usual = taught([50.0, 150.0] * 20)  # a standard deviation of 50
    assert usual.includes(0, 249.0)
    assert not usual.includes(0, 251.0)


def test_some_odd_frames_do_not_make_such_frames_usual() -> None:
    usual = taught([750.0] * 200 + [2_463.0] * 17)
    assert not usual.includes(0, 2_463.0)


def test_what_is_usual_grows_with_a_game_that_starts_still() -> None:
    assert taught([20.0] * 30 + [500.0] * 300).includes(0, 500.0)


def test_what_was_long_ago_is_forgotten() -> None:
    usual = taught([1_000.0] * 200 + [100.0] * 1_500)
    assert not usual.includes(0, 1_000.0)


def test_contexts_have_their_own_surprises() -> None:
    usual = taught([100.0] * 20, context=0)
    for _ in range(20):
        usual.learn(2, 900.0)
    answers = [usual.includes(context, 800.0) for context in range(3)]
    assert answers == [False, False, True]


@pytest.mark.parametrize("frames", [0, 5, 50])
def test_a_saved_state_goes_on_as_if_never_interrupted(frames: int) -> None:
    usual, loaded = taught(np.linspace(50, 150, frames).tolist()), UsualSurprise()
    saved = usual.state_dict()
    loaded.load_state_dict(saved)
    before = {name: array.copy() for name, array in saved.items()}
    for each in (usual, loaded):
        for surprise in (80.0, 700.0, 90.0):
            each.learn(0, surprise)
    for name, array in usual.state_dict().items():
        assert np.array_equal(loaded.state_dict()[name], array)
        assert np.array_equal(saved[name], before[name])
