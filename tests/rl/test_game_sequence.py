"""The stream of games, as Stable-Baselines3's algorithms see it."""

import dataclasses
from collections import Counter
from contextlib import closing
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st
from stable_baselines3 import DQN, PPO

from clrl.errors import ConfigError
from clrl.rl.atari import PROTOCOLS, AtariGame, AtariProtocol
from clrl.rl.game import VectorGame
from clrl.rl.game_sequence import GameSequence, Visit, fixed_visits, random_visits

from ..fakes import CART_POLES, FakeGames, Rules, cart_pole

NATURE, MACHADO = PROTOCOLS["nature"], PROTOCOLS["machado"]


def atari(
    visits: list[Visit],
    protocol: AtariProtocol = NATURE,
    *,
    num_envs: int = 2,
    seed: int = 0,
) -> GameSequence:
    return GameSequence(
        visits,
        lambda name, n: AtariGame(name, n, protocol, frame_size=42),
        num_envs=num_envs,
        seed=seed,
        clip_rewards=protocol.clip_rewards,
    )


def action_count(sequence: GameSequence) -> int:
    assert isinstance(sequence.action_space, spaces.Discrete)
    return int(sequence.action_space.n)


def stream(sequence: GameSequence, steps: int) -> list[Any]:
    """Everything a sequence emits while it is played at random with a fixed seed."""
    rng = np.random.default_rng(0)
    emitted: list[Any] = [sequence.reset()]
    for _ in range(steps):
        actions = rng.integers(action_count(sequence), size=sequence.num_envs)
        emitted.extend(sequence.step(actions))
    sequence.close()
    return emitted


def are_equal(a: list[Any], b: list[Any]) -> bool:
    try:
        np.testing.assert_equal(a, b)
    except AssertionError:
        return False
    return True


# Visits


def test_fixed_visits_are_the_round_of_games_again_and_again() -> None:
    assert fixed_visits(["a", "b"], 2, 10) == [
        Visit("a", 10),
        Visit("b", 10),
        Visit("a", 10),
        Visit("b", 10),
    ]


@given(
    games=st.integers(1, 6), visits_per_game=st.integers(1, 5), seed=st.integers(0, 99)
)
def test_random_visits_give_each_game_its_visits_and_repeat_none_that_need_not(
    games: int, visits_per_game: int, seed: int
) -> None:
    names = [f"game {i}" for i in range(games)]
    visits = random_visits(names, visits_per_game, 7, np.random.default_rng(seed))
    again = random_visits(names, visits_per_game, 7, np.random.default_rng(seed))
    assert visits == again
    order = [visit.game for visit in visits]
    assert Counter(order) == dict.fromkeys(names, visits_per_game)
    for i, (game, following) in enumerate(pairwise(order)):
        assert following != game or set(order[i + 1 :]) == {game}


def test_random_visits_differ_between_seeds() -> None:
    orders = {
        tuple(random_visits("abcd", 3, 1, np.random.default_rng(seed)))
        for seed in range(10)
    }
    assert len(orders) == 10


# Switches


def played(sequence: GameSequence, steps: int) -> list[tuple[Any, ...]]:
    zeros = np.zeros(sequence.num_envs, np.int64)
    sequence.reset()
    return [sequence.step(zeros) for _ in range(steps)]


def test_a_visit_lasts_for_its_agent_steps_over_all_environments_rounded_up() -> None:
    games = FakeGames(Rules())
    sequence = GameSequence(
        [Visit("a", 10), Visit("b", 7), Visit("a", 4)], games, num_envs=4
    )
    assert sequence.total_steps == 12 + 8 + 4
    seen = []
    sequence.reset()
    for _ in range(8):
        seen.append((sequence.current_game, sequence.current_task))
        sequence.step(np.zeros(4, np.int64))
    # The last game goes on over the end.
    assert seen == 3 * [("a", 0)] + 2 * [("b", 1)] + 3 * [("a", 0)]
    assert [(game.name, game.is_closed) for game in games.made] == [
        ("a", True),
        ("b", True),
        ("a", False),
    ]


