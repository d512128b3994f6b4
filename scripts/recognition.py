"""How well recognisers tell games apart: cases and seeds, one small JSON file each.

Run from the repository's root; a case takes from minutes to an hour on one core:

    python scripts/recognition.py one_environment noise --seeds 0 1
    clrl train atari/games19_agent --name games19_agent
    python scripts/recognition.py trained_policy --agent runs/games19_agent
    python scripts/recognition.py --scores --agent runs/games19_agent
    scripts/quickstart --name quickstart
    python scripts/recognition.py skilled_policy --agent runs/quickstart
    python scripts/recognition.py --page   # runs nothing, writes the tables of the page

What else stands there overrides the config, as for ``clrl recognise``. All recognisers
of a case and seed see the same play.
"""

import argparse
import dataclasses
import json
import math
import platform
import statistics
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from recognition_page import AGENT, write_page

from clrl.config import config_file
from clrl.config.library import find_config
from clrl.evaluation.recognition import false_switches
from clrl.progress import SilentListener
from clrl.recognise.games import recognise_each
from clrl.report.recognition import RecognisedStream
from clrl.run.agent import saved_agent
from clrl.run.sequence import make_evaluator
from clrl.run_directory import RunDirectory

CONFIG = "atari/games19"
RESULTS = Path("docs/results/recognition")

SCORE_EPISODES = 4
SCORE_STEPS = 600

EIGHT = ("--sequence.num_envs", "8", "--sequence.visit_steps", "48_000")
SMALL = ("--sequence.frame_size", "42")
"""The frames of the trained agent."""


def one_game(game: str, agent_steps: str) -> tuple[str, ...]:
    """A stream that never switches."""
    return (
        *("--games", game, "--sequence.visits_per_game", "1"),
        *("--sequence.num_envs", "8", "--sequence.visit_steps", agent_steps),
    )


def modes(game: str, numbers: Sequence[int]) -> tuple[str, ...]:
    """Modes of one game as if they were games; every difference may tell them apart."""
    names = ",".join(f"{game}:mode={number}" for number in numbers)
    return (
        *("--games", names, "--sequence.visit_steps", "2_000"),
        *("--recogniser.min_visit_steps", "0"),
    )


CASES: Mapping[str, tuple[str, ...]] = {
    "one_environment": (),
    "without_visits": ("--recogniser.min_visit_steps", "0"),
    "eight_environments": EIGHT,
    "sticky": ("--sequence.protocol", "machado"),
    "noise": ("--sequence.pixel_noise", "0.05"),
    "trained_policy": SMALL,
    "trained_policy_eight_environments": (*SMALL, *EIGHT),
    "skilled_policy": (
        *(*SMALL, "--games", "freeway,road_runner,space_invaders"),
        *("--sequence.visits_per_game", "5"),
    ),
    "only_pong": one_game("pong", "1_000_000"),
    "only_krull": one_game("krull", "200_000"),
    "only_enduro": one_game("enduro", "200_000"),
    "only_riverraid": one_game("riverraid", "200_000"),
    "modes_freeway": modes("freeway", range(8)),
    "modes_breakout": modes("breakout", range(0, 48, 4)),
    "modes_space_invaders": modes("space_invaders", range(16)),
}
"""What each case changes in the config ``atari/games19``."""

TRAINED = ("trained_policy", "trained_policy_eight_environments", "skilled_policy")
"""Cases in which the agent plays that is named by ``--agent``; the skilled one is the
quickstart's, which plays freeway and road_runner well."""

RECOGNISERS: Mapping[str, tuple[str, ...]] = {
    "flat_fmn": (),
    "fmn": (
        *("--recogniser", "fmn", "--recogniser.min_visit_steps", "4_000"),
        *("--recogniser.max_contexts", "64"),
    ),
}


