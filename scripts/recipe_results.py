"""What recipes came to, one small JSON file each."""

import datetime
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from machine import machine
from recipe import Measures, Recipe, mean

PACKAGES = ("clrl", "torch", "numpy", "scipy")


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a recipe came to.

    Attributes:
        identity: Of the recipe as it was run.
        date: When the last run was over.
        machine: What it was run on.
        runs: Measures by seed.
    """

    identity: str
    date: str
    machine: dict[str, Any]
    runs: Mapping[int, Measures]

    @property
    def mean(self) -> Measures:
        """Over the seeds."""
        return mean(list(self.runs.values()))


def write_result(path: Path, recipe: Recipe, runs: Mapping[int, Measures]) -> Result:
    """Writes what the runs of a recipe came to, with what they were made with."""
    result = Result(
        identity=recipe.identity,
        date=datetime.date.today().isoformat(),
        machine=machine(PACKAGES),
        runs=runs,
    )
    content = {
        "identity": result.identity,
        "date": result.date,
        "machine": result.machine,
        "mean": _rounded(result.mean),
        "runs": {str(seed): _rounded(run) for seed, run in runs.items()},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return result


def read_result(path: Path, recipe: Recipe) -> Result | None:
    """What the recipe came to; None where it was not run, or with other settings."""
    if not path.exists():
        return None
    content = json.loads(path.read_text(encoding="utf-8"))
    if content["identity"] != recipe.identity:
        return None
    return Result(
        identity=content["identity"],
        date=content["date"],
        machine=content["machine"],
        runs={int(seed): run for seed, run in content["runs"].items()},
    )


def _rounded(measures: Measures) -> dict[str, float]:
    return {name: round(value, 4) for name, value in measures.items()}
