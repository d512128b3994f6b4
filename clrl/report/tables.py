"""A summary as tables for a terminal."""

import math
from collections.abc import Iterator, Sequence

from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from clrl.evaluation.human_scores import normalised
from clrl.records import Evaluation, Relabelled
from clrl.summary import Measure, Summary
from clrl.summary_visits import RandomSummary, VisitSummary, summarise_returns

LABELLINGS = {"true_label": "true label", "no_label": "no label"}
"""Words for ``records.Labelling``."""


def report(summary: Summary) -> Group:
    """The whole summary: scores, transfer, recognition, training."""
    if summary.measure == "accuracy":
        return Group(
            IfItFits(accuracy_table(summary), task_table(summary)),
            Text(accuracy_line(summary)),
            Text(recognition_line(summary)),
            *_relabelled_tables(summary),
        )
    return Group(
        IfItFits(score_table(summary), task_table(summary)),
        Text(transfer_line(summary)),
        Text(recognition_line(summary)),
        *_relabelled_tables(summary),
        Text(),
        training_table(summary),
        Text(learned_line(summary)),
    )


class IfItFits:
    """The one where there is room for it, else the other."""

    def __init__(self, wide: Table, narrow: Table) -> None:
        self._wide = wide
        self._narrow = narrow

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[Table]:
        """What is shown."""
        unbounded = options.update(max_width=10_000)
        wanted = Measurement.get(console, unbounded, self._wide).maximum
        yield self._wide if wanted <= options.max_width else self._narrow


def task_table(summary: Summary) -> Table:
    """A row for each task: its score at first, when it was last left, and in the end.

    What stays of the score matrix where its columns, a task each, do not fit.
    """
    is_accuracy = summary.measure == "accuracy"
    what = "Accuracy" if is_accuracy else "Score (human-normalised)"
    table = Table(title=f"{what}; all stages are in the picture below")
    table.add_column("task" if is_accuracy else "game")
    for name in ("untrained", "when last left", "in the end"):
        table.add_column(name, justify="right")
    scored = summary.visits[: len(summary.scores) - 1]  # one may be going on
    left = {visit.game: stage for stage, visit in enumerate(scored, start=1)}
    for column, task in enumerate(summary.tasks):
        stages = (0, left.get(task), len(scored))
        table.add_row(task, *(_at(summary, stage, column) for stage in stages))
    return table


def _at(summary: Summary, stage: int | None, column: int) -> str:
    if stage is None:
        return "-"
    value = summary.scores[stage][column]
    if summary.measure == "accuracy":
        return score(value, "accuracy")
    return _cell(value, summary.human_normalised[stage][column])


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
    evaluations: Sequence[Evaluation | Relabelled], measure: Measure = "return"
) -> Table:
    """Scores of one round of evaluation, a game or task a row.

    Scores under other labels than the inferred one have columns of their own.
    """
    is_accuracy = measure == "accuracy"
    table = Table(
        title="Accuracy without learning" if is_accuracy else "Score without learning"
    )
    columns = (
        ("task", "label", "accuracy")
        if is_accuracy
        else ("game", "task", "episodes", "return", "human-normalised")
    )
    again = [e for e in evaluations if isinstance(e, Relabelled)]
    labellings = [
        name for name in LABELLINGS if any(e.labelling == name for e in again)
    ]
    table.add_column(columns[0])
    for name in (*columns[1:], *(LABELLINGS[labelling] for labelling in labellings)):
        table.add_column(name, justify="right")
    for evaluation in evaluations:
        if isinstance(evaluation, Relabelled):
            continue
        others: dict[str, Relabelled] = {
            e.labelling: e for e in again if e.game == evaluation.game
        }
        table.add_row(
            *_evaluation_cells(evaluation, is_accuracy=is_accuracy),
            *(_again_cell(others.get(name), measure) for name in labellings),
        )
    return table


def _evaluation_cells(evaluation: Evaluation, *, is_accuracy: bool) -> Iterator[str]:
    returns = summarise_returns(evaluation.returns)
    yield evaluation.game
    yield str(evaluation.label)
    if is_accuracy:
        yield score(returns.mean, "accuracy")
        return
    yield str(returns.episodes)
    yield plus_minus(returns.mean, returns.standard_error)
    yield number(normalised(evaluation.game, returns.mean))


def _again_cell(evaluation: Relabelled | None, measure: Measure) -> str:
    if evaluation is None:
        return "-"
    mean = summarise_returns(evaluation.returns).mean
    label = "" if evaluation.label is None else f" (task {evaluation.label})"
    return score(mean, measure) + label


def relabelled_table(summary: Summary) -> Table:
    """Final scores under the inferred label and under others, side by side."""
    is_accuracy = summary.measure == "accuracy"
    what = "accuracy" if is_accuracy else "score"
    table = Table(title=f"Final {what} under")
    table.add_column("task" if is_accuracy else "game")
    table.add_column("inferred label", justify="right")
    for labelling in summary.relabelled:
        table.add_column(LABELLINGS[labelling], justify="right")
    finals = [summary.scores[-1], *(rows[-1] for rows in summary.relabelled.values())]
    for name, *values in zip(summary.tasks, *finals, strict=True):
        table.add_row(name, *(score(value, summary.measure) for value in values))
    means = (summary.acc, *summary.acc_relabelled.values())
    table.add_row("ACC", *(number(mean, 3) for mean in means))
    return table


def _relabelled_tables(summary: Summary) -> list[Table]:
    return [relabelled_table(summary)] if summary.relabelled else []


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
    """A raw score with as many digits as matter; a dash where there is none."""
    if math.isnan(value):
        return "-"
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
