"""A recipe: what is run to reproduce a published number, and what counts as reached."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

import jsonargparse

from clrl.config.library import find_config, flat
from clrl.config.texts import (
    Texts,
    digest_of,
    merged,
    read_yaml,
    texts_of_arguments,
    texts_of_file,
)
from clrl.errors import ConfigError, unknown_name

Comparison: TypeAlias = Literal["near", "at_least", "at_most"]
Verdict: TypeAlias = Literal["reached", "missed"]
Measures: TypeAlias = Mapping[str, float]
"""What a run came to, by the name of the measure."""


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """A number that a recipe should come to."""

    value: float
    """What is expected of the mean over seeds."""

    tolerance: float = 0.0
    """How far from it the mean may be, on the sides that ``compare`` forbids."""

    compare: Comparison = "near"
    """Whether it may be neither more nor less, not less, or not more."""

    published: float | None = None
    """What the source says; None where ``value`` is a goal of this project."""

    def verdict(self, got: float) -> Verdict:
        """Whether ``got`` is as expected; NaN is not."""
        distance = got - self.value
        reached = {
            "near": abs(distance) <= self.tolerance,
            "at_least": distance >= -self.tolerance,
            "at_most": distance <= self.tolerance,
        }
        return "reached" if reached[self.compare] else "missed"

    def __str__(self) -> str:
        """Such as ``at least 0.95``."""
        if self.compare == "near":
            return f"{self.value:g} ± {self.tolerance:g}"
        bound = self.value + self.tolerance * (1 if self.compare == "at_most" else -1)
        return f"{self.compare.replace('_', ' ')} {bound:g}"


@dataclass(frozen=True, kw_only=True)
class SweepPoint:
    """What a recipe is in a figure of several that differ in one number."""

    picture: str
    """Name of the figure's file."""

    curve: str
    """Which line of the figure it belongs to."""

    axis: str
    """What is varied."""

    value: float
    """Of what is varied, more than 0."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a published number is reproduced; field for field what its file holds."""

    title: str
    """What it shows, on one line."""

    source: str
    """Where the number stands."""

    expected: dict[str, Expectation] = field(default_factory=dict)
    """By measure; empty where nothing is published to compare with."""

    seeds: list[int] = field(default_factory=lambda: [0, 1, 2])
    """Of the runs whose mean is compared."""

    minutes: float
    """Roughly what one seed takes on one core."""

    config: str | None = None
    """Of the runs, as ``clrl train`` names it; null: the random-pattern memory."""

    overrides: dict[str, Any] = field(default_factory=dict)
    """Of the config, by dotted key; or options of the random-pattern memory."""

    sweep: SweepPoint | None = None
    """Its place in a figure; null: in none."""

    note: str = ""
    """What a reader of the result should know."""

    @property
    def arguments(self) -> list[str]:
        """The overrides as a command line."""
        return [f"--{key}={text}" for key, text in flat(self.overrides)]

    @property
    def settings(self) -> Texts:
        """What decides the result but for the seed: the config and its overrides."""
        if self.config is None:
            return dict(flat(self.overrides))
        file = texts_of_file(find_config(self.config))
        return merged(file, texts_of_arguments(self.arguments))

    @property
    def identity(self) -> str:
        """A hash of ``settings``: a result of other settings is not this recipe's."""
        return digest_of(self.settings)


def read_recipe(path: Path) -> Recipe:
    """The recipe in a YAML file.

    Raises:
        ConfigError: The file is no recipe.
    """
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_argument("--recipe", type=Recipe)
    try:
        parsed = parser.parse_object({"recipe": read_yaml(path)})
    except (jsonargparse.ArgumentError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"{path} is no recipe: {reason}") from None
    values = parsed.recipe.as_dict()
    if not values["seeds"]:
        raise ConfigError(f"{path} must give at least one seed, got none.")
    expected = values.pop("expected").items()
    sweep = values.pop("sweep")
    return Recipe(
        expected={measure: Expectation(**e) for measure, e in expected},
        sweep=None if sweep is None else SweepPoint(**sweep),
        **values,
    )


def read_recipes(folder: Path, names: Sequence[str] = ()) -> dict[str, Recipe]:
    """The recipes in a folder by name, or only those that are named.

    Raises:
        ConfigError: A name is unknown, or a file is no recipe.
    """
    paths = {path.stem: path for path in sorted(folder.glob("*.yaml"))}
    for name in names:
        if name not in paths:
            raise unknown_name("recipe", name, paths)
    return {name: read_recipe(paths[name]) for name in names or paths}


def mean(runs: Sequence[Measures]) -> dict[str, float]:
    """The mean over runs of each measure."""
    return {name: math.fsum(run[name] for run in runs) / len(runs) for name in runs[0]}
