"""``clrl train`` and ``clrl reference``: runs that are made."""

import argparse
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from clrl.commands.console import line, listening, terminable
from clrl.commands.imports import importing
from clrl.commands.runner import runner_of
from clrl.config.library import config_files, find_config
from clrl.config.texts import texts_of_arguments, texts_of_file
from clrl.errors import ConfigError
from clrl.run_directory import RunDirectory, run_stem

if TYPE_CHECKING:
    from clrl.commands.parsers import Commands
    from clrl.config.any_domain import CommonConfig
    from clrl.report.references import Reference
    from clrl.summary import RunDescription


def add_to(commands: "Commands") -> None:
    """Adds the commands of this module to the parser."""
    _add_train(commands)
    _add_reference(commands)


def _add_train(commands: "Commands") -> None:
    parser = commands.add_parser(
        "train",
        help="train on a sequence of games or tasks, and report",
        usage="clrl train CONFIG [--key value ...]",
        add_help=False,
        allow_abbrev=False,
    )
    parser.add_argument("config", nargs="?", metavar="CONFIG")
    parser.add_argument("-h", "--help", action="store_true")
    parser.set_defaults(execute=train, takes_keys=True)


def _add_reference(commands: "Commands") -> None:
    parser = commands.add_parser(
        "reference",
        help="train on each game of a run or config alone, to measure the run against",
        usage="clrl reference RUN_OR_CONFIG [--seeds 0,1,2] [--key value ...]",
        allow_abbrev=False,
    )
    parser.add_argument("source", metavar="RUN_OR_CONFIG")
    parser.add_argument(
        "--seeds", metavar="N,N", help="of the references; by default the run's own"
    )
    parser.set_defaults(execute=reference, takes_keys=True)


def train(out: Console, options: argparse.Namespace) -> int:
    """Trains on a config's games or tasks; the exit code."""
    if options.help:
        return _train_help(out, options.config, options.overrides)
    if options.config is None or options.config.startswith("--"):
        raise ConfigError(
            "clrl train expects a config, got none; name a file or one of "
            f"{', '.join(config_files())}."
        )
    with importing():
        from clrl.config import config_file

        path = find_config(options.config)
        config = config_file.read_config(path, options.overrides)
        runner_of(config)  # imports it
        import_module("torch._dynamo")  # else the first optimiser would
    return _train_config(out, config)


def _train_config(out: Console, config: "CommonConfig") -> int:
    """Trains as a config says, into a directory of its own."""
    from clrl.config import config_file

    runner = runner_of(config)
    runner.check(config)
    description = config_file.describe(config)
    directory = _new_directory(config, description)
    directory.config.write_text(config_file.to_yaml(config), encoding="utf-8")
    line(out, f"{directory.path}: {', '.join(config.task_names)}")
    line(out, f"tensorboard --logdir {directory.tensorboard}")
    _warn_if_nothing_ends(out, config)

    started = time.perf_counter()
    try:
        with listening(out) as listener, terminable():
            runner.train(config, directory, listener)
        code = 0
    except KeyboardInterrupt:
        directory.stopped.write_text("it was interrupted.\n", encoding="utf-8")
        line(out, f"interrupted; what there is so far is in {directory.path}")
        code = 130
    except Exception as error:
        if not directory.records.exists():
            directory.discard()
        else:
            what = str(error) or type(error).__name__
            directory.stopped.write_text(f"{what}\n", encoding="utf-8")
            line(out, f"stopped; what there is so far is in {directory.path}")
            line(out, f"to see it: clrl report {directory.path}")
        raise
    seconds = time.perf_counter() - started
    try:
        with terminable():
            _report(out, directory, description, seconds)
    except KeyboardInterrupt:
        line(
            out,
            f"interrupted; what is missing comes from: clrl report {directory.path}",
        )
        code = 130
    return code


def _warn_if_nothing_ends(out: Console, config: "CommonConfig") -> None:
    """Says so where the recogniser never sees the end of a task that is to be held."""
    from clrl.config import config_file
    from clrl.continual.methods.base import HoldsWhatIsShared
    from clrl.recognition.recognisers import OneTaskRecogniser

    if (
        isinstance(config.recogniser, OneTaskRecogniser)
        and isinstance(config.method, HoldsWhatIsShared)
        and len(config.task_names) > 1
    ):
        name = config_file.method_name(config.method)
        line(
            out,
            f"recogniser one_task never sees a task end, so {name} holds nothing; "
            "choose another recogniser to protect what was learnt.",
        )


