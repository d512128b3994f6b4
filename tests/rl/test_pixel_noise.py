"""Noise replaces a share of the pixels, once for each frame."""

import itertools

import numpy as np
import pytest

from clrl.config.games import SequenceConfig
from clrl.errors import ConfigError
from clrl.rl.game import GameStep
from clrl.rl.pixel_noise import NoisyGame
from tests.fakes import FakeGames, Rules

SIDE = 40
SHARE = 0.05


def play(share: float, *, seed: int = 3, steps: int = 30) -> list[GameStep]:
    """What two copies of a game of which the episodes end soon show after a reset."""
    rules = Rules(frame_size=SIDE, ends=0.2)
    game = NoisyGame(FakeGames(rules)("a", 2), share)
    nothing = np.zeros(2, np.float32)
    first = game.reset(seed)
    played = [GameStep(first, nothing, nothing > 0, nothing > 0, nothing == 0, first)]
    for _ in range(steps):
        game.send(np.zeros(2, np.int64))
        played.append(game.receive())
    return played


def test_without_noise_a_game_is_as_ever() -> None:
    plain = FakeGames(Rules(frame_size=SIDE, ends=0.2))("a", 2)
    first, *played = play(0.0)
    np.testing.assert_array_equal(first.observations, plain.reset(3))
    for step in played:
        expected = plain.receive()
        np.testing.assert_array_equal(step.observations, expected.observations)
        ended = step.new_episode
        np.testing.assert_array_equal(
            step.final_observations[ended], expected.final_observations[ended]
        )


def test_the_share_of_pixels_that_differ_is_as_asked_and_their_levels_uniform() -> None:
    plain, noisy = (
        np.concatenate([step.observations[:, -1] for step in play(share)])
        for share in (0.0, SHARE)
    )
    differs = plain != noisy
    # One level of 256 is the one that was there.
    assert differs.mean() == pytest.approx(SHARE * 255 / 256, rel=0.05)
    assert differs.mean(axis=(1, 2)).min() > 0
    assert noisy[differs].mean() == pytest.approx(128, abs=4)


def test_a_frame_keeps_its_noise_while_it_moves_through_the_stack() -> None:
    played = play(SHARE)
    for before, after in itertools.pairwise(played):
        last = np.where(
            after.new_episode[:, None, None, None],
            after.final_observations,
            after.observations,
        )
        np.testing.assert_array_equal(before.observations[:, 1:], last[:, :-1])
    assert any(step.new_episode.any() for step in played[1:])


def test_what_pads_the_first_stack_stays_black() -> None:
    begun = np.concatenate(
        [step.observations[step.new_episode] for step in play(SHARE)]
    )
    assert len(begun) > 2
    assert not begun[:, :-1].any()


def test_the_seed_of_the_game_is_that_of_the_noise() -> None:
    first, again, other = play(SHARE), play(SHARE), play(SHARE, seed=4)
    np.testing.assert_array_equal(first[-1].observations, again[-1].observations)
    assert (first[0].observations != other[0].observations).any()


def test_a_share_beyond_all_pixels_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"sequence\.pixel_noise .* got 1\.5"):
        SequenceConfig(pixel_noise=1.5)
