import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import UInt8

from clrl.errors import CheckpointError
from clrl.recognition.flat_forget_me_not import (
    FlatForgetMeNot,
    condition,
    transition_log_prior,
)
from clrl.recognition.pixel_model import expected_screen
from clrl.recognition.protocol import ScreenRecogniser
from tests.recognition.screens import play, still_screen

WINDOW_STEPS = 4


def recogniser(
    *,
    bins: int = 8,
    update_period_steps: int = 1,
    max_contexts: int = 10,
    debounce_windows: int = 1,
    min_visit_steps: int = 0,
) -> FlatForgetMeNot:
    return FlatForgetMeNot(
        bins=bins,
        prior=0.05,
        window_updates=WINDOW_STEPS,
        update_period_steps=update_period_steps,
        max_contexts=max_contexts,
        debounce_windows=debounce_windows,
        new_debounce_windows=debounce_windows,
        min_visit_steps=min_visit_steps,
    )


def labels(
    recogniser: FlatForgetMeNot, frames: UInt8[np.ndarray, "T N 42 42"]
) -> list[int]:
    return [recogniser.observe(frame) for frame in frames]


def posterior_by_enumeration(
    initial: list[float], likelihoods: list[list[float]], rates: list[float]
) -> list[float]:
    """Sums over all sequences of states; ``rates[t]`` is the switch rate into ``t``."""
    states = range(len(initial))
    mass = [0.0] * len(initial)
    for path in itertools.product(states, repeat=len(likelihoods)):
        weight = initial[path[0]]
        for step, state in enumerate(path):
            weight *= likelihoods[step][state]
            if step:
                stays = path[step - 1] == state
                rate = rates[step]
                weight *= 1 - rate if stays else rate / (len(initial) - 1)
        mass[path[-1]] += weight
    return [m / sum(mass) for m in mass]


@given(
    likelihoods=st.lists(
        st.lists(st.floats(1e-3, 1), min_size=3, max_size=3), min_size=1, max_size=5
    )
)
def test_the_filter_agrees_with_enumerating_all_sequences(
    likelihoods: list[list[float]],
) -> None:
    initial = [0.5, 0.3, 0.2]
    rates = [1 / (t + 1) for t in range(len(likelihoods))]
    log_posterior = condition(np.log(initial), np.log(likelihoods[0]))
    for rate, likelihood in zip(rates[1:], likelihoods[1:], strict=True):
        log_prior = transition_log_prior(log_posterior, rate)
        log_posterior = condition(log_prior, np.log(likelihood))
    np.testing.assert_allclose(
        np.exp(log_posterior),
        posterior_by_enumeration(initial, likelihoods, rates),
        rtol=1e-9,
    )


@given(
    weights=st.lists(st.floats(1e-6, 1), min_size=2, max_size=6),
    rate=st.floats(0, 1),
)
def test_the_transition_keeps_a_distribution(weights: list[float], rate: float) -> None:
    posterior = np.array(weights) / sum(weights)
    prior = np.exp(transition_log_prior(np.log(posterior), rate))
    assert math.isclose(prior.sum(), 1, rel_tol=1e-9)


def test_one_game_is_one_context() -> None:
    fmn = recogniser()
    assert set(labels(fmn, play(game=0, steps=200))) == {0}
    assert fmn.contexts == 1


@pytest.mark.parametrize("grey", [0, 128, 255])
def test_blank_frames_are_one_context(grey: int) -> None:
    fmn = recogniser()
    assert set(labels(fmn, np.full((100, 2, 42, 42), grey, np.uint8))) == {0}
    assert fmn.contexts == 1


def test_games_that_return_get_their_old_labels() -> None:
    fmn = recogniser()
    schedule = [0, 1, 2, 0, 2, 1]
    visits = [labels(fmn, play(g, 60, seed=v)) for v, g in enumerate(schedule)]
    assert [visit[-1] for visit in visits] == schedule
    assert fmn.contexts == 3


@pytest.mark.parametrize("environments", [1, 3, 8])
def test_a_switch_is_found_within_the_debounced_windows(environments: int) -> None:
    fmn = recogniser(debounce_windows=1)
    labels(fmn, play(0, 38, environments))
    after = labels(fmn, play(1, 40, environments))
    assert after.index(1) <= 3 * WINDOW_STEPS
    assert set(after[after.index(1) :]) == {1}


def test_a_window_that_straddles_a_switch_makes_no_context_when_debounced() -> None:
    straddling = np.concatenate([play(0, 42), play(1, 42), play(0, 42)])
    straddling = np.concatenate([straddling] * 4)
    debounced = recogniser(debounce_windows=1)
    labels(debounced, straddling)
    assert debounced.contexts == 2


def test_a_flash_of_the_screen_is_ignored_when_debounced() -> None:
    frames = play(0, 120)
    frames[60:62] = 255
    fmn = recogniser(debounce_windows=1)
    assert set(labels(fmn, frames)) == {0}
    assert fmn.contexts == 1


