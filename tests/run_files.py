"""Directories of runs as ``clrl train`` leaves them, from records that are made up."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from clrl.config.any_domain import CommonConfig
from clrl.config.config_file import to_yaml
from clrl.history import of_kind
from clrl.records import Record, read_records, to_line
from clrl.run_directory import RunDirectory

from .synthetic_run import GAMES

PROVENANCE = {
    "command": ["clrl", "train", "mine.yaml"],
    "git_revision": "0123abc",
    "protocol": "nature: sticky actions 0",
    "packages": {"clrl": "0.1.0"},
}


def config(
    games: tuple[str, ...] = GAMES, visits_per_game: int = 2, visit_steps: int = 30_000
) -> dict[str, Any]:
    """The parts of a resolved config that are read back."""
    return {
        "games": list(games),
        "seed": 3,
        "sequence": {
            "visit_steps": visit_steps,
            "visits_per_game": visits_per_game,
            "order": "fixed",
            "protocol": "nature",
            "num_envs": 8,
            "frame_size": 42,
        },
        "network": {"name": "small"},
        "method": {"name": "ewc", "strength": 100.0},
        "recogniser": {"name": "flat_fmn"},
        "evaluation": {"episodes": 5, "max_episode_steps": None},
    }


def run_directory(
    path: Path,
    run: Iterable[Record],
    config: Mapping[str, Any],
    seconds: float | None = None,
) -> RunDirectory:
    """A run's directory; one that goes on has no summary yet."""
    path.mkdir(parents=True)
    directory = RunDirectory(path)
    directory.config.write_text(yaml.safe_dump(dict(config), sort_keys=False))
    directory.provenance.write_text(json.dumps(PROVENANCE))
    with directory.records.open("w", encoding="utf-8") as file:
        file.writelines(f"{to_line(record)}\n" for record in run)
    if seconds is not None:
        directory.summary.write_text(json.dumps({"seconds": seconds}))
    return directory


def new_directory(
    parent: Path, config: CommonConfig, name: str = "run"
) -> RunDirectory:
    """A directory as it is when training starts."""
    directory = RunDirectory.create(parent, name)
    directory.config.write_text(to_yaml(config))
    return directory


def recorded(directory: RunDirectory, kind: type[Any]) -> list[Any]:
    """A run's records of one kind, in order."""
    return of_kind(read_records(directory.records), kind)


def supervised_config(tasks: int = 2) -> dict[str, Any]:
    """The same of a run on permuted images."""
    return {
        "domain": "supervised",
        "dataset": "mnist",
        "seed": 0,
        "stream": {"name": "permutations", "tasks": tasks},
        "training": {
            "examples_per_task": None,
            "passes": 1,
            "visits_per_task": 1,
            "batch_size": 32,
            "learning_rate": 0.001,
            "optimizer": "sgd",
        },
        "network": {"hidden": [400, 400]},
        "method": {"name": "ewc", "strength": 100.0},
        "recogniser": {"name": "oracle"},
    }
