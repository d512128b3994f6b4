"""Which runs can be compared, and which of them are the same method.

Runs of one comparison have one *setting*: games, visits, protocol and evaluation. Runs
whose configs differ in nothing but the seed (and where they ran) are one *method*. What
cannot be compared is left out with the reason: a run that is not at its end, one that
cannot be read, and the same seed twice.
"""

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from clrl.config.texts import Texts
from clrl.errors import ClrlError, ConfigError
from clrl.report.finished_run import FinishedRun, read_finished, read_texts
from clrl.report.references import (
    FOLDER,
    NOT_IN_RESULTS,
    folder_beside,
    read_references,
)
from clrl.run_directory import RunDirectory

SETTING = (
    "games",
    "sequence.visit_steps",
    "sequence.visits_per_game",
    "sequence.order",
    "sequence.protocol",
    "evaluation.episodes",
    "evaluation.exploration_eps",
    "evaluation.max_episode_steps",
)
"""The keys that all runs of a comparison must agree on."""

_NO_PART_OF_A_METHOD = (
    *SETTING,
    "evaluation.random_policy_episodes",
    *NOT_IN_RESULTS,
    "seed",
)
_NOT_SET = "not set"


@dataclass(frozen=True)
class LeftOut:
    """A run that does not take part, and why."""

    path: Path
    reason: str


@dataclass(frozen=True)
class MethodRuns:
    """The runs of one method, by seed."""

    name: str
    runs: tuple[FinishedRun, ...]


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What is compared.

    Attributes:
        games: In the order of the first run's.
        setting: What all runs have in common, by key.
        methods: In the order in which they were given.
        left_out: The others.
    """

    games: tuple[str, ...]
    setting: Texts
    methods: tuple[MethodRuns, ...]
    left_out: tuple[LeftOut, ...]


def select(paths: Iterable[Path]) -> Selection:
    """The runs in these directories, by method.

    Raises:
        ConfigError: A directory does not exist, runs have different settings, or not a
            single run is at its end.
    """
    configs: dict[Path, Texts] = {}
    runs: list[FinishedRun] = []
    left_out: list[LeftOut] = []
    for path in dict.fromkeys(path.resolve() for path in paths):
        if path.name == FOLDER:
            continue  # is there wherever all runs of a folder are compared
        if not path.exists():
            RunDirectory.open(path)  # raises, with the nearest runs
        try:
            configs[path] = read_texts(path)
            run = read_finished(path, configs[path])
            references = read_references(folder_beside(path), configs[path])
            runs.append(dataclasses.replace(run, references=references))
        except (ClrlError, OSError) as error:
            left_out.append(LeftOut(path, str(error)))
    _check_one_setting(configs)
    if not runs:
        raise ConfigError(
            "clrl compare expects at least one run that is at its end, got none:\n"
            + "\n".join(f"  {run.path}: {run.reason}" for run in left_out)
        )
    methods, repeated = _by_method(runs)
    return Selection(
        games=runs[0].summary.tasks,
        setting={key: runs[0].config.get(key, _NOT_SET) for key in SETTING},
        methods=methods,
        left_out=(*left_out, *repeated),
    )


def names_of(configs: Sequence[Texts]) -> list[str]:
    """A name for each method: its own, and the values in which it differs from others.

    Args:
        configs: One of each method; they differ in other keys than the seed.
    """
    keys = sorted({key for config in configs for key in _method_part(config)})
    varied = [key for key in keys if len({c.get(key) for c in configs}) > 1]
    last_parts = [key.rpartition(".")[2] for key in varied]
    names = []
    for config in configs:
        parts = [_short_name("method.name", config, configs)]
        for key, short in zip(varied, last_parts, strict=True):
            if key in ("recogniser.name", "network.name"):
                parts.append(_short_name(key, config, configs))
            elif key != "method.name" and _varies_among_peers(key, config, configs):
                shown = short if last_parts.count(short) == 1 else key
                parts.append(f"{shown} {config.get(key, _NOT_SET)}")
        names.append(", ".join(parts))
    return names


def _short_name(key: str, config: Texts, configs: Sequence[Texts]) -> str:
    """The last part of an import path, unless that means two things."""
    meant = {c.get(key, _NOT_SET) for c in configs}
    name = config.get(key, _NOT_SET)
    short = name.rpartition(".")[2]
    return short if [n.rpartition(".")[2] for n in meant].count(short) == 1 else name


def _varies_among_peers(key: str, config: Texts, configs: Sequence[Texts]) -> bool:
    """Whether a key differs among the configs that have it for the same thing."""
    section = key.partition(".")[0]
    name = f"{section}.name"
    peers = [c for c in configs if c.get(name) == config.get(name)]
    return len({c.get(key) for c in peers}) > 1


def _check_one_setting(configs: Mapping[Path, Texts]) -> None:
    settings: dict[tuple[str, ...], list[Path]] = {}
    for path, config in configs.items():
        values = tuple(_setting_value(config, key) for key in SETTING)
        settings.setdefault(values, []).append(path)
    if len(settings) <= 1:
        return
    lines = []
    for index, key in enumerate(SETTING):
        if len({values[index] for values in settings}) > 1:
            lines.append(f"{key}:")
            lines += [f"  {v[index]}: {_names(p)}" for v, p in settings.items()]
    raise ConfigError(
        "clrl compare expects runs of one setting, for scores of different games or "
        f"protocols say nothing about methods, got {len(settings)} settings; compare "
        "them apart. They differ in\n" + "\n".join(lines)
    )


def _setting_value(config: Texts, key: str) -> str:
    # A drawn order does not depend on the order in which the games are listed.
    if key == "games" and config.get("sequence.order") == "random":
        return json.dumps(sorted(json.loads(config[key])))
    return config.get(key, _NOT_SET)


def _names(paths: Iterable[Path]) -> str:
    return ", ".join(path.name for path in paths)


def _method_part(config: Texts) -> dict[str, str]:
    return {k: v for k, v in config.items() if k not in _NO_PART_OF_A_METHOD}


def _by_method(
    runs: Iterable[FinishedRun],
) -> tuple[tuple[MethodRuns, ...], list[LeftOut]]:
    """Methods with their runs, and the runs whose method has their seed already."""
    methods: dict[tuple[tuple[str, str], ...], dict[int, FinishedRun]] = {}
    repeated = []
    for run in runs:
        key = tuple(sorted(_method_part(run.config).items()))
        by_seed = methods.setdefault(key, {})
        first = by_seed.setdefault(run.summary.seed, run)
        if first is not run:
            reason = f"the same config and seed as {first.path}"
            repeated.append(LeftOut(run.path, reason))
    names = names_of([dict(key) for key in methods])
    return tuple(
        MethodRuns(name, tuple(by_seed[seed] for seed in sorted(by_seed)))
        for name, by_seed in zip(names, methods.values(), strict=True)
    ), repeated