def test_rooms_of_a_game_become_one_task_and_stay_it() -> None:
    fmn = recogniser(min_visit_steps=100)
    rooms = np.concatenate([play(room, 40) for room in (0, 1, 0, 1)])
    assert labels(fmn, rooms)[-1] == 0
    assert set(labels(fmn, play(1, 60))) == {0}
    assert fmn.recognise(play(1, 5, 2, seed=9)) == 0
    assert fmn.posterior.argmax() == 0
    assert labels(fmn, play(2, 120))[-1] == 1
    assert fmn.contexts == len(fmn.expected_screens()) == 2
    both = fmn.state_dict()["counts"][:2].sum(axis=0)
    np.testing.assert_allclose(
        fmn.expected_screens()[0], expected_screen(both, bins=8, prior=0.05)
    )


def test_a_new_context_waits_longer_than_a_known_one() -> None:
    fmn = FlatForgetMeNot(
        bins=8,
        prior=0.05,
        window_updates=WINDOW_STEPS,
        update_period_steps=1,
        max_contexts=10,
        debounce_windows=1,
        new_debounce_windows=3,
    )
    labels(fmn, play(0, 40))
    assert labels(fmn, play(1, 40)).index(1) == 4 * WINDOW_STEPS - 1
    assert labels(fmn, play(0, 40)).index(0) == 2 * WINDOW_STEPS - 1


def test_only_the_winner_keeps_what_it_learnt() -> None:
    fmn = recogniser()
    labels(fmn, np.concatenate([play(0, 40), play(1, 40)]))
    before = fmn.state_dict()
    labels(fmn, play(1, 8, seed=5))
    after = fmn.state_dict()
    assert (after["updates"] - before["updates"]).tolist() == [0, 8, 0]
    assert np.array_equal(after["counts"][0], before["counts"][0])


def test_the_hold_out_cannot_win_at_the_cap() -> None:
    fmn = recogniser(max_contexts=2)
    labels(fmn, np.concatenate([play(game, 40) for game in range(5)]))
    assert fmn.contexts == 2
    assert fmn.posterior[-1] == 0


def test_the_posterior_is_a_distribution_over_contexts_and_hold_out() -> None:
    fmn = recogniser()
    labels(fmn, np.concatenate([play(game, 40) for game in range(3)]))
    assert fmn.posterior.shape == (4,)
    assert math.isclose(fmn.posterior.sum(), 1, rel_tol=1e-9)
    assert fmn.posterior.argmax() == 2


def test_environments_take_turns() -> None:
    fmn = recogniser()
    first, second = still_screen(0), still_screen(1)
    labels(fmn, np.tile(np.stack([first, second]), (4, 1, 1, 1)))
    used = fmn.state_dict()["counts"][0].reshape(8, 42, 42)
    assert used[first[0, 0] // 32, 0, 0] == 4
    assert used[second[0, 0] // 32, 0, 0] == 4


@pytest.mark.parametrize(
    ("environments", "calls_in_six_updates"),
    [(1, 36), (2, 18), (3, 12), (4, 9), (6, 6), (12, 3)],
)
def test_an_update_comes_once_in_a_period_of_all_environments_decisions(
    environments: int, calls_in_six_updates: int
) -> None:
    fmn = recogniser(update_period_steps=6)
    labels(fmn, play(0, 2 * calls_in_six_updates, environments))
    assert fmn.state_dict()["updates"].tolist() == [12, 0]


def test_a_call_may_bring_several_updates() -> None:
    fmn = recogniser(update_period_steps=2)
    labels(fmn, play(0, 6, environments=8))
    assert fmn.state_dict()["updates"].tolist() == [24, 0]


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
    labels(fmn, np.concatenate([play(game, 40) for game in range(3)]))
    before = fmn.state_dict()
    found = [fmn.recognise(play(game, 5, 2, seed=9)) for game in (2, 0, 1, 7)]
    after = fmn.state_dict()
    assert found[:3] == [2, 0, 1]
    assert found[3] < fmn.contexts
    assert all(np.array_equal(before[name], after[name]) for name in before)


@settings(max_examples=25)
@given(
    split=st.integers(0, 120),
    debounce_windows=st.integers(0, 2),
    min_visit_steps=st.sampled_from([0, 20, 70]),
)
def test_a_saved_recogniser_goes_on_as_if_never_interrupted(
    split: int, debounce_windows: int, min_visit_steps: int
) -> None:
    frames = np.concatenate(
        [play(g, 30, 2, seed=v) for v, g in enumerate([0, 1, 2, 0])]
    )
    whole, first, second = (
        recogniser(
            update_period_steps=2,
            debounce_windows=debounce_windows,
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
    assert all(np.array_equal(end[name], expected_end[name]) for name in expected_end)


def test_a_saved_state_does_not_change_with_the_recogniser() -> None:
    fmn = recogniser()
    labels(fmn, play(0, 20))
    saved = fmn.state_dict()
    copy = {name: array.copy() for name, array in saved.items()}
    labels(fmn, play(1, 40))
    assert all(np.array_equal(saved[name], copy[name]) for name in copy)


def test_a_state_with_other_bins_is_refused() -> None:
    state = recogniser(bins=4).state_dict()
    with pytest.raises(CheckpointError, match=r"must have 14112 .* got 7056.*set bins"):
        recogniser(bins=8).load_state_dict(state)
