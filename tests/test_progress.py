import io
from collections.abc import Callable, Iterator

import pytest
from rich.console import Console
from rich.live import Live

from clrl.progress import LiveProgress, PlainProgress, Status, clock_time, describe


def status(agent_steps: int, last_return: float | None = None) -> Status:
    return Status("pong", 1, 4, agent_steps, 10_000, 2, 0.25, last_return)


def test_a_line_of_a_run_without_actions_speaks_of_no_exploration() -> None:
    line = describe(status(100)._replace(exploration_rate=None), 10.0, None)
    assert line == "visit 2/4 pong, step 100/10,000, 10 steps/s, task 2"


def clock(*times: float) -> Callable[[], float]:
    """A clock that shows each time once, then the last for ever."""
    shown: Iterator[float] = iter(times)
    return lambda: next(shown, times[-1])


def test_a_log_gets_a_line_only_after_each_period() -> None:
    now = 0.0
    out = io.StringIO()
    progress = PlainProgress(
        Console(file=out, width=200), period_seconds=10.0, clock=lambda: now
    )
    for second in range(35):
        now = float(second)
        progress.status(status(second * 100))
    assert len(out.getvalue().splitlines()) == 3


def test_a_line_says_where_the_run_is() -> None:
    out = io.StringIO()
    times = clock(0.0, 0.0, 20.0)
    progress = PlainProgress(Console(file=out, width=200), clock=times)
    progress.status(status(0))
    progress.status(status(2_000, last_return=-21.0))
    assert out.getvalue() == (
        "visit 2/4 pong, step 2,000/10,000, 100 steps/s, 1:20 left, task 2, "
        "epsilon 0.25, last return -21\n"
    )


def test_nothing_is_printed_before_the_speed_is_known() -> None:
    out = io.StringIO()
    progress = PlainProgress(
        Console(file=out, width=200), period_seconds=0.0, clock=lambda: 5.0
    )
    progress.status(status(0))
    progress.status(status(0))
    assert out.getvalue() == ""


def test_a_terminal_shows_the_same_facts() -> None:
    console = Console(file=io.StringIO(), width=120, force_terminal=True)
    with Live(console=console, auto_refresh=False) as live:
        progress = LiveProgress(live, clock=clock(0.0, 0.0, 0.0, 0.0, 20.0))
        progress.message("a message")
        progress.status(status(0))
        progress.status(status(2_000, last_return=-21.0))
        live.refresh()
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    for fact in ("a message", "pong", "2/4", "2,000/10,000", "100", "1:20", "-21"):
        assert fact in shown


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.0, "0:00"), (61.4, "1:01"), (3599.6, "1:00:00")]
)
def test_times_are_shown_as_on_a_clock(seconds: float, shown: str) -> None:
    assert clock_time(seconds) == shown
