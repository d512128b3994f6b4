"""A run as one page that needs nothing else: no network, no scripts, no other files."""

import functools
import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from clrl.errors import ConfigError
from clrl.evaluation.human_scores import normalised
from clrl.evaluation.recognition import contingency
from clrl.report import figures
from clrl.report.facts import facts
from clrl.report.findings import findings
from clrl.report.headlines import headlines
from clrl.report.inline_svg import DARK_COLOURS, palette
from clrl.report.media import plays
from clrl.report.perturbation import perturbation_charts, perturbation_legend
from clrl.report.plasticity import plasticity_section
from clrl.report.retention import retention
from clrl.report.run_data import RunData, flat, read_run
from clrl.report.score_matrix import COLOURS, save_picture
from clrl.report.single_task_section import single_task_section
from clrl.report.tables import LABELLINGS, number, plus_minus, score, signed
from clrl.summary import write_summary
from clrl.summary_recognition import timelines

MOST_BYTES = 5_000_000
"""Size that a report stays below, whatever there is to show."""


def write_report(run_path: Path, output: Path | None = None) -> Path:
    """Writes the report of a run, finished or not.

    Of a run that is over also its summary and its picture, if it was ended while it
    would have written them.

    Args:
        run_path: Directory of the run.
        output: Where the report goes; by default ``report.html`` beside the records.

    Returns:
        Where it went.

    Raises:
        ConfigError: There is no run, or the report cannot be written there.
        CheckpointError: A record before the last is damaged.
    """
    run = read_run(run_path)
    directory = run.directory
    if run.summary is not None and run.is_over and not directory.summary.exists():
        write_summary(run.summary, directory.summary)
        save_picture(run.history, run.summary, directory.picture)
    return write_page(run, output or directory.report)


def write_page(run: RunData, path: Path) -> Path:
    """Writes the report of a run that has been read; as ``write_report``."""
    text = page(run)
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"cannot write the report to {path}: {error.strerror}; name a file that "
            "can be written with --output."
        ) from None
    return path


def page(run: RunData) -> str:
    """The report as HTML."""
    parts = _parts(run)
    template = _environment().get_template("report.html")
    without_play = template.render(parts, plays=[])
    room_bytes = MOST_BYTES - len(without_play.encode()) - 10_000
    found = plays(run.directory.videos, run.games, room_bytes)
    return template.render(parts, plays=found) if found else without_play


@functools.cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("clrl.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": number,
        "signed": signed,
        "score": score,
        "plus_minus": plus_minus,
        "is_nan": math.isnan,
    }
    return environment


def _parts(run: RunData) -> dict[str, Any]:
    """What the template shows, by name."""
    summary = run.summary
    return {
        "run": run,
        "summary": summary,
        "method": run.config["method"],
        "facts": facts(run),
        "findings": findings(run),
        "words": run.words,
        "measure": run.description.measure,
        "curves_heading": "Accuracy" if run.is_supervised else "Learning curves",
        "headlines": headlines(summary) if summary else [],
        "matrix": _matrix(run),
        "retention": retention(summary) if summary else [],
        "curves": figures.curves(run),
        "retention_chart": _retention_chart(run),
        "timeline": figures.recognition_timeline(run),
        "contingency": _contingency(run),
        "labellings": LABELLINGS,
        "perturbation": run.perturbation,
        "perturbation_charts": (
            perturbation_charts(run.perturbation) if run.perturbation else []
        ),
        "perturbation_legend": (
            perturbation_legend(run.perturbation) if run.perturbation else []
        ),
        "penalty_curve": figures.penalty_curve(run),
        "alone": single_task_section(run),
        "plasticity": plasticity_section(run),
        "costs": _costs(run),
        "config": list(flat(run.config)),
        "provenance": list(flat(run.provenance)),
        "colours": COLOURS,
        "palette": palette(COLOURS),
        "dark_palette": palette(DARK_COLOURS),
    }


class _Cell(NamedTuple):
    """A score in the matrix.

    ``heat``, from 0 to 1, is its human-normalised value, or an accuracy as it is.
    """

    raw: float
    human: float
    heat: float
    is_trained: bool


class _Row(NamedTuple):
    """A stage; ``game`` is the position of the game just played, -1 before training."""

    stage: str
    game: int
    cells: list[_Cell]


def _matrix(run: RunData) -> list[_Row]:
    trained = [-1, *(run.games.index(visit.game) for visit in run.visits)]
    rows = []
    for stage, raw, game in zip(run.stages, run.scores, trained, strict=False):
        human = [normalised(*each) for each in zip(run.games, raw, strict=True)]
        cells = [
            _Cell(
                raw=float(r),
                human=h,
                heat=_heat(float(r) if run.is_supervised else h),
                is_trained=column == game,
            )
            for column, (r, h) in enumerate(zip(raw, human, strict=True))
        ]
        rows.append(_Row(stage, game, cells))
    return rows


def _heat(value: float) -> float:
    return 0.0 if math.isnan(value) else min(1.0, max(0.0, value))


def _retention_chart(run: RunData) -> str:
    rows = retention(run.summary) if run.summary else []
    is_known = any(not math.isnan(row.comparable_change) for row in rows)
    return figures.retention_chart(rows, run.words.scale) if is_known else ""


def _contingency(run: RunData) -> list[tuple[str, list[tuple[int, float]]]]:
    """For each game, its largest inferred tasks with their share of its steps."""
    known = timelines(run.history, run.games)
    if known is None:
        return []
    steps = contingency(*known, run.history.agent_steps)
    rows = []
    for game, row in zip(run.games, steps, strict=False):
        if not row.sum():
            continue
        order = np.argsort(-row, kind="stable")[:5]
        shares = [(int(label), float(row[label] / row.sum())) for label in order]
        rows.append((game, [(label, share) for label, share in shares if share > 0]))
    return rows


def _costs(run: RunData) -> list[tuple[str, str]]:
    """What the run took; what is not known is left out, with its reason."""
    steps = run.history.agent_steps
    seconds = run.summary.seconds if run.summary else math.nan
    costs = [(run.words.steps, f"{steps:,}")]
    if not run.is_supervised:
        episodes = len(run.history.episodes.returns)
        costs.append(("training episodes", f"{episodes:,}"))
    updates = run.facts.get("updates")
    if updates is not None:
        costs.append(("updates", f"{updates:,}"))
    if math.isnan(seconds):
        costs.append(("time", "not known: it is written when a run ends"))
    else:
        costs.append(("time, evaluation included", _duration(seconds)))
        costs.append((f"{run.words.steps} per second", score(steps / seconds)))
    files = (("records", run.directory.records), ("agent", run.directory.checkpoint))
    costs += [(f"size of {name}", _size(path)) for name, path in files if path.exists()]
    return costs


def _duration(seconds: float) -> str:
    if seconds < 60:  # noqa: PLR2004 - a minute
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def _size(path: Path) -> str:
    files = [path] if path.is_file() else [f for f in path.rglob("*") if f.is_file()]
    return f"{sum(f.stat().st_size for f in files) / 1e6:,.1f} MB"
