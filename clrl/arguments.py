"""What the command line understands: its commands and their arguments."""

import argparse
import importlib.metadata
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    Commands: TypeAlias = argparse._SubParsersAction[argparse.ArgumentParser]

LISTS = (
    "games",
    "datasets",
    "streams",
    "methods",
    "recognisers",
    "networks",
    "configs",
)
"""What ``clrl list`` lists."""


def make_parser() -> argparse.ArgumentParser:
    """The parser of ``clrl COMMAND ...``, a function below for each command.

    ``train``, ``reference``, ``recognise`` and ``overlap`` take the keys of their
    configs besides: what this parser does not know is for them.
    """
    parser = argparse.ArgumentParser(
        prog="clrl",
        description="One learner, a sequence of games or tasks, and what it remembers.",
        allow_abbrev=False,
    )
    version = importlib.metadata.version("clrl")
    parser.add_argument("--version", action="version", version=f"clrl {version}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_train(commands)
    _add_reference(commands)
    _add_evaluate(commands)
    _add_report(commands)
    _add_watch(commands)
    _add_perturb(commands)
    _add_compare(commands)
    _add_recognise(commands)
    _add_patterns(commands)
    _add_overlap(commands)
    _add_list(commands)
    return parser


def _add_train(commands: "Commands") -> None:
    train = commands.add_parser(
        "train",
        help="train on a sequence of games or tasks, and report",
        usage="clrl train CONFIG [--key value ...]",
        add_help=False,
        allow_abbrev=False,
    )
    train.add_argument("config", nargs="?", metavar="CONFIG")
    train.add_argument("-h", "--help", action="store_true")


def _add_reference(commands: "Commands") -> None:
    reference = commands.add_parser(
        "reference",
        help="train on each game of a run or config alone, to measure the run against",
        usage="clrl reference RUN_OR_CONFIG [--seeds 0,1,2] [--key value ...]",
        allow_abbrev=False,
    )
    reference.add_argument("source", metavar="RUN_OR_CONFIG")
    reference.add_argument(
        "--seeds", metavar="N,N", help="of the references; by default the run's own"
    )


def _add_evaluate(commands: "Commands") -> None:
    evaluate = commands.add_parser(
        "evaluate", help="score what a run has trained on all its games or tasks again"
    )
    evaluate.add_argument("run", type=Path, metavar="RUN", help="directory of the run")
    evaluate.add_argument("--episodes", type=int, help="of each game")
    evaluate.add_argument(
        "--also-under",
        metavar="LABELS",
        help="score again under true_label, no_label or both, with a comma",
    )


def _add_report(commands: "Commands") -> None:
    report = commands.add_parser(
        "report", help="write all of a run, finished or not, as one page"
    )
    report.add_argument("run", type=Path, metavar="RUN", help="directory of the run")
    report.add_argument(
        "--output", type=Path, metavar="FILE", help="default: report.html in RUN"
    )


def _add_watch(commands: "Commands") -> None:
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


def _add_perturb(commands: "Commands") -> None:
    perturb = commands.add_parser(
        "perturb", help="score a trained agent with noise on its weights"
    )
    perturb.add_argument("run", type=Path, metavar="RUN", help="directory of the run")
    perturb.add_argument("--game", help="one of the run's; by default each of them")
    perturb.add_argument(
        "--sizes",
        type=float,
        nargs="+",
        default=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3),
        help="of the noise, root mean square over weights (0.001 to 0.3)",
    )
    perturb.add_argument("--draws", type=int, default=3, help="of each size (3)")
    perturb.add_argument(
        "--episodes", type=int, help="of each draw; default: the run's own number"
    )
    perturb.add_argument(
        "--damping",
        type=float,
        default=0.01,
        help="lambda of the inverse Fisher, in multiples of its mean (0.01)",
    )


def _add_compare(commands: "Commands") -> None:
    compare = commands.add_parser(
        "compare", help="compare methods over seeds: tables, figures and a page"
    )
    compare.add_argument(
        "runs", type=Path, nargs="+", metavar="RUN", help="directory of a run"
    )
    compare.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="where it is written"
    )


def _add_recognise(commands: "Commands") -> None:
    recognise = commands.add_parser(
        "recognise",
        help="run a config's recogniser over its stream, without training",
        usage="clrl recognise CONFIG [--agent RUN] [--key value ...]",
        allow_abbrev=False,
    )
    recognise.add_argument("config", metavar="CONFIG")
    recognise.add_argument(
        "--agent", type=Path, metavar="RUN", help="whose agent plays; else at random"
    )


def _add_patterns(commands: "Commands") -> None:
    patterns = commands.add_parser(
        "patterns", help="what EWC changes in a linear memory of random patterns"
    )
    patterns.add_argument("--synapses", type=int, default=1_000, help="(1000)")
    patterns.add_argument("--repeats", type=int, default=400, help="memories (400)")
    patterns.add_argument("--seed", type=int, default=0, help="of the patterns (0)")
    patterns.add_argument(
        "--output", type=Path, default=Path("patterns.png"), metavar="FILE"
    )


def _add_overlap(commands: "Commands") -> None:
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


def _add_list(commands: "Commands") -> None:
    listing = commands.add_parser("list", help="list what a config can name")
    listing.add_argument("what", choices=LISTS)
