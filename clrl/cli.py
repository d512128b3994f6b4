"""The command line. The only module that prints.

    clrl train | evaluate | watch | report | compare | recognise | patterns | overlap |
    list

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
from typing import TYPE_CHECKING, Protocol, cast, runtime_checkable

from rich.console import Console
from rich.live import Live

from clrl.config_library import config_files, find_config
from clrl.errors import ClrlError, ConfigError
from clrl.progress import Listener, LiveProgress, PlainProgress
from clrl.records import read_records
from clrl.run_directory import RunDirectory, run_stem

if TYPE_CHECKING:
    from clrl.config_common import CommonConfig
    from clrl.records import Evaluation
    from clrl.summary import RunDescription

LISTS = (
    "games",
    "datasets",
    "streams",
    "methods",
    "recognisers",
    "networks",
    "configs",
)


@runtime_checkable
class Runner(Protocol):
    """The module that trains and evaluates the runs of a domain."""

    def check(self, config: "CommonConfig") -> None:
        """Refuses what is wrong with a config, before anything is written."""
        ...

    def train(
        self, config: "CommonConfig", directory: RunDirectory, listener: Listener
    ) -> None:
        """Trains, and keeps what comes out."""
        ...

    def evaluate(
        self, directory: RunDirectory, episodes: int | None, listener: Listener
    ) -> list["Evaluation"]:
        """Scores all tasks with what was kept."""
        ...


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
    if overrides and options.command not in ("train", "recognise", "overlap"):
        err.print(f"clrl: unexpected {' '.join(overrides)}", highlight=False)
        return 2
    try:
        return _run(out, options, overrides)
    except ConfigError as error:
        _complain(err, error)
        return 2
    except ClrlError as error:
        _complain(err, error)
        return 1


def _run(out: Console, options: argparse.Namespace, overrides: list[str]) -> int:
    if options.command == "train":
        return _train(out, options, overrides)
    if options.command == "recognise":
        return _recognise(out, options, overrides)
    if options.command == "overlap":
        return _overlap(out, options, overrides)
    commands = {
        "evaluate": _evaluate,
        "watch": _watch,
        "report": _write_report,
        "compare": _compare,
        "patterns": _patterns,
        "list": _list,
    }
    return commands[options.command](out, options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="clrl",
        description="One learner, a sequence of games or tasks, and what it remembers.",
        allow_abbrev=False,
    )
    version = importlib.metadata.version("clrl")
    parser.add_argument("--version", action="version", version=f"clrl {version}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    train = commands.add_parser(
        "train",
        help="train on a sequence of games or tasks, and report",
        usage="clrl train CONFIG [--key value ...]",
        add_help=False,
        allow_abbrev=False,
    )
    train.add_argument("config", nargs="?", metavar="CONFIG")
    train.add_argument("-h", "--help", action="store_true")

    evaluate = commands.add_parser(
        "evaluate", help="score what a run has trained on all its games or tasks again"
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

    watch = commands.add_parser("watch", help="film a trained agent at play")
    watch.add_argument("run", type=Path, metavar="RUN", help="directory of the run")
    watch.add_argument("--game", help="one of the run's; by default each of them")
    watch.add_argument(
        "--output", type=Path, metavar="FILE", help="default: RUN/videos/GAME.mp4"
    )
    watch.add_argument("--episodes", type=int, default=1, help="of each game (1)")
    watch.add_argument(
        "--seconds", type=float, default=180, help="of an episode at most (180)"
    )

    compare = commands.add_parser(
        "compare", help="compare methods over seeds: tables, figures and a page"
    )
    compare.add_argument(
        "runs", type=Path, nargs="+", metavar="RUN", help="directory of a run"
    )
    compare.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="where it is written"
    )

    recognise = commands.add_parser(
        "recognise",
        help="run a config's recogniser over its games, without training",
        usage="clrl recognise CONFIG [--agent RUN] [--key value ...]",
        allow_abbrev=False,
    )
    recognise.add_argument("config", metavar="CONFIG")
    recognise.add_argument(
        "--agent", type=Path, metavar="RUN", help="whose agent plays; else at random"
    )

    patterns = commands.add_parser(
        "patterns", help="what EWC changes in a linear memory of random patterns"
    )
    patterns.add_argument("--synapses", type=int, default=1_000, help="(1000)")
    patterns.add_argument("--repeats", type=int, default=400, help="memories (400)")
    patterns.add_argument("--seed", type=int, default=0, help="of the patterns (0)")
    patterns.add_argument(
        "--output", type=Path, default=Path("patterns.png"), metavar="FILE"
    )

    overlap = commands.add_parser(
        "overlap",
        help="how far tasks that are more or less alike need the same parameters",
        usage="clrl overlap CONFIG [--squares N ...] [--seeds N] [--key value ...]",
        allow_abbrev=False,
    )
    overlap.add_argument("config", metavar="CONFIG")
    overlap.add_argument(
        "--squares", type=int, nargs="+", default=(8, 26), help="their sides (8 26)"
    )
    overlap.add_argument("--seeds", type=int, default=3, help="networks of each (3)")
    overlap.add_argument(
        "--output", type=Path, default=Path("overlap.png"), metavar="FILE"
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

    config = config_file.read_config(find_config(options.config), overrides)
    runner = _runner(config)
    runner.check(config)
    description = config_file.describe(config)
    directory = _new_directory(config, description)
    directory.config.write_text(config_file.to_yaml(config), encoding="utf-8")
    _line(out, f"{directory.path}: {', '.join(config.task_names)}")
    _line(out, f"tensorboard --logdir {directory.tensorboard}")

    started = time.perf_counter()
    try:
        with _listener(out) as listener, _terminable():
            runner.train(config, directory, listener)
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


def _runner(config: "CommonConfig") -> "Runner":
    """What runs a config; only the modules of its own domain are imported."""
    from clrl.config_supervised import SupervisedRunConfig

    if isinstance(config, SupervisedRunConfig):
        from clrl import run_supervised

        return cast("Runner", run_supervised)
    from clrl import run

    return cast("Runner", run)


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
    out.print(report(summary))
    if summary.measure == "return":
        _line(out, f"report       {write_report(directory.path)}")
    _line(out, f"picture      {directory.picture}")
    _line(out, f"numbers      {directory.summary}")
    _line(out, f"tensorboard  tensorboard --logdir {directory.tensorboard}")


def _evaluate(out: Console, options: argparse.Namespace) -> int:
    directory = RunDirectory.open(options.run)
    if options.episodes is not None and options.episodes < 1:
        raise ConfigError(f"--episodes must be at least 1, got {options.episodes}.")
    from clrl import config_file
    from clrl.report.tables import evaluation_table

    config = config_file.read_config(directory.config)
    with _listener(out) as listener:
        scores = _runner(config).evaluate(directory, options.episodes, listener)
    out.print(evaluation_table(scores, config.measure))
    return 0


def _compare(out: Console, options: argparse.Namespace) -> int:
    from clrl.report.comparison import compare
    from clrl.report.comparison_page import write_comparison
    from clrl.report.comparison_runs import select

    comparison = compare(select(options.runs))
    page = write_comparison(comparison, options.out)
    for note in comparison.notes:
        _line(out, note)
    for run in comparison.selection.left_out:
        _line(out, f"left out: {run.path}: {run.reason}")
    _line(out, f"page    {page}")
    _line(out, f"tables  {options.out / 'tables.md'}, and .csv beside it")
    return 0


def _watch(out: Console, options: argparse.Namespace) -> int:
    directory = RunDirectory.open(options.run)
    for name in ("episodes", "seconds"):
        if not getattr(options, name) >= 1:
            raise ConfigError(
                f"--{name} must be at least 1, got {getattr(options, name)}."
            )
    from clrl.watch import watch

    with _listener(out) as listener:
        watch(
            directory,
            options.game,
            options.output,
            episodes=options.episodes,
            max_seconds=options.seconds,
            listener=listener,
        )
    return 0


def _write_report(out: Console, options: argparse.Namespace) -> int:
    from clrl.report.page import write_report

    _line(out, str(write_report(options.run, options.output)))
    return 0


def _recognise(out: Console, options: argparse.Namespace, overrides: list[str]) -> int:
    from clrl import config_file
    from clrl.config import check_games
    from clrl.report import recognition as report
    from clrl.rl.atari import game_names

    config = config_file.read_game_config(find_config(options.config), overrides)
    check_games(config.games, game_names())
    agent_run = None if options.agent is None else RunDirectory.open(options.agent)

    from clrl.recognise import recognise

    with _listener(out) as listener:
        stream = recognise(config, agent_run, listener)
    stem = run_stem("recognise", stream.recogniser, config.games, config.seed)
    folder = RunDirectory.create_numbered(config.runs_dir, stem).path
    report.write_json(stream, folder / "recognition.json")
    report.draw_timeline(stream).savefig(folder / "recognition.png")
    report.draw_contexts(stream).savefig(folder / "contexts.png")
    out.print(report.recognition_table(stream))
    _line(out, f"numbers      {folder / 'recognition.json'}")
    _line(out, f"over time    {folder / 'recognition.png'}")
    _line(out, f"contexts     {folder / 'contexts.png'}")
    return 0


def _patterns(out: Console, options: argparse.Namespace) -> int:
    from clrl.patterns import run_patterns

    with _listener(out) as listener:
        table = run_patterns(
            options.output,
            synapses=options.synapses,
            repeats=options.repeats,
            seed=options.seed,
            listener=listener,
        )
    out.print(table)
    _line(out, f"picture      {options.output}")
    return 0


def _overlap(out: Console, options: argparse.Namespace, overrides: list[str]) -> int:
    from clrl import config_file
    from clrl.overlap import run_overlap

    config = config_file.read_supervised_config(find_config(options.config), overrides)
    with _listener(out) as listener:
        table = run_overlap(
            config,
            options.output,
            squares=options.squares,
            seeds=options.seeds,
            listener=listener,
        )
    out.print(table)
    _line(out, f"picture      {options.output}")
    _line(out, f"numbers      {options.output.with_suffix('.json')}")
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
    elif what == "datasets":
        from clrl.supervised.data import DATASETS

        yield from ((name, entry.meaning) for name, entry in DATASETS.items())
    elif what == "streams":
        from clrl.supervised.streams import STREAMS

        yield from ((name, _first_line(cls)) for name, cls in STREAMS.items())
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
