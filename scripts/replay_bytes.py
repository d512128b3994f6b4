"""How much the frames take in a compressed memory that a trained agent sees.

python scripts/replay_bytes.py runs/quickstart
"""

import argparse
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64, UInt8
from replay_measurements import Play, memories_of
from report import stamp, write_report

from clrl.config import config_file
from clrl.rl.dqn import ContinualDQN
from clrl.rl.evaluate import under_label
from clrl.run.agent import saved_agent
from clrl.run.sequence import make_evaluator
from clrl.run_directory import RunDirectory

OUTPUT = Path("docs/results/replay_bytes.json")
PACKAGES = ("clrl", "torch", "ale_py", "numpy", "lz4")


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
    report = {
        **stamp(PACKAGES),
        "seed": options.seed,
        "vector_steps": options.vector_steps,
    }
    games: dict[str, Any] = {}
    for run in options.runs:
        directory = RunDirectory.open(run)
        for game, found in bytes_of_trained_play(
            directory, options.vector_steps, options.seed
        ):
            games[game] = found
            print(game, found, flush=True)
    write_report({**report, "games": games}, options.output)


if __name__ == "__main__":
    main()
