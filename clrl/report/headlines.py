"""The numbers of a run that matter most, each with what it means in plain words."""

import math
from collections.abc import Iterator
from typing import NamedTuple

from clrl.report.tables import is_zero, number, signed
from clrl.report.words import Words, words_of
from clrl.summary import Summary
from clrl.summary_recognition import RecognitionSummary


class Headline(NamedTuple):
    """One number.

    Attributes:
        name: Of the measure.
        value: As it is shown.
        meaning: One sentence.
    """

    name: str
    value: str
    meaning: str


def headlines(summary: Summary) -> list[Headline]:
    """Scores and transfer first, then recognition."""
    is_return = summary.measure == "return"
    total = Headline("Total clipped", number(summary.total_clipped), _total(summary))
    learned = Headline("Learnt", _learned(summary), _learned_meaning(summary))
    words = words_of(summary.measure)
    return [
        Headline("ACC", number(summary.acc), _acc(summary)),
        *([total] if is_return else []),
        Headline("BWT", signed(summary.bwt), _bwt(summary.bwt, words)),
        Headline("Forgetting", number(summary.forgetting), _forgetting(summary, words)),
        Headline("FWT", signed(summary.fwt), _fwt(summary.fwt, words)),
        *([learned] if is_return else []),
        Headline("ARI", number(summary.recognition.ari), _ari(summary.recognition)),
        Headline(
            "Tasks inferred",
            str(summary.recognition.contexts),
            " ".join(_contexts(summary)),
        ),
    ]


def _acc(summary: Summary) -> str:
    if summary.measure == "accuracy":
        return f"Mean final accuracy over {len(summary.tasks)} tasks."
    if math.isnan(summary.acc):
        return "Mean final score; unknown, as no game here has a human score."
    games = sum(not math.isnan(score) for score in summary.human_normalised[-1])
    return (
        f"Mean final score over {games} {_games(games)}, where 0 is random play and 1 "
        "is a human."
    )


def _total(summary: Summary) -> str:
    return (
        f"Sum of the final scores over games, each counted as 1 at most; a human in "
        f"every game would have {len(summary.tasks)}."
    )


def _bwt(bwt: float, words: Words) -> str:
    if math.isnan(bwt):
        return (
            f"Not known yet: it needs a {words.task} that was not the last one trained."
        )
    if is_zero(bwt):
        moved = "kept its score"
    else:
        moved = f"{'lost' if bwt < 0 else 'gained'} {number(abs(bwt))}"
    return (
        f"From the end of its last visit to the end of the run, a {words.task} {moved} "
        "on average."
    )


def _forgetting(summary: Summary, words: Words) -> str:
    if math.isnan(summary.forgetting):
        return (
            f"Not known yet: it needs a {words.task} that was not the last one trained."
        )
    return f"Mean drop of a {words.task} from its best earlier score to its final one."


def _fwt(fwt: float, words: Words) -> str:
    if math.isnan(fwt):
        return f"Not known yet: it needs a second {words.task}."
    if is_zero(fwt):
        played = "as well as"
    else:
        played = f"{number(abs(fwt))} {'better' if fwt > 0 else 'worse'} than"
    done = "played" if words.task == "game" else "solved"
    return (
        f"Just before its first visit, a {words.task} was {done} {played} by the "
        "untrained network, on average."
    )


def _learned(summary: Summary) -> str:
    visited = {visit.game for visit in summary.visits}
    return f"{len(summary.learned)} of {len(visited)}"


def _learned_meaning(summary: Summary) -> str:
    if not summary.random_policy:
        return "Not known: no random policy was played for comparison."
    which = f" ({', '.join(summary.learned)})" if summary.learned else ""
    return (
        "Games whose training returns in their last visit were above random play by "
        f"3 standard errors{which}."
    )


def _ari(found: RecognitionSummary) -> str:
    if math.isnan(found.ari):
        return "Not known before the first step."
    return (
        "How well the inferred tasks agree with the true ones over the run: 1 is "
        "perfect, 0 is chance."
    )


def _contexts(summary: Summary) -> Iterator[str]:
    found, count = summary.recognition, len(summary.tasks)
    words = words_of(summary.measure)
    yield (
        f"For {count} {words.task if count == 1 else words.tasks}; "
        f"{found.contexts_of_at_least_1_percent} of them held 1 % of the {words.steps} "
        "or more."
    )
    if not math.isnan(found.delay_steps):
        yield (
            f"After a switch the right one was found within {found.delay_steps:,.0f} "
            f"{words.steps} (median)."
        )


def _games(count: int) -> str:
    return "game" if count == 1 else "games"
