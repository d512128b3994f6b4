"""A summary as tables for a terminal."""

import math
from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from clrl.evaluation.human_scores import normalised
from clrl.records import Evaluation
from clrl.summary import Measure, Summary
from clrl.summary_visits import RandomSummary, VisitSummary, summarise_returns


def report(summary: Summary) -> Group:
    """The whole summary: scores, transfer, recognition, training."""
    if summary.measure == "accuracy":
        return Group(
            accuracy_table(summary),
            Text(accuracy_line(summary)),
            Text(recognition_line(summary)),
        )
    return Group(
        score_table(summary),
        Text(transfer_line(summary)),
        Text(recognition_line(summary)),
        Text(),
        training_table(summary),
        Text(learned_line(summary)),
    )


def score_table(summary: Summary) -> Table:
    """Stages by games; each cell a raw score and its human-normalised value."""
    table = Table(title="Score of each game after each visit (human-normalised)")
    table.add_column("after visit")
    for game in summary.tasks:
        table.add_column(game, justify="right")
    rows = zip(summary.stages, summary.scores, summary.human_normalised, strict=True)
    for stage, raw, human in rows:
        table.add_row(stage, *map(_cell, raw, human))
    return table


def accuracy_table(summary: Summary) -> Table:
    """Stages by tasks; each cell an accuracy, the task just learnt in bold."""
    table = Table(title="Accuracy on each task after each visit")
    table.add_column("after visit")
    for task in summary.tasks:
        table.add_column(task, justify="right")
    learnt = ["", *(visit.game for visit in summary.visits)]
    for stage, scores, own in zip(summary.stages, summary.scores, learnt, strict=False):
        cells = (
            Text(score(value, "accuracy"), style="bold" if task == own else "")
            for task, value in zip(summary.tasks, scores, strict=True)
        )
        table.add_row(stage, *cells)
    return table


def evaluation_table(
    evaluations: Sequence[Evaluation], measure: Measure = "return"
) -> Table:
    """Scores of one round of evaluation, a game or task a row."""
    if measure == "accuracy":
        table = Table(title="Accuracy without learning")
        for name in ("task", "label", "accuracy"):
            table.add_column(name, justify="left" if name == "task" else "right")
        for evaluation in evaluations:
            (accuracy,) = evaluation.returns
            table.add_row(
                evaluation.game, str(evaluation.label), score(accuracy, measure)
            )
        return table
    table = Table(title="Score without learning")
    for name in ("game", "task", "episodes", "return", "human-normalised"):
        table.add_column(name, justify="left" if name == "game" else "right")
    for evaluation in evaluations:
        returns = summarise_returns(evaluation.returns)
        table.add_row(
            evaluation.game,
            str(evaluation.label),
            str(returns.episodes),
            plus_minus(returns.mean, returns.standard_error),
            number(normalised(evaluation.game, returns.mean)),
        )
    return table


def transfer_line(summary: Summary) -> str:
    """ACC, BWT, FWT and forgetting, and for how many games they could be computed."""
    line = (
        f"human-normalised: ACC {number(summary.acc)}, BWT {number(summary.bwt)}, "
        f"FWT {number(summary.fwt)}, forgetting {number(summary.forgetting)}, "
        f"total clipped {number(summary.total_clipped)} of {len(summary.tasks)}"
    )
    unknown = [
        game
        for game, score in zip(summary.tasks, summary.human_normalised[-1], strict=True)
        if math.isnan(score)
    ]
    return f"{line} (no human score: {', '.join(unknown)})" if unknown else line


def accuracy_line(summary: Summary) -> str:
    """ACC, BWT, FWT and forgetting of accuracies."""
    return (
        f"accuracy: ACC {number(summary.acc, 3)}, BWT {number(summary.bwt, 3)}, "
        f"FWT {number(summary.fwt, 3)}, forgetting {number(summary.forgetting, 3)}"
    )


def recognition_line(summary: Summary) -> str:
    """How well the recogniser told the games, or tasks, apart."""
    is_return = summary.measure == "return"
    tasks, steps = ("games", "steps") if is_return else ("tasks", "examples")
    found = summary.recognition
    delay = "-" if math.isnan(found.delay_steps) else f"{found.delay_steps:,.0f}"
    return (
        f"recognition ({summary.recogniser}): ARI {number(found.ari)}, "
        f"{found.contexts} tasks inferred for {len(summary.tasks)} {tasks} "
        f"({found.contexts_of_at_least_1_percent} with at least 1 % of the {steps}), "
        f"median delay {delay} {steps}"
    )


def training_table(summary: Summary) -> Table:
    """Returns in training, visit by visit, beside the random policy's."""
    table = Table(title="Training returns (last third of each visit) ± standard error")
    for name in ("visit", "task", "steps", "episodes", "return", "random", "penalty"):
        table.add_column(name, justify="left" if name == "visit" else "right")
    for stage, visit in zip(visit_names(summary), summary.visits, strict=True):
        random = summary.random_policy.get(visit.game)
        table.add_row(stage, *_training_cells(visit, random))
    return table


def learned_line(summary: Summary) -> str:
    """Which games were played better than at random in their last visit."""
    return (
        f"above random by 3 standard errors in the last visit: "
        f"{', '.join(summary.learned) or 'none'}"
    )


def visit_names(summary: Summary) -> Iterator[str]:
    """The number and the game of each visit."""
    for number_, visit in enumerate(summary.visits, start=1):
        yield f"{number_} {visit.game}"


def number(value: float, digits: int = 2) -> str:
    """A rounded number, or a dash for NaN."""
    # Adding zero after rounding keeps -0.00 out of tables.
    return "-" if math.isnan(value) else f"{round(value, digits) + 0.0:.{digits}f}"


def signed(value: float) -> str:
    """As ``number``, with a plus before what is above zero when rounded."""
    return f"{'+' if value > 0 and not is_zero(value) else ''}{number(value)}"


def is_zero(value: float) -> bool:
    """Whether nothing is left of the value when rounded."""
    return number(abs(value)) == number(0.0)


def score(value: float, measure: Measure = "return") -> str:
    """A raw score with as many digits as matter."""
    if measure == "accuracy":
        return f"{value:.3f}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}"  # noqa: PLR2004


def plus_minus(mean: float | None, standard_error: float | None) -> str:
    """``12.3 ± 0.4``, with dashes for what does not exist."""
    if mean is None:
        return "-"
    error = "-" if standard_error is None else score(standard_error)
    return f"{score(mean)} ± {error}"


def _cell(raw: float, human: float) -> str:
    return score(raw) if math.isnan(human) else f"{score(raw)} ({number(human)})"


def _training_cells(
    visit: VisitSummary, random: RandomSummary | None
) -> Iterator[RenderableType]:
    yield str(visit.label)
    yield f"{visit.agent_steps:,}"
    yield str(visit.episodes)
    yield plus_minus(visit.return_mean, visit.return_standard_error)
    yield "-" if random is None else plus_minus(random.mean, random.standard_error)
    yield "-" if visit.penalty_mean is None else f"{visit.penalty_mean:.3g}"
