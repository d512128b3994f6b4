"""Checks of the ranges of knobs: each raises a ConfigError that names the key."""

import math
from pathlib import Path

from clrl.errors import ConfigError

_PICTURES = (".png", ".svg", ".pdf")


def check_at_least(name: str, value: float, least: float) -> None:
    """Raises ConfigError if ``value`` is below ``least`` or NaN."""
    if not value >= least:
        raise ConfigError(f"{name} must be at least {least}, got {value}; raise it.")


def check_between(name: str, value: float, least: float, most: float) -> None:
    """Raises ConfigError unless ``value`` is from ``least`` to ``most``."""
    if not least <= value <= most:
        raise ConfigError(
            f"{name} must be from {least} to {most}, got {value}; change it."
        )


def check_positive(name: str, value: float) -> None:
    """Raises ConfigError unless ``value`` is positive and finite."""
    if not (value > 0 and math.isfinite(value)):
        raise ConfigError(
            f"{name} must be positive and finite, got {value}; change it."
        )


def check_power_of_two(name: str, value: int) -> None:
    """Raises ConfigError unless ``value`` is 1, 2, 4, 8, …."""
    check_at_least(name, value, 1)
    if value.bit_count() != 1:
        raise ConfigError(f"{name} must be a power of two, got {value}; change it.")


def check_share(name: str, value: float) -> None:
    """Raises ConfigError unless ``value`` lies between 0 and 1."""
    if not 0 <= value <= 1:
        raise ConfigError(f"{name} must lie between 0 and 1, got {value}; change it.")


def check_picture(path: Path) -> None:
    """Raises ConfigError unless a picture can be written to ``path``."""
    if path.suffix not in _PICTURES:
        raise ConfigError(
            f"a picture must end in {', '.join(_PICTURES)}, got {path}; name one."
        )
    if not path.parent.is_dir():
        raise ConfigError(
            f"a picture must go into a folder that is there, got {path}; make "
            f"{path.parent} first."
        )
