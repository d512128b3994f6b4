"""The parser of ``clrl COMMAND ...``, put together from the families of commands."""

import argparse
import importlib.metadata
from typing import TypeAlias

from clrl.commands import listing, runs, studies, training

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
"""Where a family adds its commands.

Each sets ``execute``, a function of the console and the options that gives the exit
code, and ``takes_keys`` if what its parser does not know is for a config.
"""


def make_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="clrl",
        description="One learner, a sequence of games or tasks, and what it remembers.",
        allow_abbrev=False,
    )
    version = importlib.metadata.version("clrl")
    parser.add_argument("--version", action="version", version=f"clrl {version}")
    parser.set_defaults(takes_keys=False)
    commands: Commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for family in (training, runs, studies, listing):
        family.add_to(commands)
    return parser
