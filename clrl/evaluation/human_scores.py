"""Scores relative to a random player (0) and a human (1).

Two tables of human scores are in use; they differ for 34 of the 49 games in both:

    nature    Mnih et al. (2015), extended data table 2, for 49 games; the 57-game table
              stands in for the others
    57        the 57-game table of later work (Wang et al., 2016, and after)

The random player's scores are the same in both.
"""

import csv
import math
from functools import cache
from importlib.resources import files
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float64

HumanTable: TypeAlias = Literal["nature", "57"]


class Reference(NamedTuple):
    """Mean raw scores of a random player and of a human, in one game."""

    random: float
    human: float


@cache
def references(table: HumanTable = "nature") -> dict[str, Reference]:
    """Both players' scores by game."""
    text = (files("clrl.evaluation") / "data" / "human_scores.csv").read_text("utf-8")
    return {
        row["game"]: Reference(float(row["random"]), _human(row, table))
        for row in csv.DictReader(text.splitlines())
    }


def _human(row: dict[str, str], table: HumanTable) -> float:
    if table == "nature" and row["human_nature2015"]:
        return float(row["human_nature2015"])
    return float(row["human_57"])


def normalised(game: str, score: float, table: HumanTable = "nature") -> float:
    """(score - random) / (human - random), neither clipped below nor above.

    Returns:
        NaN for a game that is in no table.
    """
    if game not in references(table):
        return math.nan
    random, human = references(table)[game]
    return (score - random) / (human - random)


def normalised_matrix(
    games: tuple[str, ...], scores: Float64[np.ndarray, "S T"], table: HumanTable
) -> Float64[np.ndarray, "S T"]:
    """``normalised`` for each column's game; columns of unknown games are NaN."""
    known = references(table)
    random = np.array([known[g].random if g in known else math.nan for g in games])
    human = np.array([known[g].human if g in known else math.nan for g in games])
    return np.asarray((scores - random) / (human - random))
