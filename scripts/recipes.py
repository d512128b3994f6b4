"""Runs recipes, prints what was expected and what came out, writes docs/recipes.md."""

import argparse
import sys
from pathlib import Path

from recipe import Recipe, read_recipes
from recipe_figure import draw_sweeps
from recipe_page import Row, page, rows
from recipe_results import Result, read_result, write_result
from recipe_runs import run_seed
from rich.console import Console
from rich.table import Table

from clrl.errors import ClrlError

FOLDER = Path("recipes")
CACHE = Path("runs/recipes")
RESULTS = Path("docs/results/recipes")
PAGE = Path("docs/recipes.md")
PICTURES = Path("docs/pictures")
TABLE_WIDTH = 110


def main() -> int:
    """Runs what has not been run, the rest too where one fails.

    The exit code is 0 even where a recipe misses, 1 where a run failed.
    """
    arguments = parse_arguments()
    # A pipe or a file has no width of its own; the table needs some.
    out = Console(width=None if sys.stdout.isatty() else TABLE_WIDTH)
    failures = 0
    try:
        everything = read_recipes(FOLDER)
        chosen = read_recipes(FOLDER, arguments.names)
    except ClrlError as error:
        say_failed(out, error)
        return 1
    for name, recipe in ({} if arguments.page else chosen).items():
        try:
            run(out, name, recipe)
        except ClrlError as error:
            say_failed(out, error)
            failures += 1
    results = {
        name: read_result(result_path(name), recipe)
        for name, recipe in everything.items()
    }
    draw_sweeps(everything, results, PICTURES)
    PAGE.write_text(page(everything, results), encoding="utf-8")
    out.print(table(chosen, results))
    out.print(f"page  {PAGE}", highlight=False)
    return 1 if failures else 0


def say_failed(out: Console, error: ClrlError) -> None:
    """Why there is no result."""
    out.print(f"scripts/recipes: {error}", highlight=False, markup=False)


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description="Reproduces published numbers.", prog="scripts/recipes"
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="by default all")
    parser.add_argument("--page", action="store_true", help="run nothing, write page")
    return parser.parse_args()


def run(out: Console, name: str, recipe: Recipe) -> None:
    """Runs all seeds of a recipe and writes its result, unless that is there."""
    if read_result(result_path(name), recipe) is not None:
        return
    runs = {}
    for seed in recipe.seeds:
        out.print(f"{name}: seed {seed}, about {recipe.minutes:g} minutes")
        runs[seed] = run_seed(name, recipe, seed, CACHE)
    write_result(result_path(name), recipe, runs)


def result_path(name: str) -> Path:
    """Where a recipe's result is kept."""
    return RESULTS / f"{name}.json"


def table(recipes: dict[str, Recipe], results: dict[str, Result | None]) -> Table:
    """Expected, got and verdict, for the eye."""
    found = Table(*Row._fields)
    for name, recipe in recipes.items():
        for row in rows(name, recipe, results[name]):
            found.add_row(*row)
    return found


if __name__ == "__main__":
    sys.exit(main())
