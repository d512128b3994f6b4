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


@given(st.lists(st.floats(100, 900), min_size=8, max_size=100))
def test_usual_is_three_standard_deviations_or_a_quarter_of_the_mean(
    surprises: list[float],
) -> None:
    usual = taught(surprises)
    mean = float(np.mean(surprises))
    largest = mean + 3 * max(float(np.std(surprises)), mean / 4)
    assert usual.includes(0, largest * 0.999)
    assert not usual.includes(0, largest * 1.001)
    assert usual.includes(0, 0.0)


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
def test_a_saved_state_gives_the_same_answers(frames: int) -> None:
    usual = taught(np.linspace(50, 150, frames).tolist())
    loaded = UsualSurprise()
    loaded.load_state_dict(usual.state_dict())
    for surprise in np.linspace(0, 600, 50):
        assert loaded.includes(0, surprise) == usual.includes(0, surprise)
