"""``clrl evaluate, report, watch, perturb, compare``: for runs that there are."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from rich.console import Console

from clrl.commands.console import line, listening
from clrl.commands.runner import runner_of
from clrl.errors import ConfigError, unknown_name
from clrl.run_directory import RunDirectory

if TYPE_CHECKING:
    from clrl.commands.parsers import Commands
    from clrl.records import Labelling


def add_to(commands: "Commands") -> None:
    """Adds the commands of this module to the parser."""
    _add_evaluate(commands)
    _add_report(commands)
    _add_watch(commands)
    _add_perturb(commands)
    _add_compare(commands)


def _add_evaluate(commands: "Commands") -> None:
    parser = commands.add_parser(
        "evaluate", help="score what a run has trained on all its games or tasks again"
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="directory of the run")
    parser.add_argument("--episodes", type=int, help="of each game")
    parser.add_argument(
        "--also-under",
        metavar="LABELS",
        help="score again under true_label, no_label or both, with a comma",
    )
    parser.set_defaults(execute=evaluate)


def _add_report(commands: "Commands") -> None:
    parser = commands.add_parser(
        "report", help="write all of a run, finished or not, as one page"
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="directory of the run")
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="default: report.html in RUN"
    )
    parser.set_defaults(execute=report)


def _add_watch(commands: "Commands") -> None:
    parser = commands.add_parser("watch", help="film a trained agent at play")
    parser.add_argument("run", type=Path, metavar="RUN", help="directory of the run")
    parser.add_argument("--game", help="one of the run's; by default each of them")
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="default: RUN/videos/GAME.mp4"
    )
    parser.add_argument("--episodes", type=int, default=1, help="of each game (1)")
    parser.add_argument(
        "--seconds", type=float, default=180, help="of an episode at most (180)"
    )
    parser.set_defaults(execute=watch)


def _add_perturb(commands: "Commands") -> None:
    parser = commands.add_parser(
        "perturb", help="score a trained agent with noise on its weights"
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="directory of the run")
    parser.add_argument("--game", help="one of the run's; by default each of them")
    parser.add_argument(
        "--sizes",
        type=float,
        nargs="+",
        default=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3),
        help="of the noise, root mean square over weights (0.001 to 0.3)",
    )
    parser.add_argument("--draws", type=int, default=3, help="of each size (3)")
    parser.add_argument(
        "--episodes", type=int, help="of each draw; default: the run's own number"
    )
    parser.add_argument(
        "--damping",
        type=float,
        default=0.01,
        help="lambda of the inverse Fisher, in multiples of its mean (0.01)",
    )
    parser.set_defaults(execute=perturb)


def _add_compare(commands: "Commands") -> None:
    parser = commands.add_parser(
        "compare", help="compare methods over seeds: tables, figures and a page"
    )
    parser.add_argument(
        "runs", type=Path, nargs="+", metavar="RUN", help="directory of a run"
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="where it is written"
    )
    parser.set_defaults(execute=compare)


def evaluate(out: Console, options: argparse.Namespace) -> int:
    """Scores what a run has trained again; the exit code."""
    directory = RunDirectory.open(options.run)
    if options.episodes is not None and options.episodes < 1:
        raise ConfigError(f"--episodes must be at least 1, got {options.episodes}.")
    from clrl.config import config_file
    from clrl.report.tables import evaluation_table

    config = config_file.read_config(directory.config)
    with listening(out) as listener:
        scores = runner_of(config).evaluate(
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


def report(out: Console, options: argparse.Namespace) -> int:
    """Writes a run as one page; the exit code."""
    from clrl.report.page import write_report

    line(out, str(write_report(options.run, options.output)))
    return 0


def watch(out: Console, options: argparse.Namespace) -> int:
    """Films an agent; the exit code."""
    directory = RunDirectory.open(options.run)
    for name in ("episodes", "seconds"):
        if not getattr(options, name) >= 1:
            raise ConfigError(
                f"--{name} must be at least 1, got {getattr(options, name)}."
            )
    from clrl.watch import watch

    with listening(out) as listener:
        watch(
            directory,
            options.game,
            options.output,
            episodes=options.episodes,
            max_seconds=options.seconds,
            listener=listener,
        )
    return 0


def perturb(out: Console, options: argparse.Namespace) -> int:
    """Scores an agent with noise on its weights; the exit code."""
    directory = RunDirectory.open(options.run)
    from clrl.perturb import perturb
    from clrl.report.perturbation import perturbation_table

    with listening(out) as listener:
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
    line(out, f"files        {directory.perturbation}")
    line(out, f"in a page    clrl report {directory.path}")
    return 0


def compare(out: Console, options: argparse.Namespace) -> int:
    """Compares runs, as a page and tables; the exit code."""
    from clrl.report.comparison import compare
    from clrl.report.comparison_page import write_comparison
    from clrl.report.comparison_runs import select

    comparison = compare(select(options.runs))
    page = write_comparison(comparison, options.out)
    for note in comparison.notes:
        line(out, note)
    for run in comparison.selection.left_out:
        line(out, f"left out: {run.path}: {run.reason}")
    line(out, f"page    {page}")
    line(out, f"tables  {options.out / 'tables.md'}, and .csv beside it")
    return 0
