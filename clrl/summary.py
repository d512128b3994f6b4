"""Records of a run -> its results as numbers, ``summary.json``.

Scores are mean raw returns, or accuracies in a supervised run. ACC, BWT, FWT and
forgetting are computed on human-normalised scores (Nature-2015 humans where there is
one), over the games that have one; the other games' normalised scores are null. Fields
whose name ends in ``_57`` take the humans of the 57-game table instead. CORA's measures
are of raw scores. The measures of a supervised run are computed on the accuracies, and
nothing is human-normalised. A run that was interrupted is summarised up to the last
stage at which every game was scored.
"""

import dataclasses
import json
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias, get_args

import numpy as np
from jaxtyping import Float64

from clrl import records
from clrl.errors import ConfigError
from clrl.evaluation import cora, transfer_matrix
from clrl.evaluation.human_scores import normalised_matrix
from clrl.history import History, history_of, of_kind
from clrl.records import Record
from clrl.summary_recognition import RecognitionSummary, summarise_recognition
from clrl.summary_visits import (
    RandomSummary,
    VisitSummary,
    learned_games,
    summarise_returns,
    summarise_visits,
    training_score,
)

Measure: TypeAlias = Literal["return", "accuracy"]
"""What a score is: the mean raw return of a game, or the accuracy on a task."""


