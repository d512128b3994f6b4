"""The numbers of a run that methods are compared by.

Scores are human-normalised (Nature-2015 humans) where nothing else is said.
"""

from collections.abc import Callable
from dataclasses import dataclass

from clrl.report.finished_run import FinishedRun
from clrl.report.single_task import forward_transfer, level_difference


@dataclass(frozen=True)
class Measure:
    """A number that each run has.

    Attributes:
        name: As tables and figures show it.
        meaning: In one line.
        of: Reads it off a run; NaN where it does not exist.
    """

    name: str
    meaning: str
    of: Callable[[FinishedRun], float]


MEASURES = (
    Measure("ACC", "mean final score; higher is better", lambda run: run.summary.acc),
    Measure(
        "BWT",
        "final score less the score after the game's own last visit; higher is better",
        lambda run: run.summary.bwt,
    ),
    Measure(
        "FWT",
        "score before a game's first visit less that before training; higher is better",
        lambda run: run.summary.fwt,
    ),
    Measure(
        "forgetting",
        "best earlier score less the final one; lower is better",
        lambda run: run.summary.forgetting,
    ),
    Measure(
        "total clipped",
        "sum over games of the final score, at most 1 each; higher is better",
        lambda run: run.summary.total_clipped,
    ),
    Measure(
        "training score",
        "mean score while training, over time and visits; higher is better",
        lambda run: run.summary.training_score,
    ),
    Measure(
        "normalised FT",
        "Continual World: learning in each game's first visit, against the same agent "
        "on that game alone; higher is better",
        lambda run: forward_transfer(run.summary, run.references),
    ),
    Measure(
        "level against alone",
        "score after each visit less that of the same agent on that game alone after "
        "as many steps; higher is better",
        lambda run: level_difference(run.summary, run.references),
    ),
    Measure(
        "isolated forgetting",
        "CORA: loss on an earlier game in one stage, share of its largest raw score; "
        "lower is better",
        lambda run: run.summary.isolated_forgetting,
    ),
    Measure(
        "zero-shot transfer",
        "CORA: gain on a game not met yet in one stage, share of its largest raw "
        "score; higher is better",
        lambda run: run.summary.zero_shot_transfer,
    ),
    Measure(
        "recognition ARI",
        "agreement of inferred with true tasks, 0 is chance; higher is better",
        lambda run: run.summary.recognition.ari,
    ),
    Measure(
        "ACC (57)",
        "ACC by the 57-game table; higher is better",
        lambda run: run.summary.acc_57,
    ),
    Measure(
        "total clipped (57)",
        "total clipped by the 57-game table; higher is better",
        lambda run: run.summary.total_clipped_57,
    ),
)