def run_case(
    case: str,
    recognisers: Sequence[str],
    seed: int,
    further: Sequence[str],
    agent_run: RunDirectory | None,
) -> dict[str, dict[str, Any]]:
    """Runs one case and gives its measures by recogniser."""
    overrides = {
        name: [*RECOGNISERS[name], *CASES[case], *further, "--seed", str(seed)]
        for name in recognisers
    }
    configs = [
        config_file.read_game_config(find_config(CONFIG), words)
        for words in overrides.values()
    ]
    streams = recognise_each(configs, agent_run, SilentListener())
    return {
        name: {
            "case": case,
            "recogniser": name,
            "seed": seed,
            "config": CONFIG,
            "overrides": overrides[name],
            **result_of(stream),
            "date": datetime.now(UTC).date().isoformat(),
            "machine": platform.machine(),
        }
        for name, stream in zip(recognisers, streams, strict=True)
    }


def result_of(stream: RecognisedStream) -> dict[str, Any]:
    """What is kept of a stream: the measures, and where games split or are left."""
    table = stream.contingency()
    false = false_switches(stream.truth, stream.labels, stream.total_steps)
    return {
        "policy": stream.policy,
        "agent_steps": stream.total_steps,
        "measures": {
            name: None if math.isnan(value) else value
            for name, value in stream.measures()._asdict().items()
        },
        "false_switches_by_game": {
            game: int(count)
            for game, count in zip(stream.games, false, strict=True)
            if count
        },
        "steps_by_game_and_label": {
            game: {str(label): int(steps) for label, steps in enumerate(row) if steps}
            for game, row in zip(stream.games, table, strict=True)
        },
    }


def scores_of(agent_run: RunDirectory) -> dict[str, Any]:
    """How an agent plays its games, beside a random policy."""
    config = config_file.read_game_config(agent_run.config)
    evaluation = dataclasses.replace(config.evaluation, max_episode_steps=SCORE_STEPS)
    config = dataclasses.replace(config, evaluation=evaluation)
    evaluator = make_evaluator(config, SCORE_EPISODES)
    with saved_agent(config, agent_run) as (agent, _):
        games = {
            score.game: {
                "agent": statistics.fmean(score.returns),
                "random": statistics.fmean(
                    evaluator.random_returns(score.game, SCORE_EPISODES)
                ),
            }
            for score in evaluator.scores(agent)
        }
    return {
        "conditions": (
            f"{SCORE_EPISODES} episodes of at most {SCORE_STEPS} agent steps, "
            f"{evaluation.exploration_eps:.0%} random actions"
        ),
        "games": games,
        "date": datetime.now(UTC).date().isoformat(),
        "machine": platform.machine(),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the cases that are named, for each recogniser and seed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(CASES))
    parser.add_argument(
        "--recognisers", nargs="+", choices=list(RECOGNISERS), default=["flat_fmn"]
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument(
        "--agent", type=Path, help="run whose agent plays the cases trained_..."
    )
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--scores", action="store_true", help="of the agent")
    parser.add_argument("--page", action="store_true")
    options, further = parser.parse_known_args(arguments)
    unknown = sorted(set(options.cases) - set(CASES))
    if unknown:
        parser.error(f"unknown cases {unknown}; known are {', '.join(CASES)}")
    needs_agent = options.scores or set(options.cases) & set(TRAINED)
    if needs_agent and options.agent is None:
        parser.error("cases trained_... and --scores need --agent RUN")
    options.results.mkdir(parents=True, exist_ok=True)
    if options.scores:
        result = scores_of(RunDirectory.open(options.agent))
        _write(options.results / AGENT, result)
    for seed in options.seeds:
        for case in options.cases:
            agent_run = RunDirectory.open(options.agent) if case in TRAINED else None
            found = run_case(case, options.recognisers, seed, further, agent_run)
            for recogniser, result in found.items():
                name = f"{case}-{recogniser}-seed{seed}.json"
                _write(options.results / name, result)
    if options.page:
        write_page(options.results)


def _write(path: Path, result: dict[str, Any]) -> None:
    path.write_text(json.dumps(result) + "\n", encoding="utf-8")
    print(path, flush=True)


if __name__ == "__main__":
    main()
