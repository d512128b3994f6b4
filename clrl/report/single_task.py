"""A run on a sequence beside runs of the same agent on each of its games alone."""

import math
from collections import Counter
from typing import NamedTuple

import numpy as np

from clrl.evaluation.human_scores import normalised
from clrl.evaluation.learning_curves import (
    forward_transfer_of_task,
    normalised_forward_transfer,
)
from clrl.evaluation.transfer_matrix import known_mean
from clrl.report.finished_run import References
from clrl.summary import Summary
from clrl.summary_visits import VisitSummary


class VisitLevel(NamedTuple):
    """The score right after a visit, beside that of an agent that knows one game.

    Attributes:
        stage: That the visit ended, such as ``pong #2``.
        game: Its position among the run's games.
        name: Of the game.
        level: Raw score of the game then.
        alone: Raw score of the single-task agent after as many visits; mean over its
            seeds.
    """

    stage: str
    game: int
    name: str
    level: float
    alone: float

    @property
    def human_level(self) -> float:
        """Human-normalised; NaN where unknown."""
        return normalised(self.name, self.level)

    @property
    def human_alone(self) -> float:
        """Human-normalised; NaN where unknown."""
        return normalised(self.name, self.alone)

    @property
    def human_difference(self) -> float:
        """Human-normalised; negative where less was learnt than alone."""
        return self.human_level - self.human_alone


class GameTransfer(NamedTuple):
    """How a game was learnt in its first visit, beside an agent that knows no other.

    Attributes:
        game: Its position among the run's games.
        name: Of the game.
        area: Raw return while training, averaged over the visit's steps; NaN without
            episodes.
        alone: The same of the single-task agent; mean over its seeds.
        seeds: Their number.
    """

    game: int
    name: str
    area: float
    alone: float
    seeds: int

    @property
    def human_area(self) -> float:
        """Human-normalised; NaN where unknown."""
        return normalised(self.name, self.area)

    @property
    def human_alone(self) -> float:
        """Human-normalised; NaN where unknown."""
        return normalised(self.name, self.alone)

    @property
    def transfer(self) -> float:
        """Continual World's, a human being the best; NaN where a human is reached."""
        return forward_transfer_of_task(self.human_area, self.human_alone)


def visit_levels(summary: Summary, references: References) -> list[VisitLevel]:
    """The visits that were scored, of the games that have references."""
    visited: Counter[str] = Counter()
    levels = []
    for stage, visit in enumerate(_scored_visits(summary), start=1):
        name, game = visit.game, summary.tasks.index(visit.game)
        visited[name] += 1
        if name not in references:
            continue
        alone = [each.scores[visited[name]][0] for each in references[name]]
        levels.append(
            VisitLevel(
                stage=summary.stages[stage],
                game=game,
                name=name,
                level=summary.scores[stage][game],
                alone=float(np.mean(alone)),
            )
        )
    return levels


def level_difference(summary: Summary, references: References) -> float:
    """Human-normalised, mean over visits; NaN without references."""
    levels = visit_levels(summary, references)
    return known_mean([level.human_difference for level in levels])


def game_transfers(summary: Summary, references: References) -> list[GameTransfer]:
    """Of games with references whose first visit was scored, in the games' order."""
    first = {visit.game: visit for visit in reversed(_scored_visits(summary))}
    transfers = []
    for game, name in enumerate(summary.tasks):
        if name not in references or name not in first:
            continue
        alone = [_known(each.visits[0].return_area) for each in references[name]]
        transfers.append(
            GameTransfer(
                game=game,
                name=name,
                area=_known(first[name].return_area),
                alone=float(np.mean(alone)),
                seeds=len(alone),
            )
        )
    return transfers


def forward_transfer(summary: Summary, references: References) -> float:
    """Normalised forward transfer, mean over games; NaN without references."""
    transfers = game_transfers(summary, references)
    return normalised_forward_transfer(
        [each.human_area for each in transfers],
        [each.human_alone for each in transfers],
    )


def _scored_visits(summary: Summary) -> tuple[VisitSummary, ...]:
    return summary.visits[: len(summary.stages) - 1]


def _known(value: float | None) -> float:
    return math.nan if value is None else value