def test_a_switch_truncates_the_running_episodes_and_shows_their_last_frames() -> None:
    sequence = GameSequence(
        fixed_visits(["a", "b"], 1, 6), FakeGames(Rules()), num_envs=2
    )
    steps = played(sequence, 4)
    before, at_switch, after = steps[1], steps[2], steps[3]
    assert not before[2].any()
    assert not after[2].any()
    observations, _, dones, infos = at_switch
    assert dones.all()
    for i, info in enumerate(infos):
        assert info["TimeLimit.truncated"] is True
        # The old game's frames, shifted by one; the new game's first stack.
        last = info["terminal_observation"]
        assert np.array_equal(last[:-1], before[0][i][1:])
        assert not np.array_equal(last[-1], before[0][i][-1])
        assert not observations[i][:-1].any()
        assert observations[i][-1].any()


def test_an_episode_that_ends_by_itself_at_a_switch_stays_terminated() -> None:
    games = FakeGames(Rules(ends=1.0))
    sequence = GameSequence(fixed_visits(["a", "b"], 1, 4), games, num_envs=2)
    _, _, dones, infos = played(sequence, 2)[-1]
    assert dones.all()
    for info in infos:
        assert info["TimeLimit.truncated"] is False
        assert "episode" in info


def test_a_life_lost_at_a_switch_stays_terminated() -> None:
    games = FakeGames(Rules(life_losses=1.0))
    sequence = GameSequence(fixed_visits(["a", "b"], 1, 4), games, num_envs=2)
    _, _, dones, infos = played(sequence, 2)[-1]
    assert dones.all()
    for info in infos:
        assert info["TimeLimit.truncated"] is False
        assert "episode" not in info


def test_a_time_limit_is_reported_as_one() -> None:
    games = FakeGames(Rules(truncations=1.0))
    sequence = GameSequence(fixed_visits(["a"], 1, 40), games, num_envs=2)
    _, _, dones, infos = played(sequence, 1)[0]
    assert dones.all()
    assert [info["TimeLimit.truncated"] for info in infos] == [True, True]


def test_a_life_lost_is_done_without_a_last_observation_and_the_stack_goes_on() -> None:
    games = FakeGames(Rules(life_losses=1.0))
    sequence = GameSequence(fixed_visits(["a"], 1, 40), games, num_envs=2)
    steps = played(sequence, 5)
    for (observations, *_), (following, _, dones, infos) in pairwise(steps):
        assert dones.all()
        assert infos == [{}, {}]
        assert np.array_equal(following[:, :-1], observations[:, 1:])


def test_episodes_report_raw_returns_while_rewards_are_clipped() -> None:
    games = FakeGames(Rules(truncations=0.2, reward=-3.5))
    sequence = GameSequence(
        fixed_visits(["a"], 1, 400), games, num_envs=2, clip_rewards=True
    )
    lengths = np.zeros(2, np.int64)
    episodes = 0
    for _, rewards, dones, infos in played(sequence, 100):
        assert rewards.tolist() == [-1.0, -1.0]
        lengths += 1
        for i in np.flatnonzero(dones):
            assert infos[i]["episode"]["l"] == lengths[i]
            assert infos[i]["episode"]["r"] == -3.5 * lengths[i]
            lengths[i] = 0
            episodes += 1
    assert episodes > 10


def test_an_episode_cut_by_a_switch_has_no_return_and_leaves_none_behind() -> None:
    games = FakeGames(Rules(ends=0.3, reward=1.0))
    sequence = GameSequence(fixed_visits(["a", "b"], 5, 6), games, num_envs=2)
    for step, (_, _, _, infos) in enumerate(played(sequence, 30), start=1):
        for info in infos:
            if "episode" in info:
                assert (
                    info["episode"]["r"] == info["episode"]["l"] <= (step - 1) % 3 + 1
                )


