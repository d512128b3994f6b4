"""``clrl list``: what a config can name."""

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import Console

from clrl.commands.console import line
from clrl.config.library import config_files

if TYPE_CHECKING:
    from clrl.commands.parsers import Commands

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


def add_to(commands: "Commands") -> None:
    """Adds the command to the parser."""
    parser = commands.add_parser("list", help="list what a config can name")
    parser.add_argument("what", choices=LISTS)
    parser.set_defaults(execute=list_names)


def list_names(out: Console, options: argparse.Namespace) -> int:
    """Lists names, a line for each; the exit code."""
    for name, meaning in _listed(options.what):
        line(out, f"{name:24}{meaning}".rstrip())
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
