"""The random-pattern memory as figure and table: simulation beside analysis."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from matplotlib.figure import Figure
from rich.table import Table

from clrl.report.score_matrix import COLOURS


@dataclass(frozen=True, kw_only=True)
class PatternCurves:
    """What a learner remembers, at some numbers of patterns learnt.

    Attributes:
        first_snr: Signal over noise of the pattern learnt first.
        retained: Share of the patterns learnt whose signal exceeds the noise.
    """

    first_snr: Float64[np.ndarray, "C"]
    retained: Float64[np.ndarray, "C"]


def draw_patterns(
    times: Sequence[int],
    synapses: int,
    simulated: Mapping[str, PatternCurves],
    analysed: Mapping[str, PatternCurves],
) -> Figure:
    """Kirkpatrick et al. (2017), figure 2: dots are simulated, lines analysed.

    Args:
        times: Numbers of patterns learnt, rising.
        synapses: Of the memory; it is full at about as many patterns.
        simulated: Of each learner by its name.
        analysed: The same learners.
    """
    figure = Figure(figsize=(10, 4), layout="constrained")
    snr, retained = figure.subplots(1, 2)
    for colour, name in zip(COLOURS, analysed, strict=False):
        snr.plot(times, analysed[name].first_snr, color=colour, label=name)
        snr.plot(times, simulated[name].first_snr, "o", color=colour, markersize=3)
        retained.plot(times, analysed[name].retained, color=colour, label=name)
        retained.plot(times, simulated[name].retained, "o", color=colour, markersize=3)
    snr.set(
        xscale="log",
        yscale="log",
        ylim=(0.01, None),
        title="memory of the first pattern",
        ylabel="signal / noise",
    )
    snr.axhline(1, color="#777777", linewidth=0.8, linestyle="--")
    retained.set(title="patterns with signal above noise", ylabel="fraction retained")
    for axes in (snr, retained):
        axes.axvline(synapses, color="#777777", linewidth=0.8, linestyle=":")
        axes.set_xlabel("patterns learnt (dotted: as many as synapses)")
        axes.spines[["top", "right"]].set_visible(False)
    snr.legend(
        frameon=False, title="lines: analysis, dots: simulation", loc="lower left"
    )
    return figure


def patterns_table(
    times: Sequence[int],
    simulated: Mapping[str, PatternCurves],
    analysed: Mapping[str, PatternCurves],
) -> Table:
    """Signal over noise of the first pattern at every third time, both ways."""
    table = Table(title="signal / noise of the first pattern: simulated / analysed")
    table.add_column("patterns", justify="right")
    for name in analysed:
        table.add_column(name, justify="right")
    for i in range(0, len(times), 3):
        pairs = (
            f"{simulated[name].first_snr[i]:.2f} / {analysed[name].first_snr[i]:.2f}"
            for name in analysed
        )
        table.add_row(f"{times[i]:,}", *pairs)
    return table
