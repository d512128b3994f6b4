"""Runs a recipe with one seed, unless that has been done."""

import json
import math
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
from recipe import Measures, Recipe

from clrl.errors import ClrlError
from clrl.run_directory import RunDirectory
from clrl.summary import Summary
from clrl.summary_file import read_summary
from clrl.supervised.random_patterns import (
    constant_rates,
    ewc_rates,
    fraction_retained,
    gradient_descent_rate,
    simulate,
)

PATTERN_TIMES = (100, 500, 1_000, 2_000, 4_000)
FIRST_PATTERNS = 4  # so nearly alike that their mean stands for the first one's


class RecipeError(ClrlError):
    """A run of a recipe ended before its results were there."""


def run_seed(name: str, recipe: Recipe, seed: int, cache: Path) -> dict[str, float]:
    """What the recipe comes to with one seed.

    Args:
        name: Of the recipe.
        recipe: What is run.
        seed: Of the run.
        cache: Folder of finished runs; what is in it is not run again.

    Raises:
        RecipeError: The run failed.
    """
    stem = f"{name}-{recipe.identity}-seed{seed}"
    kept = cache / f"{stem}.json"
    if kept.exists():
        found: dict[str, float] = json.loads(kept.read_text(encoding="utf-8"))
        return found
    cache.mkdir(parents=True, exist_ok=True)
    if recipe.config is None:
        measures = run_patterns(recipe, seed)
    else:
        measures = run_training(recipe, seed, cache, stem)
    kept.write_text(json.dumps(measures, indent=2) + "\n", encoding="utf-8")
    return dict(measures)


def run_training(recipe: Recipe, seed: int, cache: Path, stem: str) -> Measures:
    """Trains in a process of its own, which writes what it says to ``<stem>.log``."""
    folder = cache / stem
    if folder.exists():  # of a run that was cut off
        shutil.rmtree(folder)
    command = [sys.executable, "-m", "clrl", "train", str(recipe.config)]
    options = [f"--seed={seed}", f"--runs_dir={cache}", f"--name={stem}"]
    log = cache / f"{stem}.log"
    with log.open("w", encoding="utf-8") as output:
        done = subprocess.run(
            [*command, *recipe.arguments, *options],
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if done.returncode != 0:
        raise RecipeError(f"{stem} ended with code {done.returncode}; see {log}.")
    return measures_of(read_summary(RunDirectory.open(folder).summary))


def measures_of(summary: Summary) -> dict[str, float]:
    """The numbers of a run that recipes compare.

    ``acc``, ``bwt``, ``fwt`` and ``forgetting`` as the summary has them; ``lowest``,
    the lowest score after the last task; ``first`` and ``last``, those of the tasks
    learnt first and last: accuracies, or mean returns of games.
    """
    final = summary.scores[-1]
    values = {
        "acc": summary.acc,
        "bwt": summary.bwt,
        "fwt": summary.fwt,
        "forgetting": summary.forgetting,
        "lowest": min(final),
        "first": final[0],
        "last": final[-1],
    }
    return {name: value for name, value in values.items() if not math.isnan(value)}


def run_patterns(recipe: Recipe, seed: int) -> Measures:
    """Signal over noise of the first patterns, and the share of patterns retained.

    ``ewc_snr_500`` is EWC's after 500 patterns, ``gd_retained_500`` the share that
    gradient descent retains then.
    """
    synapses, repeats = recipe.overrides["synapses"], recipe.overrides["repeats"]
    total = PATTERN_TIMES[-1]
    learners = {
        "ewc": ewc_rates(synapses, total),
        "gd": constant_rates(gradient_descent_rate(synapses), total),
    }
    measures = {}
    for learner, rates in learners.items():
        rng = np.random.default_rng(seed)
        found = simulate(rates, synapses, PATTERN_TIMES, repeats=repeats, rng=rng)
        retained = fraction_retained(found.snr)
        for i, time in enumerate(PATTERN_TIMES):
            measures[f"{learner}_snr_{time}"] = float(
                found.snr[i, :FIRST_PATTERNS].mean()
            )
            measures[f"{learner}_retained_{time}"] = float(retained[i])
    return measures
