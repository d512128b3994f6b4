"""A run that is at its end: its config, and what came out."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from clrl.config.texts import Texts, texts_of_file
from clrl.errors import CheckpointError, ClrlError, ConfigError
from clrl.records import read_records
from clrl.run_directory import RunDirectory
from clrl.summary import RunDescription, Summary, is_summarisable, summarise
from clrl.summary_file import read_summary

References: TypeAlias = Mapping[str, tuple[Summary, ...]]
"""By game, the results of the single-task runs that a run is measured against."""


class UnfitError(ClrlError):
    """A run that cannot take part; the message is the reason."""


@dataclass(frozen=True, kw_only=True)
class FinishedRun:
    """A run at its end.

    Attributes:
        path: Its directory.
        config: Its resolved config.
        summary: Its results.
        revision: The commit of clrl that made it; empty if unknown.
        references: Of the games that have some.
    """

    path: Path
    config: Texts
    summary: Summary
    revision: str
    references: References = field(default_factory=dict)


def planned_agent_steps(visits: int, visit_steps: int, num_envs: int) -> int:
    """Agent steps that a config asks for, each visit in whole vector steps."""
    return visits * -(-visit_steps // num_envs) * num_envs


def read_texts(path: Path) -> Texts:
    """The config of the run in a directory.

    Raises:
        UnfitError: There is none, or it is not that of a run on games.
    """
    if not (path / "config.yaml").is_file():
        raise UnfitError("holds no run: there is no config.yaml")
    try:
        config = texts_of_file(path / "config.yaml")
        _description(config)
    except ConfigError as error:
        raise UnfitError(str(error)) from error
    except (KeyError, ValueError) as error:
        raise UnfitError(
            f"config.yaml is not that of a run on games: no valid {error}"
        ) from error
    return config


def _description(config: Texts) -> RunDescription:
    return RunDescription(
        games=tuple(json.loads(config["games"])),
        method=config["method.name"],
        recogniser=config["recogniser.name"],
        protocol=config["sequence.protocol"],
        seed=int(config["seed"]),
    )


def read_finished(path: Path, config: Texts) -> FinishedRun:
    """The run in a directory, without its references.

    Args:
        path: The directory.
        config: What ``read_texts`` says of it.

    Raises:
        UnfitError: It is not at its end.
        CheckpointError: Its records are damaged.
    """
    directory, description = RunDirectory(path), _description(config)
    summary = _read_results(directory, description)
    scored = len(summary.stages) - 1
    planned = int(config["sequence.visits_per_game"]) * len(description.games)
    if scored < planned:
        raise UnfitError(
            f"in progress or interrupted: {scored} of {planned} visits are scored"
        )
    return FinishedRun(
        path=path, config=config, summary=summary, revision=_revision(directory)
    )


def _read_results(directory: RunDirectory, description: RunDescription) -> Summary:
    """From the summary where it is newer than the records, else from the records."""
    if not directory.records.is_file():
        raise UnfitError("not started: there is no records.jsonl")
    if _is_newer(directory.summary, directory.records):
        try:
            return read_summary(directory.summary)
        except CheckpointError:
            pass  # Another version's: the records say the same.
    records = read_records(directory.records)
    if not is_summarisable(records, description.games):
        raise UnfitError("in progress or interrupted: no stage is scored yet")
    return summarise(records, description)


def _is_newer(path: Path, other: Path) -> bool:
    return path.is_file() and path.stat().st_mtime_ns >= other.stat().st_mtime_ns


def _revision(directory: RunDirectory) -> str:
    try:
        content = json.loads(directory.provenance.read_text(encoding="utf-8"))
        return str(content["git_revision"] or "")
    except (OSError, ValueError, KeyError, TypeError):
        return ""
