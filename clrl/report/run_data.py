"""All that the files of a run say, for its report."""

import functools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from clrl import records
from clrl.config.library import leaves
from clrl.config.texts import read_yaml, texts_of_file
from clrl.errors import ConfigError
from clrl.history import History, history_of, of_kind, read_history
from clrl.records import is_cut_off
from clrl.report.finished_run import References, planned_agent_steps
from clrl.report.perturbation import Perturbation, read_perturbation
from clrl.report.references import folder_beside, read_references
from clrl.report.words import Words, words_of
from clrl.run_directory import RunDirectory
from clrl.summary import (
    RunDescription,
    Summary,
    is_summarisable,
    known_scores,
    stage_names,
    summarise_history,
)


@dataclass(frozen=True, kw_only=True)
class RunData:
    """A run, finished or not.

    Attributes:
        directory: Where its files are.
        config: The resolved config, sections as mappings.
        provenance: What it was made with; empty where that is not known.
        description: Of the config.
        history: What happened.
        summary: The results; None before every game has been scored.
        perturbation: What noise on the weights did; None where that was not tested.
        facts: What the checkpoint says of the agent, such as ``updates``; empty without
            a checkpoint.
        stopped: Why it ended early, in words; None where nothing was written about it.
        is_cut_off: Whether its last record was being written when it stopped.
        references: Results of single-task runs of the games that have some.
    """

    directory: RunDirectory
    config: Mapping[str, Any]
    provenance: Mapping[str, Any]
    description: RunDescription
    history: History
    summary: Summary | None
    perturbation: Perturbation | None
    facts: Mapping[str, Any]
    stopped: str | None
    is_cut_off: bool
    references: References

    @property
    def games(self) -> tuple[str, ...]:
        """In the order of the score matrix's columns."""
        return self.description.games

    @property
    def is_supervised(self) -> bool:
        """Whether it is on tasks of images, not on games."""
        return self.description.measure == "accuracy"

    @property
    def words(self) -> Words:
        """What things are called in it."""
        return words_of(self.description.measure)

    @functools.cached_property
    def visits(self) -> list[records.Visit]:
        """Those that have begun."""
        return of_kind(self.history.events, records.Visit)

    @functools.cached_property
    def scores(self) -> Float64[np.ndarray, "S T"]:
        """Mean raw returns by stage and game, NaN where a game was not scored."""
        return known_scores(self.history.events, self.games)

    @property
    def stages(self) -> list[str]:
        """Names of the rows of ``scores``."""
        names = ["before", *stage_names(visit.game for visit in self.visits)]
        return names[: len(self.scores)]

    @property
    def is_over(self) -> bool:
        """Whether it was stopped, or all its visits are scored."""
        return self.stopped is not None or len(self.scores) > self.planned_visits

    @property
    def planned_visits(self) -> int:
        """Visits that the config asks for."""
        if self.is_supervised:
            visits_per_task = int(self.config["training"]["visits_per_task"])
            return _planned_tasks(self.config) * visits_per_task
        return len(self.games) * int(self.config["sequence"]["visits_per_game"])

    @property
    def planned_agent_steps(self) -> int | None:
        """Agent steps that the config asks for, each visit in whole vector steps.

        None for a supervised run: it depends on the data.
        """
        if self.is_supervised:
            return None
        sequence = self.config["sequence"]
        return planned_agent_steps(
            self.planned_visits, int(sequence["visit_steps"]), int(sequence["num_envs"])
        )

    @property
    def amount(self) -> str:
        """How much training there is, and of how much where that is known."""
        done, planned = self.history.agent_steps, self.planned_agent_steps
        of = "" if planned is None else f" of {planned:,}"
        return f"{done:,}{of} {self.words.steps}"

    @property
    def is_finished(self) -> bool:
        """Whether all games were scored after the last visit of the plan."""
        is_scored = ~np.isnan(self.scores).any(axis=1)
        return bool(len(is_scored) == self.planned_visits + 1 and is_scored[-1])


