"""How well the inferred tasks of a run agree with the true ones."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from clrl import records
from clrl.evaluation import recognition
from clrl.history import History, of_kind

SMALL_SHARE = 0.01
"""A context that holds less of the run than this is not counted as found."""


@dataclass(frozen=True, kw_only=True)
class RecognitionSummary:
    """How well the inferred tasks agree with the true ones, over the run's steps.

    Attributes:
        ari: Adjusted Rand index, 1 for perfect agreement.
        contexts: Tasks inferred.
        contexts_of_at_least_1_percent: Those that hold 1 % of the steps or more.
        delay_steps: Median agent steps from a true switch to its label.
    """

    ari: float
    contexts: int
    contexts_of_at_least_1_percent: int
    delay_steps: float


def summarise_recognition(history: History, games: Sequence[str]) -> RecognitionSummary:
    """Inferred against true tasks, over the agent steps of the run."""
    known = timelines(history, games)
    if known is None:
        return RecognitionSummary(
            ari=math.nan,
            contexts=0,
            contexts_of_at_least_1_percent=0,
            delay_steps=math.nan,
        )
    truth, inferred = known
    total_steps = history.agent_steps
    contingency = recognition.contingency(truth, inferred, total_steps)
    delays = recognition.switch_delays_steps(truth, inferred, total_steps)
    labels = of_kind(history.events, records.Label)
    return RecognitionSummary(
        ari=float(recognition.adjusted_rand_index(contingency)),
        contexts=len({label.label for label in labels}),
        contexts_of_at_least_1_percent=int(
            recognition.contexts_of_at_least(contingency, SMALL_SHARE)
        ),
        delay_steps=float(np.median(delays)) if len(delays) else math.nan,
    )


def timelines(
    history: History, games: Sequence[str]
) -> tuple[recognition.Timeline, recognition.Timeline] | None:
    """The true tasks, as positions in ``games``, and the inferred ones.

    Returns:
        Both over the agent steps of the run; None before the first step.
    """
    visits = of_kind(history.events, records.Visit)
    labels = of_kind(history.events, records.Label)
    total_steps = history.agent_steps
    if not (visits and labels and total_steps):
        return None
    truth = {visit.agent_steps: games.index(visit.game) for visit in visits}
    inferred = {label.agent_steps: label.label for label in labels}
    return _timeline(truth, total_steps), _timeline(inferred, total_steps)


def labels_of_tasks(
    history: History, tasks: Sequence[str], agent_steps: int
) -> dict[str, int]:
    """The label under which most steps of each task were, of those with any.

    Args:
        history: What happened.
        tasks: By name.
        agent_steps: Only what was before is counted.
    """
    known = timelines(replace(history, agent_steps=agent_steps), tasks)
    if known is None:
        return {}
    contingency = recognition.contingency(*known, agent_steps)
    return {
        task: int(steps.argmax())
        for task, steps in zip(tasks, contingency, strict=False)
        if steps.any()
    }


def _timeline(value_from: dict[int, int], total_steps: int) -> recognition.Timeline:
    # A run that was interrupted may have begun a visit without a step in it.
    starts = [step for step in value_from if step < total_steps]
    return recognition.Timeline(
        np.array(starts), np.array([value_from[step] for step in starts])
    )
