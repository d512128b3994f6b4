"""The command line: ``clrl train | evaluate | report | list``. Only it prints.

Exit codes: 0 done, 1 the run failed, 2 the request was wrong, 130 interrupted.

Modules that import torch are imported where they are needed, so that help is instant.
"""

import argparse
import contextlib
import importlib.metadata
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live

from clrl.config_library import config_files, find_config
from clrl.errors import ClrlError, ConfigError
from clrl.progress import Listener, LiveProgress, PlainProgress
from clrl.records import read_records
from clrl.run_directory import RunDirectory, run_stem

if TYPE_CHECKING:
    from clrl.config import RunConfig
    from clrl.summary import RunDescription

LISTS = ("games", "methods", "recognisers", "networks", "configs")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        arguments: Without the program's name; ``sys.argv[1:]`` by default.

    Returns:
        The exit code.
    """
    out, err = Console(), Console(stderr=True)
    # A console script does not see the current folder, where a user's method may be.
    sys.path.append(str(Path.cwd()))
    options, overrides = _parser().parse_known_args(arguments)
    if overrides and options.command != "train":
        err.print(f"clrl: unexpected {' '.join(overrides)}", highlight=False)
        return 2
    try:
        if options.command == "train":
            return _train(out, options, overrides)
        run = {"evaluate": _evaluate, "report": _write_report, "list": _list}
        return run[options.command](out, options)
    except ConfigError as error:
        _complain(err, error)
        return 2
    except ClrlError as error:
        _complain(err, error)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="clrl",
        description="One agent, a sequence of Atari games, and what it remembers.",
        allow_abbrev=False,
    )
    version = importlib.metadata.version("clrl")
    parser.add_argument("--version", action="version", version=f"clrl {version}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    train = commands.add_parser(
        "train",
        help="train an agent on a sequence of games and report",
        usage="clrl train CONFIG [--key value ...]",
        add_help=False,
        allow_abbrev=False,
    )
    train.add_argument("config", nargs="?", metavar="CONFIG")
    train.add_argument("-h", "--help", action="store_true")

    evaluate = commands.add_parser(
        "evaluate", help="play a trained agent's games again, without learning"
    )
    evaluate.add_argument("run", type=Path, metavar="RUN", help="directory of the run")
    evaluate.add_argument("--episodes", type=int, help="of each game")

    report = commands.add_parser(
        "report", help="write all of a run, finished or not, as one page"
    )
    report.add_argument("run", type=Path, metavar="RUN", help="directory of the run")
    report.add_argument(
        "--output", type=Path, metavar="FILE", help="default: report.html in RUN"
    )

    listing = commands.add_parser("list", help="list what a config can name")
    listing.add_argument("what", choices=LISTS)
    return parser


def _train(out: Console, options: argparse.Namespace, overrides: list[str]) -> int:
    if options.help:
        return _train_help(out, options.config, overrides)
    if options.config is None or options.config.startswith("--"):
        raise ConfigError(
            "clrl train expects a config, got none; name a file or one of "
            f"{', '.join(config_files())}."
        )
    from clrl import config_file
    from clrl.config import check_games
    from clrl.rl.atari import game_names

    config = config_file.read_config(find_config(options.config), overrides)
    check_games(config.games, game_names())
    description = config_file.describe(config)
    directory = _new_directory(config, description)
    directory.config.write_text(config_file.to_yaml(config), encoding="utf-8")
    _line(out, f"{directory.path}: {', '.join(config.games)}")
    _line(out, f"tensorboard --logdir {directory.tensorboard}")

    from clrl import run

    started = time.perf_counter()
    try:
        with _listener(out) as listener, _terminable():
            run.train(config, directory, listener)
        code = 0
    except KeyboardInterrupt:
        directory.stopped.write_text("it was interrupted.\n", encoding="utf-8")
        _line(out, f"interrupted; what there is so far is in {directory.path}")
        code = 130
    except ClrlError as error:
        if not directory.records.exists():
            directory.discard()
        else:
            directory.stopped.write_text(f"{error}\n", encoding="utf-8")
            _line(out, f"stopped; what there is so far is in {directory.path}")
            _line(out, f"to see it: clrl report {directory.path}")
        raise
    _report(out, directory, description, time.perf_counter() - started)
    return code


def _train_help(out: Console, config: str | None, overrides: list[str]) -> int:
    from clrl import config_file

    _line(out, "clrl train CONFIG [--key value ...]\n")
    _line(out, f"CONFIG is a YAML file or one of: {', '.join(config_files())}\n")
    path = find_config(config) if config else None
    out.file.write(config_file.config_help(path, overrides))
    return 0


def _new_directory(config: "RunConfig", description: "RunDescription") -> RunDirectory:
    if config.name is not None:
        return RunDirectory.create(config.runs_dir, config.name)
    stem = run_stem(
        description.method, description.recogniser, config.games, config.seed
    )
    return RunDirectory.create_numbered(config.runs_dir, stem)


def _report(
    out: Console, directory: RunDirectory, description: "RunDescription", seconds: float
) -> None:
    """Writes the summary and the picture of the records so far, and prints them."""
    from clrl.report.page import write_report
    from clrl.report.score_matrix import save_picture
    from clrl.report.tables import report
    from clrl.summary import is_summarisable, summarise, write_summary

    records = read_records(directory.records) if directory.records.exists() else []
    if not is_summarisable(records, description.games):
        return
    summary = summarise(records, description, seconds)
    write_summary(summary, directory.summary)
    save_picture(records, summary, directory.picture)
    report_path = write_report(directory.path)
    out.print(report(summary))
    _line(out, f"report       {report_path}")
    _line(out, f"picture      {directory.picture}")
    _line(out, f"numbers      {directory.summary}")
    _line(out, f"tensorboard  tensorboard --logdir {directory.tensorboard}")


def _evaluate(out: Console, options: argparse.Namespace) -> int:
    directory = RunDirectory.open(options.run)
    if options.episodes is not None and options.episodes < 1:
        raise ConfigError(f"--episodes must be at least 1, got {options.episodes}.")
    from clrl import run
    from clrl.report.tables import evaluation_table

    with _listener(out) as listener:
        scores = run.evaluate(directory, options.episodes, listener)
    out.print(evaluation_table(scores))
    return 0


def _write_report(out: Console, options: argparse.Namespace) -> int:
    from clrl.report.page import write_report

    _line(out, str(write_report(options.run, options.output)))
    return 0


def _list(out: Console, options: argparse.Namespace) -> int:
    for name, meaning in _listed(options.what):
        _line(out, f"{name:24}{meaning}".rstrip())
    return 0


def _listed(what: str) -> Iterator[tuple[str, str]]:
    """Names, with a line about each where there is one."""
    if what == "configs":
        for name, path in config_files().items():
            first_line = path.read_text(encoding="utf-8").splitlines()[0]
            yield name, first_line.removeprefix("# ")
    elif what == "games":
        from clrl.rl.atari import game_names

        yield from ((name, "") for name in game_names())
    elif what == "networks":
        from clrl.rl.network import ARCHITECTURES

        yield from ((name, "") for name in ARCHITECTURES)
    elif what == "methods":
        from clrl.continual.methods import METHODS

        yield from ((name, _first_line(cls)) for name, cls in METHODS.items())
    else:
        from clrl.recognition.recognisers import RECOGNISERS

        yield from ((name, _first_line(cls)) for name, cls in RECOGNISERS.items())


def _first_line(cls: type) -> str:
    return (cls.__doc__ or "").strip().splitlines()[0]


@contextlib.contextmanager
def _listener(out: Console) -> Iterator[Listener]:
    """Live progress on a terminal, a line now and then elsewhere."""
    if not out.is_terminal:
        yield PlainProgress(out)
        return
    with Live(console=out, transient=True) as live:
        yield LiveProgress(live)


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM, with which a queue ends a job, stops a run as Ctrl-C does."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _line(out: Console, text: str) -> None:
    out.print(text, highlight=False, markup=False, soft_wrap=True)


def _complain(err: Console, error: ClrlError) -> None:
    _line(err, f"clrl: {error}")
