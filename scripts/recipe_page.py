"""Recipes beside what they came to: as lines of a table, and as ``docs/recipes.md``."""

import shlex
import statistics
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from recipe import Expectation, Recipe
from recipe_results import Result

NOT_RUN = "not run"
NOTHING = "-"

HEAD = """\
# Recipes

Each file in `recipes/` reproduces published numbers, or measures what this project set
as its goal where nothing is published: a config, its overrides, the
source, what is expected of the mean over seeds, and roughly what a seed costs on one
core.

    scripts/recipes                # all of them; what has been run is not run again
    scripts/recipes gem_rotations  # some, by name
    scripts/recipes --page         # runs nothing, writes this page

`scripts/recipes` writes this page from `recipes/` and from `docs/results/recipes/`,
which has the numbers of each seed. A recipe that misses is shown as missed. Accuracies
are over whole test sets unless a note says otherwise. `acc` is their mean over tasks
after the last one, `lowest` the worst, `first` and `last` those of the tasks learnt
first and last (of games, `acc` is 0 for a random policy and 1 for a human, the others
are mean returns). `got` is the mean over seeds and, behind ±, their standard deviation;
`expected` is of the mean, with a tolerance behind ±. `bwt`, `fwt` and `forgetting` are
as in [measures.md](measures.md).
"""


class Row(NamedTuple):
    """One measure of a recipe, for the eye.

    Attributes:
        recipe: Its name.
        measure: As ``recipe_runs.measures_of`` names it.
        published: The source's number.
        expected: Of the mean over seeds.
        got: The mean over seeds, with the standard deviation.
        verdict: ``reached``, ``missed``, ``not run``; for what is published nowhere, -.
    """

    recipe: str
    measure: str
    published: str
    expected: str
    got: str
    verdict: str


def rows(name: str, recipe: Recipe, result: Result | None) -> Iterator[Row]:
    """The measures that a recipe expects; where it expects none, its accuracy."""
    expected: dict[str, Expectation | None] = {**recipe.expected}
    for measure, expectation in (expected or {"acc": None}).items():
        yield Row(
            name,
            measure,
            _published(expectation),
            NOTHING if expectation is None else str(expectation),
            NOTHING if result is None else _got(result, measure),
            _verdict(result, measure, expectation),
        )


def page(recipes: Mapping[str, Recipe], results: Mapping[str, Result | None]) -> str:
    """The page in Markdown.

    Args:
        recipes: By name.
        results: By the same names; None where a recipe was not run.
    """
    table = ["recipe", "measure", "published", "expected", "got", "verdict"]
    lines = [HEAD, _line(table), _line(["---"] * len(table))]
    for name, recipe in recipes.items():
        for row in rows(name, recipe, results[name]):
            lines.append(_line([f"[{name}](#{name})", *row[1:]]))
    lines += _pictures(recipes, results)
    for name, recipe in recipes.items():
        lines += ["", *_section(name, recipe, results[name])]
    return "\n".join(lines) + "\n"


def _pictures(
    recipes: Mapping[str, Recipe], results: Mapping[str, Result | None]
) -> list[str]:
    """A paragraph for each sweep of which anything was run."""
    sweeps = {
        recipe.sweep.picture: recipe.sweep.axis
        for name, recipe in recipes.items()
        if recipe.sweep is not None and results[name] is not None
    }
    return [
        line
        for picture, axis in sweeps.items()
        for line in (
            "",
            f"![Accuracy and forgetting against {axis}](pictures/{picture}.png)",
        )
    ]


def _section(name: str, recipe: Recipe, result: Result | None) -> Iterator[str]:
    yield f"## {name}"
    yield ""
    yield f"{recipe.title}. Source: {recipe.source}."
    if recipe.note:
        yield recipe.note.strip()
    yield ""
    if recipe.config is not None:
        arguments = shlex.join(recipe.arguments)
        yield f"    clrl train {recipe.config} {arguments}".rstrip()
        yield ""
    cost = f"About {recipe.minutes:g} minutes a seed on one core."
    if result is None:
        yield f"Not run. {cost}"
        return
    seeds = ", ".join(map(str, result.runs))
    yield (
        f"Run on {result.date} with seeds {seeds} on {result.machine['cpu']} "
        f"([numbers](results/recipes/{name}.json)). {cost}"
    )


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _published(expectation: Expectation | None) -> str:
    if expectation is None or expectation.published is None:
        return NOTHING
    return f"{expectation.published:g}"


def _got(result: Result, measure: str) -> str:
    values = [run[measure] for run in result.runs.values()]
    mean = f"{statistics.fmean(values):.3f}"
    return f"{mean} ± {statistics.stdev(values):.3f}" if len(values) > 1 else mean


def _verdict(
    result: Result | None, measure: str, expectation: Expectation | None
) -> str:
    if result is None:
        return NOT_RUN
    if expectation is None:
        return NOTHING
    return expectation.verdict(result.mean[measure])
