"""Games in other modes than their default one, from real ROMs."""

import numpy as np
import pytest

from clrl.errors import ConfigError
from clrl.rl.atari import PROTOCOLS, AtariGame, AtariProtocol
from clrl.rl.atari_modes import AtariModeGame, GameSpec, check_specs, make_atari_game
from clrl.rl.game import VectorGame

NATURE, MACHADO = PROTOCOLS["nature"], PROTOCOLS["machado"]


def newest(game: VectorGame, steps: int) -> np.ndarray:
    """The newest frames of one copy after some steps of doing nothing."""
    observations = game.reset(0)
    for _ in range(steps):
        game.send(np.zeros(1, np.int64))
        observations = game.receive().observations
    game.close()
    return np.asarray(observations[0, -1])


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("pong", GameSpec("pong")),
        ("pong:mode=1", GameSpec("pong", mode=1)),
        ("pong:difficulty=0:mode=1", GameSpec("pong", mode=1, difficulty=0)),
    ],
)
def test_a_game_is_named_with_mode_and_difficulty(text: str, spec: GameSpec) -> None:
    assert GameSpec.parse(text) == spec
    check_specs([text])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("pong:speed=1", "change 'speed=1'"),
        ("pong:mode=fast", "change 'mode=fast'"),
        ("pong:mode=1:mode=0", "change 'mode=0'"),
        ("pong:mode=7", "pong has no mode 7; it has 0, 1"),
        ("pong:difficulty=9", "pong has no difficulty 9; it has 0, 1, 2, 3"),
        ("pomg:mode=1", "did you mean pong"),
    ],
)
def test_what_a_game_has_not_is_refused(text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        check_specs([text])


def test_a_game_without_mode_is_the_fast_one() -> None:
    assert isinstance(make_atari_game("pong", 1, NATURE, 42), AtariGame)
    assert isinstance(make_atari_game("pong:mode=0", 1, NATURE, 42), AtariModeGame)


def test_a_mode_shows_and_asks_for_what_the_fast_game_does() -> None:
    fast, slow = (
        make_atari_game(name, 2, NATURE, 84) for name in ("pong", "pong:mode=0")
    )
    assert slow.observation_space == fast.observation_space
    assert slow.action_space == fast.action_space
    first, other = fast.reset(0), slow.reset(0)
    assert first.shape == other.shape
    assert not other[:, :-1].any()  # zeros pad the stack, as in the fast game
    # No-ops at the start differ, the court is the same.
    assert np.mean(first[:, -1] == other[:, -1]) > 0.98
    fast.close()
    slow.close()


def test_another_mode_looks_different() -> None:
    default = newest(make_atari_game("space_invaders:mode=0", 1, MACHADO, 84), 20)
    invisible = newest(make_atari_game("space_invaders:mode=8", 1, MACHADO, 84), 20)
    again = newest(make_atari_game("space_invaders:mode=8", 1, MACHADO, 84), 20)
    assert (default != invisible).any()
    np.testing.assert_array_equal(invisible, again)


@pytest.mark.parametrize(("rules", "reports"), [(NATURE, True), (MACHADO, False)])
def test_a_lost_life_is_reported_as_the_protocol_says(
    rules: AtariProtocol, reports: bool
) -> None:
    game = make_atari_game("breakout:mode=4", 1, rules, 42)
    game.reset(0)
    terminated, episodes = 0, 0
    for step in range(400):
        game.send(np.array([1 if step % 4 == 0 else 0]))
        seen = game.receive()
        terminated += int(seen.terminated[0])
        episodes += int(seen.new_episode[0])
    game.close()
    assert episodes > 0
    assert (terminated > episodes) == reports
