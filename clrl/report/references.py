"""Reference runs: what the same agent reaches on each game of a sequence alone.

``clrl reference`` trains them: one game, as many visits of as many agent steps as in
the sequence, no method and one task, and all else as in the run they are for. They are
runs like any other, and kept beside the runs that are measured against them:

    <runs_dir>/references/<game>-<hash>-seed<n>/

The hash is of everything in the reference's config that has a part in its results,
except the seed. So runs of all methods and recognisers share their references, those of
another agent or protocol have others, and a run is measured against the mean of all
seeds that there are. Only runs at their end count.
"""

import contextlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from clrl.config.texts import Texts, digest_of, merged
from clrl.errors import ClrlError
from clrl.report.finished_run import (
    FinishedRun,
    References,
    planned_agent_steps,
    read_finished,
    read_texts,
)
from clrl.summary import Summary

FOLDER = "references"
"""Beside the runs."""

NOT_IN_RESULTS = ("name", "runs_dir", "device", "threads")
"""Keys of a config that say where a run is made, not what comes out."""

_ALONE = {
    "method.name": "finetune",
    "recogniser.name": "one_task",
    "sequence.order": "fixed",
    # What only matters when a task is left must not tell references apart.
    "agent.consolidation_starts": "0",
}


class Reference(NamedTuple):
    """One reference, trained or not.

    Attributes:
        path: Its directory.
        overrides: What its config has different from the run's that it is for, by
            dotted key.
        missing: Why it has to be trained; empty where it is at its end.
        agent_steps: Of its training.
    """

    path: Path
    overrides: Texts
    missing: str
    agent_steps: int


def folder_beside(run: Path) -> Path:
    """Where the references of the run in this directory are kept.

    Those of a reference are itself and its other seeds.
    """
    return run.parent if run.parent.name == FOLDER else run.parent / FOLDER


def plan(
    folder: Path, config: Texts, games: Iterable[str], seeds: Sequence[int]
) -> list[Reference]:
    """The references of a run, game by game and seed by seed.

    Args:
        folder: Where references are kept.
        config: Of the run, resolved.
        games: Of the run.
        seeds: Of the references.
    """
    agent_steps = planned_agent_steps(
        int(config["sequence.visits_per_game"]),
        int(config["sequence.visit_steps"]),
        int(config["sequence.num_envs"]),
    )
    found = []
    for game in games:
        for seed in seeds:
            path = folder / f"{_stem(config, game)}{seed}"
            place = {"seed": str(seed), "name": path.name, "runs_dir": str(folder)}
            overrides = _alone(game) | place
            found.append(Reference(path, overrides, _missing(path), agent_steps))
    return found


def read_references(folder: Path, config: Texts) -> References:
    """The results of a run's references that are at their end, by game.

    Args:
        folder: Where references are kept.
        config: Of the run, resolved.
    """
    # A run on data sets has none.
    games: list[str] = json.loads(config.get("games", "[]"))
    found = {game: _summaries(folder, _stem(config, game)) for game in games}
    return {game: summaries for game, summaries in found.items() if summaries}


def _summaries(folder: Path, stem: str) -> tuple[Summary, ...]:
    """By seed."""
    summaries = []
    for path in folder.glob(f"{stem}*"):
        with contextlib.suppress(ClrlError, OSError):  # not at its end
            summaries.append(_read(path).summary)
    return tuple(sorted(summaries, key=lambda summary: summary.seed))


def _read(path: Path) -> FinishedRun:
    return read_finished(path, read_texts(path))


def _missing(path: Path) -> str:
    if not path.exists():
        return "not trained yet"
    try:
        _read(path)
    except (ClrlError, OSError) as error:
        return str(error)
    return ""


def _alone(game: str) -> dict[str, str]:
    return {"games": json.dumps([game])} | _ALONE


def _stem(config: Texts, game: str) -> str:
    """Name of the directory of a game's references, up to the seed."""
    texts = merged(dict(config), _alone(game))
    left_out = (*NOT_IN_RESULTS, "seed")
    results = {key: text for key, text in texts.items() if key not in left_out}
    return f"{game}-{digest_of(results)}-seed"
