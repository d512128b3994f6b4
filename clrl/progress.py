"""What a run tells while it goes on, and how a terminal or a log shows it."""

import time
from collections.abc import Callable
from typing import NamedTuple, Protocol, runtime_checkable

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text


class Status(NamedTuple):
    """Where a run is.

    Attributes:
        game: The game that is played.
        visit: The current visit, counted from 0.
        visits: Visits in the whole run.
        agent_steps: Agent steps so far, over all environments.
        total_agent_steps: Agent steps of the whole run.
        label: The inferred task.
        exploration_rate: Probability of a random action; None where nobody acts.
        last_return: Of the last episode that ended, raw; None before the first.
    """

    game: str
    visit: int
    visits: int
    agent_steps: int
    total_agent_steps: int
    label: int
    exploration_rate: float | None
    last_return: float | None


@runtime_checkable
class Listener(Protocol):
    """Is told about a run while it goes on."""

    def status(self, status: Status) -> None:
        """Called often, with where the run is."""
        ...

    def message(self, message: str) -> None:
        """Called seldom, with something a person may want to read."""
        ...


class SilentListener:
    """Shows nothing."""

    def status(self, status: Status) -> None:
        """Nothing."""

    def message(self, message: str) -> None:
        """Nothing."""


class _Rate:
    """Agent steps per second since the first status, with time left."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._start: tuple[float, int] | None = None

    def __call__(self, status: Status) -> tuple[float, float | None]:
        """Steps per second and seconds left; None while nothing is known."""
        now = self._clock()
        if self._start is None:
            self._start = (now, status.agent_steps)
        started, first_step = self._start
        if now <= started or status.agent_steps == first_step:
            return 0.0, None
        rate = (status.agent_steps - first_step) / (now - started)
        return rate, (status.total_agent_steps - status.agent_steps) / rate


def describe(
    status: Status, steps_per_second: float, seconds_left: float | None
) -> str:
    """A status on one line."""
    last = "" if status.last_return is None else f", last return {status.last_return:g}"
    left = "" if seconds_left is None else f", {clock_time(seconds_left)} left"
    rate = status.exploration_rate
    epsilon = "" if rate is None else f", epsilon {rate:.2f}"
    return (
        f"visit {status.visit + 1}/{status.visits} {status.game}, "
        f"step {status.agent_steps:,}/{status.total_agent_steps:,}, "
        f"{steps_per_second:,.0f} steps/s{left}, task {status.label}"
        f"{epsilon}{last}"
    )


def clock_time(seconds: float) -> str:
    """Seconds as ``1:02:03``, or ``2:03`` below an hour."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


class PlainProgress:
    """Prints a line every few seconds: for pipes and logs."""

    def __init__(
        self,
        console: Console,
        *,
        period_seconds: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prints to ``console``, at most once in ``period_seconds``."""
        self._console = console
        self._period = period_seconds
        self._clock = clock
        self._rate = _Rate(clock)
        self._next = clock() + period_seconds

    def status(self, status: Status) -> None:
        """Prints the status if the last one is old enough."""
        rate, left = self._rate(status)
        if left is not None and self._clock() >= self._next:
            self._next = self._clock() + self._period
            self.message(describe(status, rate, left))

    def message(self, message: str) -> None:
        """Prints the message."""
        self._console.print(message, highlight=False, markup=False, soft_wrap=True)


class LiveProgress:
    """Redraws a status at the bottom of a terminal; messages scroll above it."""

    def __init__(
        self,
        live: Live,
        *,
        period_seconds: float = 0.25,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Draws into ``live``, which the caller starts and stops."""
        self._live = live
        self._period = period_seconds
        self._clock = clock
        self._rate = _Rate(clock)
        self._next = clock()

    def status(self, status: Status) -> None:
        """Shows the status if the last one is old enough."""
        rate, left = self._rate(status)
        if self._clock() >= self._next:
            self._next = self._clock() + self._period
            done, total = status.agent_steps, status.total_agent_steps
            bar = ProgressBar(total=total, completed=done)
            self._live.update(Group(_facts(status, rate, left), bar))

    def message(self, message: str) -> None:
        """Prints the message above the status."""
        self._live.console.print(message, highlight=False, markup=False)


def _facts(status: Status, rate: float, seconds_left: float | None) -> Table:
    table = Table.grid(padding=(0, 3))
    last = "-" if status.last_return is None else f"{status.last_return:g}"
    epsilon = status.exploration_rate
    facts = {
        "game": status.game,
        "visit": f"{status.visit + 1}/{status.visits}",
        "steps": f"{status.agent_steps:,}/{status.total_agent_steps:,}",
        "steps/s": f"{rate:,.0f}",
        "left": "-" if seconds_left is None else clock_time(seconds_left),
        "task": str(status.label),
        "epsilon": "-" if epsilon is None else f"{epsilon:.2f}",
        "last return": last,
    }
    table.add_row(*(Text(name, style="dim") for name in facts))
    table.add_row(*(Text(value, style="bold") for value in facts.values()))
    return table