class RunDescription(NamedTuple):
    """What a summary says about the run's config.

    Attributes:
        games: In the order of the score matrix's columns.
        method: By its name in the config.
        recogniser: By its name in the config.
        protocol: Rules of the environment; data set and stream of a supervised run.
        seed: Of the run.
        measure: What a score is.
    """

    games: tuple[str, ...]
    method: str
    recogniser: str
    protocol: str
    seed: int
    measure: Measure = "return"


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The results of a run; field for field what ``summary.json`` holds.

    Attributes:
        tasks: Games, or a supervised run's tasks, in the order of the columns.
        stages: ``before``, then game and number of the visit, such as ``pong #2``.
        scores: Mean raw returns or accuracies, a row for each stage.
        human_normalised: The same relative to random (0) and human (1); NaN where
            unknown.
        total_clipped: Sum over games of the final normalised score, at most 1 each.
        acc: Mean final score, human-normalised in games.
        bwt: Backward transfer.
        fwt: Forward transfer.
        forgetting: Mean drop from the best earlier stage.
        isolated_forgetting: CORA's, from stage to stage.
        zero_shot_transfer: CORA's, to games not met yet.
        training_score: Mean over visits of the normalised ``return_area``.
        human_normalised_57: As ``human_normalised``, by the 57-game table.
        total_clipped_57: As ``total_clipped``, by the 57-game table.
        acc_57: As ``acc``, by the 57-game table.
        recognition: Inferred against true tasks.
        method: By its name in the config.
        recogniser: By its name in the config.
        protocol: Rules of the environment.
        seed: Of the run.
        agent_steps: Agent steps of training, or examples.
        seconds: Wall-clock time of the run; NaN where unknown.
        visits: One for each visit.
        random_policy: By game.
        learned: Games whose return in their last visit is above the random policy's by
            3 combined standard errors or more.
        measure: What a score is.
        relabelled: Scores under other labels than the inferred one, by which; NaN where
            a game had none yet.
        acc_relabelled: As ``acc``, of these.
    """

    tasks: tuple[str, ...]
    stages: tuple[str, ...]
    scores: tuple[tuple[float, ...], ...]
    human_normalised: tuple[tuple[float, ...], ...]
    total_clipped: float
    acc: float
    bwt: float
    fwt: float
    forgetting: float
    isolated_forgetting: float
    zero_shot_transfer: float
    training_score: float
    human_normalised_57: tuple[tuple[float, ...], ...]
    total_clipped_57: float
    acc_57: float
    recognition: RecognitionSummary
    method: str
    recogniser: str
    protocol: str
    seed: int
    agent_steps: int
    seconds: float
    visits: tuple[VisitSummary, ...]
    random_policy: dict[str, RandomSummary]
    learned: tuple[str, ...]
    measure: Measure
    relabelled: dict[str, tuple[tuple[float, ...], ...]]
    acc_relabelled: dict[str, float]


def summarise(
    run: Sequence[Record], description: RunDescription, seconds: float = math.nan
) -> Summary:
    """The results in the records of a run.

    Args:
        run: Its records, in order.
        description: Of its config.
        seconds: Wall-clock time it took.

    Raises:
        ConfigError: No stage has been evaluated yet.
    """
    return summarise_history(history_of(run), description, seconds)


def summarise_history(
    history: History, description: RunDescription, seconds: float = math.nan
) -> Summary:
    """The results of a run; as ``summarise``, for runs of any length."""
    games, run = description.games, history.events
    scores = score_matrix(run, games)
    if not len(scores):
        raise ConfigError(
            "a summary needs at least one evaluation of every game, got none; let the "
            "run go on for longer."
        )
    human = normalised_matrix(games, scores, "nature")
    human_57 = normalised_matrix(games, scores, "57")
    is_return = description.measure == "return"
    comparable = human if is_return else scores
    visits = of_kind(run, records.Visit)
    trained = [games.index(v.game) for v in visits][: len(scores) - 1]
    visit_summaries = summarise_visits(history)
    random_policy = {
        r.game: summarise_returns(r.returns) for r in of_kind(run, records.RandomPolicy)
    }
    relabelled = {
        labelling: scores_of(
            (r for r in of_kind(run, records.Relabelled) if r.labelling == labelling),
            games,
            stages=len(scores),
        )
        for labelling in get_args(records.Labelling)
        if any(r.labelling == labelling for r in of_kind(run, records.Relabelled))
    }
    return Summary(
        tasks=games,
        stages=("before", *stage_names([games[j] for j in trained])),
        scores=_rows(scores),
        human_normalised=_rows(human),
        total_clipped=(
            transfer_matrix.total_clipped(human[-1]) if is_return else math.nan
        ),
        acc=transfer_matrix.average_score(comparable),
        bwt=transfer_matrix.backward_transfer(comparable, trained),
        fwt=transfer_matrix.forward_transfer(comparable, trained),
        forgetting=transfer_matrix.forgetting(comparable, trained),
        isolated_forgetting=cora.isolated_forgetting(scores, trained),
        zero_shot_transfer=cora.zero_shot_transfer(scores, trained),
        training_score=training_score(visit_summaries),
        human_normalised_57=_rows(human_57),
        total_clipped_57=(
            transfer_matrix.total_clipped(human_57[-1]) if is_return else math.nan
        ),
        acc_57=transfer_matrix.average_score(human_57),
        recognition=summarise_recognition(history, games),
        method=description.method,
        recogniser=description.recogniser,
        protocol=description.protocol,
        seed=description.seed,
        agent_steps=history.agent_steps,
        seconds=seconds,
        visits=visit_summaries,
        random_policy=random_policy,
        learned=learned_games(visit_summaries, random_policy),
        measure=description.measure,
        relabelled={name: _rows(again) for name, again in relabelled.items()},
        acc_relabelled={
            name: transfer_matrix.average_score(
                normalised_matrix(games, again, "nature") if is_return else again
            )
            for name, again in relabelled.items()
        },
    )


def comparable_scores(summary: Summary) -> tuple[tuple[float, ...], ...]:
    """The scores that ACC, BWT, FWT and forgetting are computed on."""
    is_accuracy = summary.measure == "accuracy"
    return summary.scores if is_accuracy else summary.human_normalised


def is_summarisable(run: Sequence[Record], games: Sequence[str]) -> bool:
    """Whether every game has been scored at least once."""
    return len(score_matrix(run, games)) > 0


def write_summary(summary: Summary, path: Path) -> None:
    """Writes ``summary.json``; numbers that do not exist (NaN) become null."""
    text = json.dumps(_without_nan(dataclasses.asdict(summary)), indent=2)
    path.write_text(text + "\n", encoding="utf-8")


def score_matrix(
    run: Iterable[Record], games: Sequence[str]
) -> Float64[np.ndarray, "S T"]:
    """Mean raw returns by stage and game, up to the last stage with all games."""
    scores = known_scores(run, games)
    incomplete = np.isnan(scores).any(axis=1)
    return scores[: int(incomplete.argmax())] if incomplete.any() else scores


def known_scores(
    run: Iterable[Record], games: Sequence[str]
) -> Float64[np.ndarray, "S T"]:
    """Mean raw returns by stage and game, NaN where a game was not scored."""
    evaluations = of_kind(run, records.Evaluation)
    stages = 1 + max((e.stage for e in evaluations), default=-1)
    return scores_of(evaluations, games, stages)


def scores_of(
    evaluations: Iterable[records.Evaluation | records.Relabelled],
    games: Sequence[str],
    stages: int,
) -> Float64[np.ndarray, "S T"]:
    """Mean raw returns in some records by stage and game, NaN where there is none."""
    scores = np.full((stages, len(games)), math.nan)
    for e in evaluations:
        if e.game in games and e.stage < stages:
            scores[e.stage, games.index(e.game)] = np.mean(e.returns)
    return scores


def stage_names(visited: Iterable[str]) -> list[str]:
    """Game and number of each visit: ``pong #1``, ``breakout #1``, ``pong #2``."""
    count: Counter[str] = Counter()
    names = []
    for game in visited:
        count[game] += 1
        names.append(f"{game} #{count[game]}")
    return names


def _rows(matrix: Float64[np.ndarray, "S T"]) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(row) for row in matrix.tolist())


def _without_nan(value: object) -> object:
    if isinstance(value, float) and math.isnan(value):
        return None
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return value
