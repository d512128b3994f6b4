"""What a recogniser made of a stream, as pictures and JSON."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import EngFormatter
from rich.table import Table

from clrl.evaluation.recognition import (
    RecognitionMeasures,
    Timeline,
    contingency,
    measure,
)
from clrl.report.score_matrix import COLOURS, INK
from clrl.report.tables import number

_COLUMNS = 6
_HATCHES = (None, "///", "...", "xxx")


@dataclass(frozen=True, kw_only=True)
class RecognisedStream:
    """Labels beside true tasks, over a stream.

    Attributes:
        games: Or other tasks, by true task.
        recogniser: By its name in the config.
        policy: Who played, in words, or which data set was shown.
        truth: True tasks over agent steps.
        labels: Inferred tasks over agent steps.
        total_steps: Agent steps of the stream, summed over environments; of a
            supervised stream examples, as all steps here.
        step_name: What they are, in words.
        frames_per_step: Emulator frames of an agent step.
        recognition_seconds: Time that the recogniser took in all.
        posterior_steps: When the posterior was looked at, agent steps.
        posterior: Of each context then, what is unknown last.
        screens: What each context's model expects to see, grey levels 0 to 255.
    """

    games: tuple[str, ...]
    recogniser: str
    policy: str
    truth: Timeline
    labels: Timeline
    total_steps: int
    step_name: str = "agent steps"
    frames_per_step: int
    recognition_seconds: float
    posterior_steps: Int64[np.ndarray, "L"]
    posterior: Float64[np.ndarray, "L C"]
    screens: Float64[np.ndarray, "D H W"]

    def measures(self) -> RecognitionMeasures:
        """How well labels follow the true tasks."""
        return measure(self.truth, self.labels, self.total_steps, self.frames_per_step)

    def milliseconds_per_step(self) -> float:
        """What recognition costs for each agent step."""
        return 1e3 * self.recognition_seconds / self.total_steps

    def contingency(self) -> Int64[np.ndarray, "T C"]:
        """Agent steps in each true task under each label."""
        return contingency(self.truth, self.labels, self.total_steps)


def recognition_table(stream: RecognisedStream) -> Table:
    """The measures, one a row."""
    found = stream.measures()
    steps = stream.step_name
    cost = stream.milliseconds_per_step()
    rows = {
        "adjusted Rand index": number(found.adjusted_rand_index, 4),
        "contexts, true tasks": f"{found.contexts}, {found.tasks}",
        f"contexts with 1 % of the {steps}": str(found.contexts_of_at_least_1_percent),
        f"median delay, {steps}": number(found.median_delay_steps, 0),
        f"longest delay, {steps}": number(found.max_delay_steps, 0),
        f"false switches per million {steps}": number(
            found.false_switches_per_million_steps, 1
        ),
        f"{steps} under a wrong label": f"{found.wrong_label_share:.2%}",
        f"{steps} in another task's memory": f"{found.contaminated_share:.2%}",
        f"milliseconds per {steps.removesuffix('s')}": number(cost, 3),
    }
    table = Table(title=f"{stream.recogniser}, {stream.policy}", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for name, value in rows.items():
        table.add_row(name, value)
    return table


def write_json(stream: RecognisedStream, path: Path) -> None:
    """Writes measures, steps by game and label, and both timelines."""
    measures = {
        name: None if math.isnan(value) else value
        for name, value in stream.measures()._asdict().items()
    }
    content = {
        "recogniser": stream.recogniser,
        "policy": stream.policy,
        stream.step_name.replace(" ", "_"): stream.total_steps,
        "milliseconds_per_step": stream.milliseconds_per_step(),
        "measures": measures,
        "steps_by_game_and_label": dict(
            zip(stream.games, stream.contingency().tolist(), strict=False)
        ),
        "true_tasks": _stretches(stream.truth),
        "labels": _stretches(stream.labels),
    }
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _stretches(timeline: Timeline) -> dict[str, list[int]]:
    return {"starts": timeline.starts.tolist(), "values": timeline.values.tolist()}


def draw_timeline(stream: RecognisedStream) -> Figure:
    """True task, label and posterior over time, and what each label stands for."""
    contexts = stream.posterior.shape[1]
    height = 2.2 + 0.16 * (contexts + len(stream.games))
    figure = Figure(figsize=(12.0, height), dpi=120, layout="constrained")
    strips, posterior = figure.subplots(
        2, 1, sharex=True, height_ratios=(1.0, 0.6 + 0.16 * contexts)
    )
    measures = stream.measures()
    figure.suptitle(
        f"{stream.recogniser}, {stream.policy}, {stream.total_steps:,} "
        f"{stream.step_name}     "
        f"ARI {measures.adjusted_rand_index:.3f}   {measures.contexts} contexts for "
        f"{measures.tasks} tasks   median delay {measures.median_delay_steps:g}",
        fontsize=11,
        color=INK,
    )
    game_of_label = stream.contingency().argmax(axis=0)
    _draw_strip(strips, 1, stream.truth, stream.total_steps)
    named = stream.labels._replace(values=game_of_label[stream.labels.values])
    _draw_strip(strips, 0, named, stream.total_steps)
    strips.set_ylim(0.0, 2.0)
    strips.set_yticks([1.5, 0.5], ["true", "label"], fontsize=8)
    _draw_posterior(posterior, stream, game_of_label)
    handles = [
        Rectangle((0, 0), 1, 1, **_fill(task)) for task in range(len(stream.games))
    ]
    figure.legend(
        handles,
        stream.games,
        loc="outside lower center",
        ncols=_COLUMNS,
        fontsize=8,
        frameon=False,
    )
    for axes in (strips, posterior):
        axes.set_xlim(0, stream.total_steps)
        axes.tick_params(length=0, labelsize=8)
        axes.spines[:].set_visible(False)
    return figure


def _draw_strip(axes: Axes, row: int, tasks: Timeline, total_steps: int) -> None:
    ends = [*tasks.starts[1:].tolist(), total_steps]
    for start, end, task in zip(
        tasks.starts.tolist(), ends, tasks.values.tolist(), strict=True
    ):
        axes.add_patch(Rectangle((start, row + 0.08), end - start, 0.84, **_fill(task)))


def _draw_posterior(
    axes: Axes, stream: RecognisedStream, game_of_label: Int64[np.ndarray, "C"]
) -> None:
    contexts = stream.posterior.shape[1]
    edges = np.append(stream.posterior_steps, stream.total_steps)
    axes.pcolormesh(
        edges,
        np.arange(contexts + 1) - 0.5,
        stream.posterior.T,
        cmap="Greys",
        vmin=0.0,
        vmax=1.0,
    )
    names = [
        f"{label} ({stream.games[game_of_label[label]]})"
        if label < len(game_of_label)
        else str(label)
        for label in range(contexts - 1)
    ]
    axes.set_yticks(range(contexts), [*names, "unknown"])
    axes.set_ylabel("posterior of each context", fontsize=8)
    axes.set_xlabel(stream.step_name, fontsize=9)
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))


def draw_contexts(stream: RecognisedStream) -> Figure:
    """What each context's model expects to see, with the game it mostly stands for."""
    table = stream.contingency()
    rows = max(1, -(-len(stream.screens) // _COLUMNS))
    figure = Figure(figsize=(12.0, 2.3 * rows), dpi=120, layout="constrained")
    grid = figure.subplots(rows, _COLUMNS, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for label, (axes, screen) in enumerate(
        zip(grid.flat, stream.screens, strict=False)
    ):
        axes.imshow(screen, cmap="gray", vmin=0, vmax=255)
        axes.set_title(_meaning(label, table, stream.games), fontsize=8)
    return figure


def _meaning(label: int, table: Int64[np.ndarray, "T C"], games: Sequence[str]) -> str:
    if label >= table.shape[1] or not table[:, label].any():
        return f"{label}: never the label"
    steps = table[:, label]
    share = steps.max() / steps.sum()
    return f"{label}: {games[int(steps.argmax())]} ({share:.0%})"


def _fill(task: int) -> dict[str, Any]:
    """A colour, and where those are used up a pattern on it."""
    rounds, colour = divmod(task, len(COLOURS))
    hatch = _HATCHES[rounds % len(_HATCHES)]
    return {"fc": COLOURS[colour], "ec": "white", "lw": 0, "hatch": hatch}
