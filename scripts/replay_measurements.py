"""What replay memories take and what sampling costs, with frames raw and compressed.

A part of ``scripts/benchmark``, under random play, and a command of its own, which asks
how much the frames take that a trained agent sees:

    python scripts/replay_measurements.py runs/quickstart
"""

import argparse
import datetime
import functools
import json
import statistics
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64, UInt8
from machine import machine
from subjects import BATCH_SIZE, N_ACTIONS, NUM_ENVS
from turns import Measurement, alternate, ratio, repeat

from clrl.config import config_file
from clrl.rl.atari import PROTOCOLS, AtariGame
from clrl.rl.dqn import ContinualDQN
from clrl.rl.evaluate import under_label
from clrl.rl.replay import ReplayMemory
from clrl.rl.replay_budget import ReplayBudget
from clrl.run.agent import saved_agent
from clrl.run.sequence import make_evaluator
from clrl.run_directory import RunDirectory

# From screens that are nearly empty to ones that are full.
GAMES = ("pong", "breakout", "seaquest", "space_invaders", "qbert", "ms_pacman")
KINDS = ("raw", "lz4")
OUTPUT = Path("docs/results/replay_bytes.json")
PACKAGES = ("clrl", "torch", "ale_py", "numpy", "lz4")

Play = Callable[[UInt8[np.ndarray, "N 4 84 84"]], Int64[np.ndarray, "N"]]
"""Actions for what ``N`` copies of a game show."""


def random_play(seed: int) -> Play:
    """Every action as likely as any other."""
    rng = np.random.default_rng(seed)
    return lambda observations: rng.integers(N_ACTIONS, size=len(observations))


def agents_play(agent: ContinualDQN, eps: float, seed: int) -> Play:
    """What the agent does under its label; it may see frames half as wide and high."""
    rng = np.random.default_rng(seed)
    space = agent.observation_space.shape
    assert space is not None
    side = space[-1]

    def act(
        observations: UInt8[np.ndarray, "N 4 84 84"],
    ) -> Int64[np.ndarray, "N"]:
        blocks = observations.reshape(
            *observations.shape[:2], side, 84 // side, side, 84 // side
        )
        seen = blocks.mean(axis=(3, 5)).round().astype(np.uint8)
        return agent.act(seen, eps, rng)

    return act


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


def bytes_of_trained_play(
    run: RunDirectory, vector_steps: int, seed: int
) -> Iterator[tuple[str, dict[str, float]]]:
    """Bytes of a compressed transition in each game of a run, and what play returned.

    The agent acts under the label that it infers from each game, with the ε of its
    evaluation; frames are kept at 84x84, whatever the agent sees.
    """
    config = config_file.read_game_config(run.config)
    evaluator = make_evaluator(config, config.evaluation.episodes)
    eps = config.evaluation.exploration_eps
    with saved_agent(config, run) as (agent, _):
        returns = {score.game: score.returns for score in evaluator.scores(agent)}
        for game in config.games:
            plain = memories_of(game, vector_steps, seed)
            with under_label(agent, evaluator.infer_label(agent, game)):
                trained = memories_of(
                    game, vector_steps, seed, agents_play(agent, eps, seed)
                )
            yield (
                game,
                {
                    "mean_return": statistics.fmean(returns[game]),
                    "random_play_bytes": plain["lz4"].bytes_per_transition,
                    "trained_play_bytes": trained["lz4"].bytes_per_transition,
                },
            )


def main() -> None:
    """Measures, prints and writes a JSON file."""
    parser = argparse.ArgumentParser(description="Bytes of what trained agents see.")
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="JSON to write")
    parser.add_argument("--vector-steps", type=int, default=800, help="of each game")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    games: dict[str, Any] = {}
    for run in options.runs:
        directory = RunDirectory.open(run)
        for game, found in bytes_of_trained_play(
            directory, options.vector_steps, options.seed
        ):
            games[game] = found
            print(game, found, flush=True)
    report = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "seed": options.seed,
        "vector_steps": options.vector_steps,
        "machine": machine(PACKAGES),
        "games": games,
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
