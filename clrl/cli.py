"""The command line.

    clrl train | reference | evaluate | report | watch | perturb | compare
    clrl recognise | patterns | overlap | list

Exit codes: 0 done, 1 the run failed, 2 the request was wrong, 130 interrupted.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from clrl.commands.console import line
from clrl.commands.parsers import make_parser
from clrl.errors import ClrlError, ConfigError


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
        if overrides and not options.takes_keys:
            raise ConfigError(f"unexpected {' '.join(overrides)}")
        options.overrides = overrides
        code: int = options.execute(out, options)
        return code
    except ClrlError as error:
        line(err, f"clrl: {error}")
        return 2 if isinstance(error, ConfigError) else 1
    except OSError as error:  # a full disk, a file where a folder should be
        line(err, f"clrl: {error}")
        return 1
    except KeyboardInterrupt:
        line(err, "clrl: interrupted")
        return 130
