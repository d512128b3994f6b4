"""Timing candidates in turn, and what is said of them.

Candidates run A B A B ..., so that a machine that slows down slows all of them; a ratio
is the median of the ratios within each turn.
"""

import dataclasses
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One number of the report.

    Attributes:
        value: The number.
        unit: Its unit; "times" for a ratio.
        detail: What it was computed from, units in the names.
    """

    value: float
    unit: str
    detail: Mapping[str, float] = dataclasses.field(default_factory=dict)


Turns = Mapping[str, list[float]]
"""Seconds that each candidate took, turn by turn."""


def alternate(candidates: Mapping[str, Callable[[], object]], turns: int) -> Turns:
    """Runs all candidates in turn, ``turns`` times after an unmeasured turn."""
    for run in candidates.values():
        run()
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(turns):
        for name, run in candidates.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def ratio(turns: Turns, numerator: str, denominator: str) -> float:
    """Median over the turns of how many times longer ``numerator`` took."""
    pairs = zip(turns[numerator], turns[denominator], strict=True)
    return statistics.median(a / b for a, b in pairs)


def fastest(turns: Turns, *, but: str) -> str:
    """The candidate other than ``but`` with the smallest median."""
    return min(turns.keys() - {but}, key=lambda name: statistics.median(turns[name]))


def speed_up(turns: Turns, work: float, unit: str) -> Measurement:
    """How many times faster ``clrl`` did the work than the fastest other candidate."""
    rates = {
        f"{name}_{unit}_per_second": work / statistics.median(seconds)
        for name, seconds in turns.items()
    }
    value = ratio(turns, fastest(turns, but="clrl"), "clrl")
    return Measurement(value=value, unit="times", detail=rates)


def repeat(run: Callable[[], object], times: int) -> Callable[[], None]:
    """A candidate that calls ``run`` several times."""

    def repeated() -> None:
        for _ in range(times):
            run()

    return repeated
