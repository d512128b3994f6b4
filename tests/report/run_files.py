"""Directories of made-up runs, with the files that a real run has."""

import json
from collections.abc import Sequence
from pathlib import Path

from clrl.config.config_file import describe, hyper_parameters, to_yaml
from clrl.config.games import EvaluationConfig, RunConfig, SequenceConfig
from clrl.continual import methods
from clrl.records import Record, RecordWriter
from clrl.report.references import FOLDER, plan
from clrl.run_directory import RunDirectory
from clrl.summary import summarise, write_summary

from ..synthetic_run import GAMES, synthetic_run

FINETUNE = methods.Finetune()
EWC = methods.EWC()
SHORT_VISITS = SequenceConfig(visit_steps=30_000)


def config_of(
    method: methods.MethodConfig = EWC,
    seed: int = 0,
    games: tuple[str, ...] = GAMES,
    sequence: SequenceConfig = SHORT_VISITS,
) -> RunConfig:
    return RunConfig(
        games=games,
        seed=seed,
        method=method,
        sequence=sequence,
        evaluation=EvaluationConfig(episodes=5),
    )


def write_run(
    path: Path,
    config: RunConfig,
    run: Sequence[Record],
    *,
    revision: str = "0123456789abcdef",
    with_summary: bool = True,
) -> Path:
    path.mkdir(parents=True)
    directory = RunDirectory(path)
    directory.config.write_text(to_yaml(config), "utf-8")
    directory.provenance.write_text(json.dumps({"git_revision": revision}), "utf-8")
    with RecordWriter(directory.records) as writer:
        writer.write(run)
    if with_summary:
        write_summary(summarise(run, describe(config)), directory.summary)
    return path


def write_references(
    folder: Path, config: RunConfig, seeds: int = 1, episodes_per_visit: int = 40
) -> list[Path]:
    """Single-task runs of a config's games beside the runs in ``folder``."""
    sequence = config.sequence
    return [
        write_run(
            reference.path,
            config_of(FINETUNE, seed, (game,), sequence),
            synthetic_run(
                (game,),
                rounds=sequence.visits_per_game,
                visit_steps=sequence.visit_steps,
                episodes_per_visit=episodes_per_visit,
                seed=seed,
            ),
        )
        for game in config.games
        for seed in range(seeds)
        for reference in plan(folder / FOLDER, hyper_parameters(config), [game], [seed])
    ]


def write_methods(
    folder: Path, seeds: int = 3, rounds: int = 2, episodes_per_visit: int = 40
) -> list[Path]:
    """EWC, which keeps most of what it learnt, and fine-tuning, which does not."""
    sequence = SequenceConfig(visit_steps=30_000, visits_per_game=rounds)
    return [
        write_run(
            folder / f"{name}-{seed}",
            config_of(method, seed, sequence=sequence),
            synthetic_run(
                rounds=rounds,
                episodes_per_visit=episodes_per_visit,
                seed=seed + 100 * (kept > 0.8),
                kept=kept,
            ),
        )
        for name, method, kept in (("ewc", EWC, 0.93), ("finetune", FINETUNE, 0.66))
        for seed in range(seeds)
    ]