def test_infos_do_not_tell_the_game() -> None:
    games = FakeGames(Rules(ends=0.1, truncations=0.1, life_losses=0.1))
    sequence = GameSequence(fixed_visits(["a", "b"], 3, 20), games, num_envs=4)
    for _, _, _, infos in played(sequence, 30):
        for info in infos:
            assert set(info) <= {
                "terminal_observation",
                "TimeLimit.truncated",
                "episode",
            }
            assert set(info.get("episode", {})) <= {"r", "l", "t"}


def test_games_that_return_begin_new_episodes_of_their_own() -> None:
    sequence = atari([Visit("breakout", 2)] * 4)
    starts: list[Any] = [sequence.reset()]
    for _ in range(3):
        observations, _, dones, _ = sequence.step(np.zeros(2, np.int64))
        assert dones.all()
        starts.append(observations)
    sequence.close()
    assert len({start.tobytes() for start in starts}) > 1


# What is refused


@pytest.mark.parametrize(
    "actions", [[0, 18], [-1, 0], [0], [0, 0, 0]], ids=["high", "low", "few", "many"]
)
def test_an_invalid_action_is_refused_before_the_emulator_hangs(
    actions: list[int],
) -> None:
    sequence = atari([Visit("pong", 100)])
    sequence.reset()
    with pytest.raises(ValueError, match=r"2 actions in 0\.\.17"):
        sequence.step(np.array(actions))
    sequence.step(np.zeros(2, np.int64))
    sequence.close()


def test_no_visits_are_refused() -> None:
    with pytest.raises(ConfigError, match="at least one visit"):
        GameSequence([], FakeGames(Rules()))


def test_a_visit_without_steps_is_refused() -> None:
    with pytest.raises(ConfigError, match="positive number of agent steps"):
        GameSequence([Visit("a", 0)], FakeGames(Rules()))


def test_games_with_other_spaces_are_refused_when_they_come() -> None:
    def make(name: str, num_envs: int) -> VectorGame:
        rules = Rules(frame_size=5 if name == "a" else 6)
        return FakeGames(rules)(name, num_envs)

    sequence = GameSequence(fixed_visits(["a", "b"], 1, 2), make, num_envs=2)
    sequence.reset()
    with pytest.raises(ConfigError, match="same observation space: a has"):
        sequence.step(np.zeros(2, np.int64))


def test_an_unknown_game_is_refused_with_the_nearest_names() -> None:
    with pytest.raises(ConfigError, match="did you mean breakout"):
        atari([Visit("brakeout", 10)])


@pytest.mark.parametrize("game", ["skiing", "warlords"])
def test_games_that_would_hang_or_end_the_process_are_refused(game: str) -> None:
    with pytest.raises(ConfigError, match="unknown game"):
        atari([Visit(game, 10)])


def test_environments_without_box_observations_are_refused() -> None:
    with pytest.raises(TypeError, match="FlattenObservation"):
        GameSequence([Visit("FrozenLake-v1", 10)], cart_pole, num_envs=1)


# Protocols


def test_the_same_seed_and_actions_give_the_same_stream() -> None:
    visits = fixed_visits(["pong", "breakout"], 2, 60)
    first, second = (stream(atari(visits), 130) for _ in range(2))
    assert are_equal(first, second)


def test_another_seed_gives_another_stream() -> None:
    visits = [Visit("breakout", 60)]
    first, second = (stream(atari(visits, seed=seed), 30) for seed in (0, 1))
    assert not are_equal(first, second)


def test_machado_repeats_actions_at_random() -> None:
    visits = [Visit("breakout", 200)]
    exact = dataclasses.replace(MACHADO, repeat_action_probability=0.0)
    sticky, other = (stream(atari(visits, p), 60) for p in (MACHADO, exact))
    assert np.array_equal(sticky[0], other[0])
    assert not are_equal(sticky, other)


