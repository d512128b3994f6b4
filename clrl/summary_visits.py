"""What training looked like in each visit, and which games were learnt."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from clrl import records
from clrl.evaluation import transfer_matrix
from clrl.evaluation.human_scores import normalised
from clrl.evaluation.learning_curves import area_under_curve
from clrl.history import Episodes, History, of_kind, spans

LEARNED_STANDARD_ERRORS = 3
"""A game counts as learnt that many combined standard errors above random play."""


@dataclass(frozen=True, kw_only=True)
class VisitSummary:
    """Training in one visit.

    Attributes:
        game: The game visited.
        label: The inferred task that held most of the visit's steps.
        agent_steps: Length of the visit.
        episodes: Episodes that ended in it.
        return_mean: Mean raw return over the last third of them.
        return_standard_error: Of that mean; None below two episodes.
        penalty_mean: Mean penalty; None without updates.
        return_area: Raw return averaged over the visit's steps, the area under its
            training curve; None without episodes.
    """

    game: str
    label: int
    agent_steps: int
    episodes: int
    return_mean: float | None
    return_standard_error: float | None
    penalty_mean: float | None
    return_area: float | None = None


@dataclass(frozen=True, kw_only=True)
class RandomSummary:
    """Raw returns of the random policy in one game."""

    mean: float
    standard_error: float | None
    episodes: int


def summarise_visits(history: History) -> tuple[VisitSummary, ...]:
    """What training looked like in each visit."""
    labels = of_kind(history.events, records.Label)
    visits = of_kind(history.events, records.Visit)
    summaries = []
    for visit, end in spans(visits, history.agent_steps):
        episodes = history.episodes.of_visit(visit.visit)
        returns = episodes.returns
        penalties = history.updates.of_visit(visit.visit).penalty
        last_third = returns[-math.ceil(len(returns) / 3) :].tolist()
        summaries.append(
            VisitSummary(
                game=visit.game,
                label=majority_label(labels, visit.agent_steps, end),
                agent_steps=end - visit.agent_steps,
                episodes=len(returns),
                return_mean=float(np.mean(last_third)) if last_third else None,
                return_standard_error=standard_error(last_third),
                penalty_mean=float(np.mean(penalties)) if len(penalties) else None,
                return_area=return_area(episodes, visit.agent_steps, end),
            )
        )
    return tuple(summaries)


def return_area(episodes: Episodes, start: int, end: int) -> float | None:
    """Raw return averaged over the agent steps from ``start`` to ``end``."""
    if not len(episodes.returns):
        return None
    return area_under_curve(episodes.agent_steps, episodes.returns, start, end)


def training_score(visits: Sequence[VisitSummary]) -> float:
    """Mean over visits of the human-normalised area under their training curve."""
    return transfer_matrix.known_mean(
        [
            normalised(visit.game, visit.return_area)
            for visit in visits
            if visit.return_area is not None
        ]
    )


def majority_label(labels: Sequence[records.Label], start: int, end: int) -> int:
    """The label that holds most of the agent steps from ``start`` to ``end``."""
    steps: Counter[int] = Counter()
    for label, change in spans(labels, end):
        steps[label.label] += max(0, min(change, end) - max(label.agent_steps, start))
    return max(steps, key=steps.__getitem__, default=0)


def learned_games(
    visits: Sequence[VisitSummary], random_policy: dict[str, RandomSummary]
) -> tuple[str, ...]:
    """The games whose last visit is clearly above the random policy."""
    final = {visit.game: visit for visit in visits}
    return tuple(
        game
        for game, visit in final.items()
        if game in random_policy and is_above_random(visit, random_policy[game])
    )


def is_above_random(visit: VisitSummary, random: RandomSummary) -> bool:
    """Whether training returns are above random play by 3 combined standard errors."""
    if visit.return_mean is None or visit.return_standard_error is None:
        return False
    if random.standard_error is None:
        return False
    combined = math.hypot(visit.return_standard_error, random.standard_error)
    gain = visit.return_mean - random.mean
    return gain > 0 and gain >= LEARNED_STANDARD_ERRORS * combined


def summarise_returns(returns: Sequence[float]) -> RandomSummary:
    """Mean, its standard error and the number of some returns."""
    return RandomSummary(
        mean=float(np.mean(returns)),
        standard_error=standard_error(returns),
        episodes=len(returns),
    )


def standard_error(values: Sequence[float]) -> float | None:
    """Sample standard deviation (n - 1) over sqrt(n); None for fewer than two."""
    if len(values) < 2:  # noqa: PLR2004 - a deviation needs two
        return None
    return float(np.std(values, ddof=1) / math.sqrt(len(values)))
