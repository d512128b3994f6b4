"""What a reader of a run's results should know before trusting them."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from clrl import records
from clrl.guards import FrozenAgent, InactivePenalty
from clrl.history import Alarm, of_kind
from clrl.report.run_data import RunData
from clrl.summary_visits import VisitSummary, is_above_random

INACTIVE_PENALTY = 1e-6
"""A penalty that never exceeds this share of the task loss protects nothing."""

FEW_EPISODES = 10
"""Below this many episodes a score, small differences are noise."""


class _Verdict(NamedTuple):
    """What the whole run shows of something that a guard watches step by step.

    Attributes:
        text: What is said of it.
        guard: Name of the guard.
        after_steps: Agent steps after which the guard's alarms say the same again.
    """

    text: str
    guard: str
    after_steps: int

    def sums_up(self, alarm: Alarm) -> bool:
        """Whether nothing new is in the alarm."""
        return alarm.guard == self.guard and alarm.agent_steps > self.after_steps


def findings(run: RunData) -> list[str]:
    """All that is noteworthy, a sentence or two each, and nothing twice."""
    verdicts = [*_penalty(run), *_learning(run)]
    return [
        *_state(run),
        *_records(run),
        *_missing_scores(run),
        *(verdict.text for verdict in verdicts),
        *_labels(run),
        *_noise(run),
        *(
            f"At step {alarm.agent_steps:,}: {alarm.message}"
            for alarm in run.history.alarms
            if not any(verdict.sums_up(alarm) for verdict in verdicts)
        ),
    ]


def _state(run: RunData) -> Iterator[str]:
    if run.is_finished:
        return
    progress = (
        f"{len(run.visits)} of {run.planned_visits} visits have begun, and "
        f"{run.amount} are recorded; everything below is of those."
    )
    if run.stopped is None:
        yield (
            f"The run has not ended: it goes on, or was killed. Of the plan, {progress}"
        )
    else:
        yield f"The run ended early: {run.stopped} Of the plan, {progress}"


def _records(run: RunData) -> Iterator[str]:
    if run.is_cut_off:
        yield (
            "The last record was being written when the run stopped; that one is left "
            "out."
        )
    for kind, count in run.history.unknown.items():
        yield (
            f"{count:,} records of kind {kind!r} are left out: this version of clrl "
            "does not know them."
        )
    if not run.provenance:
        yield "There is no provenance.json: with what the run was made is not known."


def _missing_scores(run: RunData) -> Iterator[str]:
    for stage, row in enumerate(run.scores):
        missing = [run.games[game] for game in np.flatnonzero(np.isnan(row))]
        if missing:
            yield (
                f"After stage {stage} ({run.stages[stage]}) there is no score of "
                f"{', '.join(missing)}; all measures are of the stages before it."
            )
            return


def _penalty(run: RunData) -> Iterator[_Verdict]:
    penalised = [
        left
        for left in of_kind(run.history.events, records.Consolidation)
        if "curvature_max" in left.metrics
    ]
    if not penalised:
        return
    since = penalised[0].agent_steps
    updates = run.history.updates
    later = updates.agent_steps > since
    if not later.any():
        return
    loss, penalty = updates.loss[later], updates.penalty[later]
    if np.all(penalty <= INACTIVE_PENALTY * loss):
        yield _Verdict(
            "The penalty was never above 1e-6 of the task loss, so nothing was "
            "protected; raise method.strength, or set method.importance_scale to "
            "unit_mean.",
            InactivePenalty.name,
            after_steps=0,
        )


def _learning(run: RunData) -> Iterator[_Verdict]:
    if run.summary is None or not run.summary.random_policy:
        return
    visits = run.summary.visits
    learned = [
        number
        for number, visit in enumerate(visits, start=1)
        if _is_learned(run, visit)
    ]
    if not learned:
        yield _Verdict(
            "No visit ended with training returns above random play by 3 standard "
            "errors: the agent has learnt nothing yet, so there is nothing that it "
            "could forget.",
            FrozenAgent.name,
            after_steps=0,
        )
    elif len(visits) - learned[-1] > 1:
        yield _Verdict(
            f"No learning after visit {learned[-1]}: none of the "
            f"{len(visits) - learned[-1]} visits that followed ended with training "
            "returns above random play. Little forgetting is then no merit.",
            FrozenAgent.name,
            after_steps=run.visits[learned[-1]].agent_steps,
        )


def _is_learned(run: RunData, visit: VisitSummary) -> bool:
    assert run.summary is not None
    random = run.summary.random_policy.get(visit.game)
    return random is not None and is_above_random(visit, random)


def _labels(run: RunData) -> Iterator[str]:
    if run.summary is None or run.description.recogniser == "one_task":
        return
    games_of: dict[int, set[str]] = {}
    for visit in run.summary.visits:
        games_of.setdefault(visit.label, set()).add(visit.game)
    for label, games in sorted(games_of.items()):
        if len(games) > 1:
            yield (
                f"{' and '.join(sorted(games))} were taken for the same task "
                f"({label}): they share a memory, and neither is protected from the "
                "other."
            )


def _noise(run: RunData) -> Iterator[str]:
    if run.is_supervised:
        return  # an accuracy is over the whole test set
    episodes = [len(e.returns) for e in of_kind(run.history.events, records.Evaluation)]
    limit = run.config.get("evaluation", {}).get("max_episode_steps")
    if episodes and limit is not None:
        yield (
            f"Scored episodes were cut off after {limit:,} agent steps, so "
            "human-normalised scores compare a part of a game with whole ones."
        )
    if episodes and min(episodes) < FEW_EPISODES:
        yield (
            f"Each score is the mean of {min(episodes)} episodes, so small differences "
            "are noise; evaluation.episodes makes it more."
        )
