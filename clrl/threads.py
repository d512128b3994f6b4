"""With how many CPU threads this machine learns fastest."""

import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

_WORTH_A_THREAD = 0.97
"""More threads are taken only where they save at least 3 % of the time: less may be
noise, and other processes have a use for a core."""

_FEWEST_TURNS = 3


@dataclass(frozen=True, kw_only=True)
class ThreadTrial:
    """How long an update takes with each number of threads.

    Attributes:
        seconds: Median time of an update, by number of threads.
    """

    seconds: Mapping[int, float]

    @property
    def threads(self) -> int:
        """The fewest beside which no other number is clearly faster."""
        fastest = min(self.seconds.values())
        return min(n for n, s in self.seconds.items() if s * _WORTH_A_THREAD <= fastest)

    def __str__(self) -> str:
        """One line for the user."""
        times = ", ".join(
            f"{seconds * 1e3:.1f} ms with {threads}"
            for threads, seconds in sorted(self.seconds.items())
        )
        return f"threads {self.threads}: an update takes {times}"


def try_threads(
    update: Callable[[], object], counts: Sequence[int], *, seconds: float = 2.0
) -> ThreadTrial:
    """Times ``update`` with each number of threads, in turn; torch's own is restored.

    A number of threads is never timed on its first update, in which the pool of threads
    is made anew.

    Args:
        update: Something like what will be run, done when it returns; it may change
            what it updates.
        counts: Numbers of threads, at least one.
        seconds: To spend, at least three turns.
    """
    before = torch.get_num_threads()
    times: dict[int, list[float]] = {count: [] for count in counts}
    end = time.perf_counter() + seconds
    try:
        while len(times[counts[0]]) < _FEWEST_TURNS or time.perf_counter() < end:
            for count in counts:
                torch.set_num_threads(count)
                update()
                start = time.perf_counter()
                update()
                times[count].append(time.perf_counter() - start)
    finally:
        torch.set_num_threads(before)
    return ThreadTrial(seconds={n: statistics.median(t) for n, t in times.items()})


def fastest_threads(update: Callable[[], object], tell: Callable[[str], object]) -> int:
    """The number of threads, up to the cores there are, with which updates are fastest.

    Args:
        update: As for ``try_threads``.
        tell: Is given one line that says what was measured.
    """
    trial = try_threads(update, thread_counts(usable_cores()))
    tell(str(trial))
    return trial.threads


def thread_counts(cores: int) -> list[int]:
    """1, 2, 4, ... up to ``cores``, and ``cores`` itself."""
    return sorted({min(2**i, cores) for i in range(cores.bit_length() + 1)})


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0))