def _train_help(out: Console, config: str | None, overrides: list[str]) -> int:
    from clrl.config import config_file

    line(out, "clrl train CONFIG [--key value ...]\n")
    line(out, f"CONFIG is a YAML file or one of: {', '.join(config_files())}\n")
    path = find_config(config) if config else None
    out.file.write(config_file.config_help(path, overrides))
    return 0


def _new_directory(
    config: "CommonConfig", description: "RunDescription"
) -> RunDirectory:
    if config.name is not None:
        return RunDirectory.create(config.runs_dir, config.name)
    stem = run_stem(
        description.method, description.recogniser, config.subject, config.seed
    )
    return RunDirectory.create_numbered(config.runs_dir, stem)


def _report(
    out: Console, directory: RunDirectory, description: "RunDescription", seconds: float
) -> None:
    """Writes what the records say so far, as files and for the eye."""
    from clrl.report.page import write_page
    from clrl.report.run_data import gather, history_in
    from clrl.report.score_matrix import save_picture
    from clrl.report.tables import report
    from clrl.summary import is_summarisable, summarise_history, write_summary

    history = history_in(directory)
    if not is_summarisable(history.events, description.games):
        return
    summary = summarise_history(history, description, seconds)
    write_summary(summary, directory.summary)
    save_picture(history, summary, directory.picture)
    out.print(report(summary))
    run = gather(directory, description, history, summary)
    line(out, f"report       {write_page(run, directory.report)}")
    line(out, f"picture      {directory.picture}")
    line(out, f"numbers      {directory.summary}")
    line(out, f"tensorboard  tensorboard --logdir {directory.tensorboard}")


def reference(out: Console, options: argparse.Namespace) -> int:
    """Trains the references that are missing, after a plan of all of them."""
    from clrl.config import config_file
    from clrl.report.references import FOLDER, folder_beside, plan

    source = Path(options.source)
    if source.is_dir():
        if options.overrides:
            raise ConfigError(
                "the references of a run have the run's config, got "
                f"{options.overrides[0]} as well; name a config instead of the run to "
                "change something."
            )
        directory = RunDirectory.open(source)
        path, folder = directory.config, folder_beside(directory.path)
        config = config_file.read_game_config(path)
        # As it stands in the run's file, for that is what reads the run back sees.
        texts = texts_of_file(path)
    else:
        path = find_config(options.source)
        config = config_file.read_game_config(path, options.overrides)
        folder = config.runs_dir.resolve() / FOLDER
        texts = config_file.hyper_parameters(config)
    seeds = _seeds(options.seeds) or [config.seed]
    # A reference has no method and no recogniser whose knobs could be set.
    ours = [
        f"--{key}={text}"
        for key, text in texts_of_arguments(options.overrides).items()
        if key.partition(".")[0] not in ("method", "recogniser")
    ]
    references = plan(folder, texts, config.games, seeds)
    _show_plan(out, references)
    for reference in references:
        if not reference.missing:
            continue
        changes = [f"--{key}={text}" for key, text in reference.overrides.items()]
        if reference.path.exists():
            RunDirectory(reference.path).discard()
        code = _train_config(out, config_file.read_game_config(path, [*ours, *changes]))
        if code:
            return code
    return 0


def _show_plan(out: Console, references: Sequence["Reference"]) -> None:
    """Says of each reference whether it is trained, and how long that is."""
    for reference in references:
        state = "cached"
        if reference.missing:
            state = f"to train, {reference.agent_steps:,} steps: {reference.missing}"
        line(out, f"{reference.path}: {state}")
    to_train = [reference for reference in references if reference.missing]
    steps = sum(reference.agent_steps for reference in to_train)
    line(
        out,
        f"{len(to_train)} of {len(references)} references to train, {steps:,} agent "
        "steps in all",
    )


def _seeds(text: str | None) -> list[int]:
    """The seeds of a list with commas, each once; none for None."""
    if text is None:
        return []
    parts = text.split(",")
    if not all(part.isdecimal() for part in parts):
        raise ConfigError(
            f"--seeds expects numbers of 0 or more with commas, got {text!r}; write "
            "for example --seeds 0,1,2."
        )
    return list(dict.fromkeys(map(int, parts)))
