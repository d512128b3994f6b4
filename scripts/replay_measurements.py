"""What replay memories take and what sampling costs, with frames raw and compressed."""

import functools
import statistics
from collections.abc import Callable, Mapping
from contextlib import closing

import numpy as np
from jaxtyping import Int64, UInt8
from subjects import BATCH_SIZE, N_ACTIONS, NUM_ENVS
from turns import Measurement, alternate, ratio, repeat

from clrl.rl.atari import PROTOCOLS, AtariGame
from clrl.rl.replay import ReplayMemory
from clrl.rl.replay_budget import ReplayBudget

# From screens that are nearly empty to ones that are full.
GAMES = ("pong", "breakout", "seaquest", "space_invaders", "qbert", "ms_pacman")
KINDS = ("raw", "lz4")

Play = Callable[[UInt8[np.ndarray, "N 4 84 84"]], Int64[np.ndarray, "N"]]
"""Actions for what ``N`` copies of a game show."""


def random_play(seed: int) -> Play:
    """Every action as likely as any other."""
    rng = np.random.default_rng(seed)
    return lambda observations: rng.integers(N_ACTIONS, size=len(observations))


def memories_of(
    game: str, vector_steps: int, seed: int, play: Play | None = None
) -> Mapping[str, ReplayMemory]:
    """A raw and a compressed memory with the same play of ``game``, else at random."""
    play = play or random_play(seed)
    with closing(AtariGame(game, NUM_ENVS, PROTOCOLS["nature"])) as copies:
        memories = {
            kind: ReplayMemory(
                # The ends of episodes take rows of their own.
                2 * NUM_ENVS * (vector_steps + 4),
                copies.observation_space.shape,
                np.dtype(np.uint8),
                task=0,
                num_envs=NUM_ENVS,
                budget=ReplayBudget(2**40),
                n_stack=4,
                frames=kind,
            )
            for kind in KINDS
        }
        observations = copies.reset(seed)
        for _ in range(vector_steps):
            actions = play(observations)
            copies.send(actions)
            step = copies.receive()
            ended = step.new_episode[:, None, None, None]
            followed = np.where(ended, step.final_observations, step.observations)
            for memory in memories.values():
                memory.add(
                    observations,
                    actions,
                    step.rewards,
                    followed,
                    step.terminated,
                    step.new_episode,
                )
            observations = step.observations
    return memories


def compressed_bytes(vector_steps: int, seed: int) -> Measurement:
    """Bytes of a compressed transition in the game where it takes most."""
    takes = {
        f"{game}_bytes": memories_of(game, vector_steps, seed)[
            "lz4"
        ].bytes_per_transition
        for game in GAMES
    }
    return Measurement(value=max(takes.values()), unit="bytes", detail=takes)


def compressed_sampling(
    vector_steps: int, batches: int, turns: int, seed: int
) -> Measurement:
    """Time to sample a minibatch from compressed frames over that from raw ones."""
    memories = memories_of("space_invaders", vector_steps, seed)
    rng = np.random.default_rng(seed)
    seconds = alternate(
        {
            kind: repeat(functools.partial(memory.sample, BATCH_SIZE, rng), batches)
            for kind, memory in memories.items()
        },
        turns,
    )
    return Measurement(
        value=ratio(seconds, "lz4", "raw"),
        unit="times",
        detail={
            f"{kind}_milliseconds": statistics.median(s) / batches * 1e3
            for kind, s in seconds.items()
        },
    )
