"""Checks of the ranges of knobs: each raises a ConfigError that names the key."""

import math

from clrl.errors import ConfigError


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
