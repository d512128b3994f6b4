"""The command line. The only module that prints.

    clrl train | reference | evaluate | watch | perturb | report | compare
    clrl recognise | patterns | overlap | list

Exit codes: 0 done, 1 the run failed, 2 the request was wrong, 130 interrupted.

Modules that import torch are imported where they are needed, so that help is instant.
"""

import argparse
import contextlib
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast, get_args, runtime_checkable

from rich.console import Console
from rich.live import Live

from clrl.arguments import make_parser
from clrl.config_library import config_files, find_config
from clrl.config_texts import texts_of_file
from clrl.errors import ClrlError, ConfigError, unknown_name
from clrl.progress import Listener, LiveProgress, PlainProgress
from clrl.run_directory import RunDirectory, run_stem

if TYPE_CHECKING:
    from clrl.config_common import CommonConfig
    from clrl.records import Evaluation, Labelling, Relabelled
    from clrl.report.recognition import RecognisedStream
    from clrl.report.references import Reference
    from clrl.summary import RunDescription


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
        self,
        directory: RunDirectory,
        episodes: int | None,
        listener: Listener,
        also_under: "Sequence[Labelling] | None" = None,
    ) -> list["Evaluation | Relabelled"]:
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
    options, overrides = make_parser().parse_known_args(arguments)
    try:
        return _run(out, options, overrides)
    except ConfigError as error:
        _complain(err, error)
        return 2
    except ClrlError as error:
        _complain(err, error)
        return 1


def _run(out: Console, options: argparse.Namespace, overrides: list[str]) -> int:
    taking_keys = {
        "train": _train,
        "reference": _reference,
        "recognise": _recognise,
        "overlap": _overlap,
    }
    if options.command in taking_keys:
        return taking_keys[options.command](out, options, overrides)
    if overrides:
        raise ConfigError(f"unexpected {' '.join(overrides)}")
    commands = {
        "evaluate": _evaluate,
        "watch": _watch,
        "perturb": _perturb,
        "report": _write_report,
        "compare": _compare,
        "patterns": _patterns,
        "list": _list,
    }
    return commands[options.command](out, options)


def _train(out: Console, options: argparse.Namespace, overrides: list[str]) -> int:
    if options.help:
        return _train_help(out, options.config, overrides)
    if options.config is None or options.config.startswith("--"):
        raise ConfigError(
            "clrl train expects a config, got none; name a file or one of "
            f"{', '.join(config_files())}."
        )
    from clrl import config_file

    return _train_config(
        out, config_file.read_config(find_config(options.config), overrides)
    )


def _train_config(out: Console, config: "CommonConfig") -> int:
    """Trains as a config says, into a directory of its own."""
    from clrl import config_file

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


def _reference(out: Console, options: argparse.Namespace, overrides: list[str]) -> int:
    """Trains the references that are missing, after a plan of all of them."""
    from clrl import config_file
    from clrl.report.references import FOLDER, folder_beside, plan

    source = Path(options.source)
    if source.is_dir():
        if overrides:
            raise ConfigError(
                f"the references of a run have the run's config, got {overrides[0]} as "
                "well; name a config instead of the run to change something."
            )
        directory = RunDirectory.open(source)
        path, folder = directory.config, folder_beside(directory.path)
        config = config_file.read_game_config(path)
        # As it stands in the run's file, for that is what reads the run back sees.
        texts = texts_of_file(path)
    else:
        path = find_config(options.source)
        config = config_file.read_game_config(path, overrides)
        folder = config.runs_dir.resolve() / FOLDER
        texts = config_file.hyper_parameters(config)
    seeds = _seeds(options.seeds) or [config.seed]
    references = plan(folder, texts, config.games, seeds)
    _show_plan(out, references)
    for reference in references:
        if not reference.missing:
            continue
        changes = [f"--{key}={text}" for key, text in reference.overrides.items()]
        if reference.path.exists():
            RunDirectory(reference.path).discard()
        code = _train_config(
            out, config_file.read_game_config(path, [*overrides, *changes])
        )
        if code:
            return code
    return 0


