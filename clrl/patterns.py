"""Runs the random-pattern memory under three learners, simulated and analysed."""

from pathlib import Path

import numpy as np
from rich.table import Table

from clrl.checks import check_at_least, check_picture
from clrl.progress import Listener
from clrl.report.random_patterns import (
    PatternCurves,
    draw_patterns,
    patterns_table,
)
from clrl.supervised.random_patterns import (
    Responses,
    analyse,
    constant_rates,
    ewc_rates,
    fraction_retained,
    gradient_descent_rate,
    simulate,
)

PATTERNS_PER_SYNAPSE = 4
POINTS = 24


def run_patterns(
    picture: Path, *, synapses: int, repeats: int, seed: int, listener: Listener
) -> Table:
    """Draws figure 2 of Kirkpatrick et al. (2017) to ``picture``.

    Args:
        picture: An SVG, PNG or PDF.
        synapses: Of a memory.
        repeats: Memories that are simulated of each learner.
        seed: Of the patterns.
        listener: Is told of each learner.

    Returns:
        Signal over noise of the first pattern, simulated and analysed.

    Raises:
        ConfigError: Too few synapses or repeats.
    """
    check_picture(picture)
    check_at_least("seed", seed, 0)
    check_at_least("synapses", synapses, 10)
    check_at_least("repeats", repeats, 2)
    total = PATTERNS_PER_SYNAPSE * synapses
    times = np.unique(np.geomspace(synapses / 10, total, POINTS).astype(int)).tolist()
    learners = {
        "EWC": ewc_rates(synapses, total),
        "gradient descent": constant_rates(gradient_descent_rate(synapses), total),
        "gradient descent, rate of EWC at capacity": constant_rates(0.5, total),
    }
    simulated, analysed = {}, {}
    for name, rates in learners.items():
        listener.message(f"{name}: {repeats} memories of {synapses} synapses")
        # The same patterns for all.
        rng = np.random.default_rng(seed)
        found = simulate(rates, synapses, times, repeats=repeats, rng=rng)
        simulated[name] = _curves(found)
        analysed[name] = _curves(analyse(rates, synapses, times))
    draw_patterns(times, synapses, simulated, analysed).savefig(picture)
    return patterns_table(times, simulated, analysed)


def _curves(responses: Responses) -> PatternCurves:
    snr = responses.snr
    return PatternCurves(first_snr=snr[:, 0], retained=fraction_retained(snr))
