"""What commands say, and how a run is followed and stopped from outside."""

import contextlib
import signal
from collections.abc import Iterator

from rich.console import Console
from rich.live import Live

from clrl.progress import Listener, LiveProgress, PlainProgress


@contextlib.contextmanager
def listening(out: Console) -> Iterator[Listener]:
    """Live progress on a terminal, a line now and then elsewhere."""
    if not out.is_terminal:
        yield PlainProgress(out)
        return
    with Live(console=out, transient=True) as live:
        yield LiveProgress(live)


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """SIGTERM, with which a queue ends a job, stops a run as Ctrl-C does."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def line(out: Console, text: str) -> None:
    """Says a line as it is, however long."""
    out.print(text, highlight=False, markup=False, soft_wrap=True)
