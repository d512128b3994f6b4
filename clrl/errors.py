"""The exceptions of clrl.

    ClrlError
    ├── ConfigError          the config asks for something unknown or impossible
    ├── DataError            a file of a data set is missing or altered
    ├── MemoryBudgetError    the replay memories do not fit into the memory allowed
    ├── DivergenceError      a loss, penalty or gradient stopped being finite
    └── CheckpointError      a checkpoint is missing, altered or of another config

Every message says what was expected, what came, and what to do.
"""

import difflib
from collections.abc import Iterable


class ClrlError(Exception):
    """An error whose message is meant for the person who started the run."""


class ConfigError(ClrlError, ValueError):
    """The config asks for something unknown or impossible."""


class DataError(ClrlError):
    """A file of a data set is missing, was altered, or cannot be fetched."""


class MemoryBudgetError(ClrlError):
    """The replay memories do not fit into the memory allowed."""


class DivergenceError(ClrlError, ArithmeticError):
    """A loss, penalty or gradient stopped being finite."""


class CheckpointError(ClrlError):
    """A checkpoint is missing, altered or of another config."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> ConfigError:
    """A ConfigError with the nearest known names, or all of them if none is near."""
    known = sorted(known)
    near = difflib.get_close_matches(name.lower(), known, n=3, cutoff=0.5)
    if near:
        advice = f"did you mean {' or '.join(near)}?"
    else:
        advice = f"known: {', '.join(known)}."
    return ConfigError(f"unknown {kind} {name!r}; {advice}")
