"""The recogniser's defaults on real games; ROMs are part of ale-py."""

from typing import NamedTuple

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
from clrl.recognition.recognisers import (
    FlatForgetMeNotRecogniser,
    ForgetMeNotRecogniser,
    RecogniserConfig,
)
from clrl.rl.atari import PROTOCOLS, AtariGame

GAMES = ("freeway", "road_runner", "space_invaders")
STEPS_PER_VISIT = 800


def two_visits(
    game: str, environments: int, side: int
) -> UInt8[np.ndarray, "2 T N H W"]:
    """Newest frames of two visits under a uniformly random policy over all actions."""
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
    rng = np.random.default_rng(0)
    visits = []
    for seed in range(2):
        observation, _ = games.reset(seed=seed)
        frames = [observation[:, -1]]
        while len(frames) * environments < STEPS_PER_VISIT:
            observation, *_ = games.step(rng.integers(18, size=environments))
            frames.append(observation[:, -1])
        visits.append(np.stack(frames))
    return np.stack(visits)


class Labelled(NamedTuple):
    """Each game twice, in turn; steps are those of the vector environment."""

    contexts: int
    truth: Timeline
    inferred: Timeline
    total: int


def label(config: RecogniserConfig, environments: int, side: int) -> Labelled:
    recogniser = config.build(lambda: 0)
    frames = [two_visits(game, environments, side) for game in GAMES]
    stream = [frames[game][visit] for visit in range(2) for game in range(len(GAMES))]
    labels = [recogniser.observe(frame) for visit in stream for frame in visit]
    starts = np.arange(len(stream)) * len(stream[0])
    return Labelled(
        recogniser.contexts,
        Timeline(starts, np.tile(np.arange(len(GAMES)), 2)),
        Timeline(np.arange(len(labels)), np.array(labels, np.int64)),
        len(labels),
    )


@pytest.mark.parametrize(("environments", "side"), [(4, 84), (1, 42)])
def test_each_game_is_one_context_and_its_return_is_noticed(
    environments: int, side: int
) -> None:
    config = FlatForgetMeNotRecogniser()
    contexts, truth, inferred, total = label(config, environments, side)
    table = contingency(truth, inferred, total)
    delays = switch_delays_steps(truth, inferred, total)

    assert contexts == len(GAMES)
    assert table.argmax(axis=1).tolist() == [0, 1, 2]
    # An update comes with each step of four environments, every fourth step of one.
    window = config.window_updates * config.update_period_steps // environments
    assert delays.min() > 0
    assert delays.max() <= (2 + config.new_debounce_windows) * window
    # A switch costs its delay, and nothing else is mislabelled.
    assert total - table.max(axis=1).sum() == delays.sum()
    assert adjusted_rand_index(table) > 0.7


@pytest.mark.parametrize(("environments", "side"), [(4, 84), (1, 42)])
def test_the_partition_tree_knows_a_game_that_returns_by_its_first_frames(
    environments: int, side: int
) -> None:
    config = ForgetMeNotRecogniser()
    contexts, truth, inferred, total = label(config, environments, side)
    table = contingency(truth, inferred, total)
    delays = switch_delays_steps(truth, inferred, total)

    assert contexts == len(GAMES)
    assert table.argmax(axis=1).tolist() == [0, 1, 2]
    update = config.update_period_steps // environments
    # A segment may have to wait for the tree's next one to begin.
    longest_new = 2 * config.segment_updates + config.new_debounce_updates
    assert delays[: len(GAMES) - 1].max() <= longest_new * update
    of_returns = delays[len(GAMES) - 1 :]
    assert of_returns.max() <= (1 + config.debounce_updates) * update
    assert total - table.max(axis=1).sum() == delays.sum()


@pytest.mark.parametrize("name", [FlatForgetMeNotRecogniser, ForgetMeNotRecogniser])
def test_the_rooms_of_a_game_that_never_ends_are_one_context(
    name: type[FlatForgetMeNotRecogniser | ForgetMeNotRecogniser],
) -> None:
    krull = AtariGame("krull", 1, PROTOCOLS["nature"])
    rooms = name().build(lambda: 0)
    one = name(min_visit_steps=2_000).build(lambda: 0)
    rng = np.random.default_rng(0)
    frames = krull.reset(0)[:, -1]
    labels, tasks = set(), set()
    for _ in range(3_000):
        labels.add(rooms.observe(frames))
        tasks.add(one.observe(frames))
        krull.send(rng.integers(18, size=1))
        frames = krull.receive().observations[:, -1]
    krull.close()
    assert len(labels) > 1
    assert tasks == {0}
    assert one.contexts == 1
