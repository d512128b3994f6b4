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
from typing import Literal, NamedTuple, TypeAlias, TypeVar

import numpy as np
from jaxtyping import Float64

from clrl import records
from clrl.errors import ConfigError
from clrl.evaluation import cora, recognition, transfer_matrix
from clrl.evaluation.human_scores import normalised, normalised_matrix
from clrl.evaluation.learning_curves import area_under_curve
from clrl.history import Episodes, History, history_of
from clrl.records import Record

R = TypeVar("R")
S = TypeVar("S", records.Visit, records.Label)

SMALL_SHARE = 0.01
"""A context that holds less of the run than this is not counted as found."""

LEARNED_STANDARD_ERRORS = 3
"""A game counts as learnt that many combined standard errors above random play."""


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
        acc: Mean final normalised score.
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


def of_kind(run: Iterable[Record], kind: type[R]) -> list[R]:
    """The records of one kind, in order."""
    return [record for record in run if isinstance(record, kind)]


def spans(changes: Sequence[S], end: int) -> list[tuple[S, int]]:
    """Each change with the agent step at which the next one, or the end, comes."""
    ends = [*(change.agent_steps for change in changes[1:]), end]
    return list(zip(changes, ends, strict=False))


def last_step(run: Sequence[Record]) -> int:
    """Agent steps of training that the records cover."""
    return max((record.agent_steps for record in run), default=0)


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
    scores = np.full((stages, len(games)), math.nan)
    for e in evaluations:
        if e.game in games:
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


def _timeline(value_from: dict[int, int], total_steps: int) -> recognition.Timeline:
    # A run that was interrupted may have begun a visit without a step in it.
    starts = [step for step in value_from if step < total_steps]
    return recognition.Timeline(
        np.array(starts), np.array([value_from[step] for step in starts])
    )


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