@pytest.mark.parametrize("protocol", [NATURE, MACHADO], ids=["nature", "machado"])
def test_only_nature_ends_episodes_with_each_life(protocol: AtariProtocol) -> None:
    sequence = atari([Visit("breakout", 10_000)], protocol, num_envs=4)
    rng = np.random.default_rng(0)
    sequence.reset()
    lives = games = 0
    for _ in range(250):
        _, _, dones, infos = sequence.step(rng.integers(18, size=4))
        ended = np.array(["terminal_observation" in info for info in infos])
        assert (dones | ~ended).all()
        games += int(ended.sum())
        lives += int((dones & ~ended).sum())
    sequence.close()
    assert games > 0
    # Five lives; the last one ends the game.
    assert lives >= 4 * games if protocol is NATURE else lives == 0


@pytest.mark.parametrize("max_episode_steps", [1, 3])
def test_time_limits_shorter_than_the_no_ops_end_episodes(
    max_episode_steps: int,
) -> None:
    protocol = dataclasses.replace(NATURE, max_episode_frames=4 * max_episode_steps)
    game = AtariGame("pong", 3, protocol, frame_size=42)
    game.reset(seed=3)
    for step in range(1, 25):
        game.send(np.zeros(3, np.int64))
        came = game.receive()
        expected = step % max_episode_steps == 0
        assert came.truncated.tolist() == [expected] * 3
        assert came.new_episode.tolist() == [expected] * 3
    game.close()


def test_every_game_offers_all_18_actions_and_stacks_of_four_frames() -> None:
    for name in ("pong", "breakout"):
        game = AtariGame(name, 1, NATURE)
        assert game.action_space == spaces.Discrete(18)
        assert game.observation_space == spaces.Box(0, 255, (4, 84, 84), np.uint8)
        assert not game.reset(seed=0)[0, :3].any()
        game.close()


def test_why_a_game_cannot_start_is_told_although_the_last_one_is_closed() -> None:
    sequence = GameSequence(
        fixed_visits(["pong", "no_such_game"], 1, 4),
        lambda name, n: AtariGame(name, n, NATURE, frame_size=42),
        num_envs=2,
        seed=0,
    )
    with pytest.raises(ConfigError, match="no_such_game"), closing(sequence):
        sequence.reset()
        for _ in range(2):
            sequence.step(np.zeros(2, np.int64))


def test_a_protocol_says_its_rules_in_one_line() -> None:
    assert "a lost life ends" in str(NATURE)
    assert "sticky actions 0.25" in str(MACHADO)
    assert "\n" not in str(NATURE) + str(MACHADO)


# Any Stable-Baselines3 algorithm


def test_ppo_runs_unchanged_on_a_sequence_of_atari_games() -> None:
    sequence = atari(fixed_visits(["pong", "breakout"], 1, 40))
    model = PPO(
        "CnnPolicy", sequence, n_steps=16, batch_size=16, n_epochs=1, device="cpu"
    )
    model.learn(96)
    assert sequence.current_game == "breakout"
    assert model.num_timesteps == 96
    sequence.close()


def test_dqn_runs_unchanged_on_a_sequence_of_atari_games() -> None:
    sequence = atari(fixed_visits(["pong", "breakout"], 1, 40))
    model = DQN(
        "CnnPolicy",
        sequence,
        buffer_size=100,
        learning_starts=10,
        batch_size=8,
        train_freq=4,
        device="cpu",
    )
    model.learn(80)
    assert sequence.current_game == "breakout"
    assert model._n_updates > 0
    sequence.close()


def test_ppo_and_dqn_run_unchanged_on_a_sequence_of_gymnasium_environments() -> None:
    algorithms: list[tuple[Any, dict[str, int]]] = [
        (PPO, {"n_steps": 32, "batch_size": 32}),
        (DQN, {"learning_starts": 20, "buffer_size": 200}),
    ]
    for algorithm, options in algorithms:
        sequence = GameSequence(fixed_visits(CART_POLES, 2, 60), cart_pole, num_envs=2)
        model = algorithm("MlpPolicy", sequence, device="cpu", **options)
        model.learn(240)
        assert sequence.visit_index == 3
        sequence.close()
        assert len(model.ep_info_buffer or ()) > 0