def read_run(path: Path) -> RunData:
    """What the files in a run's directory say.

    Raises:
        ConfigError: There is no run at ``path``, or its config is not a resolved one.
        CheckpointError: A record before the last is damaged.
    """
    directory = RunDirectory.open(path)
    config = _read_config(directory.config)
    history = history_in(directory)
    description = _describe(directory.config, config, history)
    summary = None
    if _is_summarisable(history, description, config):
        seconds = _read_json(directory.summary).get("seconds")
        summary = summarise_history(
            history, description, float("nan") if seconds is None else seconds
        )
    return gather(directory, description, history, summary)


def history_in(directory: RunDirectory) -> History:
    """What a run's records say; nothing happened where there are none yet.

    Raises:
        CheckpointError: A record before the last is damaged.
    """
    if not directory.records.exists():
        return history_of(())
    return read_history(directory.records)


def gather(
    directory: RunDirectory,
    description: RunDescription,
    history: History,
    summary: Summary | None,
) -> RunData:
    """What the files of a run say besides its records, which have been read."""
    manifest = _read_json(directory.checkpoint / "manifest.json")
    return RunData(
        directory=directory,
        config=_read_config(directory.config),
        provenance=_read_json(directory.provenance),
        description=description,
        history=history,
        summary=summary,
        perturbation=read_perturbation(directory.perturbation),
        facts=manifest.get("facts", {}),
        stopped=_read_stopped(directory),
        is_cut_off=directory.records.exists() and is_cut_off(directory.records),
        references=read_references(
            folder_beside(directory.path), texts_of_file(directory.config)
        ),
    )


def flat(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Each value of a config as text for the eye, by its dotted key."""
    for key, value in leaves(values):
        shown = ", ".join(map(str, value)) if isinstance(value, list) else value
        yield key, "null" if shown is None else str(shown)


def _read_config(path: Path) -> dict[str, Any]:
    # Building a RunConfig would import torch.
    config = read_yaml(path)
    return config if isinstance(config, dict) else {}


def _describe(
    path: Path, config: Mapping[str, Any], history: History
) -> RunDescription:
    try:
        if config.get("domain") == "supervised":
            return _describe_supervised(config, history)
        return RunDescription(
            games=tuple(config["games"]),
            method=config["method"]["name"],
            recogniser=config["recogniser"]["name"],
            protocol=config["sequence"]["protocol"],
            seed=config["seed"],
        )
    except (KeyError, TypeError) as error:
        raise ConfigError(
            f"a report needs the resolved config of a run, got {path}, which lacks "
            f"{error}; name the directory that clrl train made."
        ) from None


def _describe_supervised(config: Mapping[str, Any], history: History) -> RunDescription:
    # Before training every task is tested, in the order of the score matrix's columns.
    # To make their names from the config would need torch.
    tested = (e.game for e in of_kind(history.events, records.Evaluation))
    tasks = _planned_tasks(config)
    return RunDescription(
        games=tuple(dict.fromkeys(tested)),
        method=config["method"]["name"],
        recogniser=config["recogniser"]["name"],
        protocol=f"{config['dataset']}_{config['stream']['name']}, {tasks} tasks",
        seed=config["seed"],
        measure="accuracy",
    )


def _planned_tasks(config: Mapping[str, Any]) -> int:
    # A stream that does not say how many tasks it has is the data set as one task.
    return int(config["stream"].get("tasks", 1))


def _is_summarisable(
    history: History, description: RunDescription, config: Mapping[str, Any]
) -> bool:
    games = description.games
    if description.measure == "accuracy" and len(games) < _planned_tasks(config):
        return False  # some tasks were never tested yet
    return is_summarisable(history.events, games)


def _read_json(path: Path) -> dict[str, Any]:
    """A file that a run in progress, or a copy of a run, may not have."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _read_stopped(directory: RunDirectory) -> str | None:
    if not directory.stopped.is_file():
        return None
    return directory.stopped.read_text(encoding="utf-8").strip()