def _show_plan(out: Console, references: Sequence["Reference"]) -> None:
    """Says of each reference whether it is trained, and how long that is."""
    for reference in references:
        state = "cached"
        if reference.missing:
            state = f"to train, {reference.agent_steps:,} steps: {reference.missing}"
        _line(out, f"{reference.path}: {state}")
    to_train = [reference for reference in references if reference.missing]
    steps = sum(reference.agent_steps for reference in to_train)
    _line(
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
    _line(out, f"report       {write_page(run, directory.report)}")
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
        scores = _runner(config).evaluate(
            directory, options.episodes, listener, _labellings(options.also_under)
        )
    out.print(evaluation_table(scores, config.measure))
    return 0


def _labellings(text: str | None) -> "list[Labelling] | None":
    from clrl.records import Labelling

    if text is None:
        return None
    known: tuple[Labelling, ...] = get_args(Labelling)
    for name in text.split(","):
        if name not in known:
            raise unknown_name("label to score under", name, known)
    return [labelling for labelling in known if labelling in text.split(",")]


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


def _perturb(out: Console, options: argparse.Namespace) -> int:
    directory = RunDirectory.open(options.run)
    from clrl.perturb import perturb
    from clrl.report.perturbation import perturbation_table

    with _listener(out) as listener:
        perturbation = perturb(
            directory,
            options.game,
            sizes=options.sizes,
            draws=options.draws,
            episodes=options.episodes,
            damping=options.damping,
            listener=listener,
        )
    out.print(perturbation_table(perturbation))
    _line(out, f"files        {directory.perturbation}")
    _line(out, f"in a page    clrl report {directory.path}")
    return 0


def _write_report(out: Console, options: argparse.Namespace) -> int:
    from clrl.report.page import write_report

    _line(out, str(write_report(options.run, options.output)))
    return 0


def _recognise(out: Console, options: argparse.Namespace, overrides: list[str]) -> int:
    from clrl import config_file
    from clrl.recognise_tensorboard import write_tensorboard
    from clrl.report import recognition as report

    config = config_file.read_config(find_config(options.config), overrides)
    stream = _recognised(out, config, options.agent)
    stem = run_stem("recognise", stream.recogniser, config.subject, config.seed)
    directory = RunDirectory.create_numbered(config.runs_dir, stem)
    folder = directory.path
    report.write_json(stream, folder / "recognition.json")
    report.draw_timeline(stream).savefig(folder / "recognition.png")
    report.draw_contexts(stream).savefig(folder / "contexts.png")
    write_tensorboard(stream, directory.tensorboard)
    out.print(report.recognition_table(stream))
    _line(out, f"numbers      {folder / 'recognition.json'}")
    _line(out, f"over time    {folder / 'recognition.png'}")
    _line(out, f"contexts     {folder / 'contexts.png'}")
    _line(out, f"tensorboard --logdir {directory.tensorboard}")
    return 0


def _recognised(
    out: Console, config: "CommonConfig", agent: Path | None
) -> "RecognisedStream":
    from clrl.config import RunConfig
    from clrl.config_supervised import SupervisedRunConfig

    if isinstance(config, SupervisedRunConfig):
        from clrl import recognise_supervised

        if agent is not None:
            raise ConfigError(
                f"--agent is for games, which somebody must play, got {agent} for a "
                "supervised config; leave it out."
            )
        with _listener(out) as listener:
            return recognise_supervised.recognise(config, listener)
    from clrl.rl.atari_modes import check_specs

    assert isinstance(config, RunConfig)
    check_specs(config.games)
    agent_run = None if agent is None else RunDirectory.open(agent)

    from clrl.recognise import recognise

    with _listener(out) as listener:
        return recognise(config, agent_run, listener)


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
