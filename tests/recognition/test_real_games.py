"""The recogniser's defaults on real games; ROMs are part of ale-py."""

import gymnasium
import numpy as np
import pytest
from ale_py.vector_env import AtariVectorEnv
from jaxtyping import UInt8

from clrl.evaluation.recognition import (
    Timeline,
    adjusted_rand_index,
    contingency,
    switch_delays_steps,
)
from clrl.recognition.recognisers import FlatForgetMeNotRecogniser

GAMES = ("freeway", "road_runner", "space_invaders")
STEPS_PER_VISIT = 1_500


def random_play(
    game: str, environments: int, side: int, seed: int
) -> UInt8[np.ndarray, "T N H W"]:
    """Newest frames under a uniformly random policy over all 18 actions."""
    games = AtariVectorEnv(
        game,
        num_envs=environments,
        num_threads=1,
        img_height=side,
        img_width=side,
        stack_num=1,
        full_action_space=True,
        life_loss_info=True,
        autoreset_mode=gymnasium.vector.AutoresetMode.SAME_STEP,
    )
    rng = np.random.default_rng(seed)
    observation, _ = games.reset(seed=seed)
    frames = []
    for _ in range(STEPS_PER_VISIT // environments):
        frames.append(observation[:, -1])
        observation, *_ = games.step(rng.integers(18, size=environments))
    return np.stack(frames)


@pytest.mark.parametrize(("environments", "side"), [(8, 84), (1, 42)])
def test_each_game_is_one_context_and_its_return_is_noticed(
    environments: int, side: int
) -> None:
    config = FlatForgetMeNotRecogniser()
    recogniser = config.build(lambda: 0)
    starts: list[int] = []
    labels: list[int] = []
    for visit, game in enumerate(GAMES + GAMES):
        starts.append(len(labels))
        frames = random_play(game, environments, side, seed=visit)
        labels += [recogniser.observe(frame) for frame in frames]

    total = len(labels)
    truth = Timeline(np.array(starts, np.int64), np.tile(np.arange(3), 2))
    inferred = Timeline(np.arange(total), np.array(labels, np.int64))
    table = contingency(truth, inferred, total)
    delays = switch_delays_steps(truth, inferred, total)

    assert recogniser.contexts == len(GAMES)
    assert table.argmax(axis=1).tolist() == [0, 1, 2]
    window = config.window_updates * config.update_period_steps
    assert delays.max() <= (2 + config.debounce_windows) * window
    assert delays.min() > 0
    # Each switch costs its delay, and nothing else is mislabelled.
    right = table.max(axis=1).sum()
    assert total - right == delays.sum()
    assert adjusted_rand_index(table) > 0.5
