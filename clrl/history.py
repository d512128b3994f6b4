"""The records of a run for reading: what is frequent in columns, the rest as it is.

A long run has millions of episodes and updates. As columns they take a twentieth of the
memory, and what a report does with them is arithmetic on arrays.
"""

import math
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, TypeVar

import numpy as np
from jaxtyping import Float64, Int64

from clrl import records
from clrl.records import Record

R = TypeVar("R")
S = TypeVar("S", records.Visit, records.Label)

# NumPy itself would make a "q" a longlong, which is not its int64.
_TYPES = {"q": np.int64, "d": np.float64}
_EPISODE = ("agent_steps", "visit", "return")
_UPDATE = ("agent_steps", "visit", "loss", "penalty")
_NO_RECORD = (KeyError, TypeError, ValueError, OverflowError)


class Episodes(NamedTuple):
    """Records of kind ``episode``, in order.

    Attributes:
        agent_steps: When each ended.
        visit: In which it ended.
        returns: Raw.
    """

    agent_steps: Int64[np.ndarray, "E"]
    visit: Int64[np.ndarray, "E"]
    returns: Float64[np.ndarray, "E"]

    def of_visit(self, visit: int) -> "Episodes":
        """Those of one visit."""
        return Episodes(*(column[self.visit == visit] for column in self))


class Updates(NamedTuple):
    """Records of kind ``train``, in order: means over some updates each.

    Attributes:
        agent_steps: When each was written.
        visit: In which.
        loss: Mean objective, without the penalty.
        penalty: Mean penalty.
        penalty_gradient_ratio: 2-norm of the penalty's gradient over the objective's;
            NaN where the run did not record it.
    """

    agent_steps: Int64[np.ndarray, "U"]
    visit: Int64[np.ndarray, "U"]
    loss: Float64[np.ndarray, "U"]
    penalty: Float64[np.ndarray, "U"]
    penalty_gradient_ratio: Float64[np.ndarray, "U"]

    def of_visit(self, visit: int) -> "Updates":
        """Those of one visit."""
        return Updates(*(column[self.visit == visit] for column in self))


class Alarm(NamedTuple):
    """A record of kind ``guard``.

    Attributes:
        agent_steps: When it was raised.
        guard: By its name; empty where the run did not record it.
        message: What is wrong, and what to do.
    """

    agent_steps: int
    guard: str
    message: str


@dataclass(frozen=True, kw_only=True)
class History:
    """What happened in a run.

    Attributes:
        events: All records but episodes and updates, in order.
        episodes: Of training.
        updates: Of training.
        agent_steps: Of training that the records cover.
        alarms: What the guards of training said, in order.
        unknown: Number of records by kind of which this version of clrl knows nothing.
    """

    events: tuple[Record, ...]
    episodes: Episodes
    updates: Updates
    agent_steps: int
    alarms: tuple[Alarm, ...]
    unknown: dict[str, int]


def history_of(run: Iterable[Record]) -> History:
    """The history that some records tell."""
    columns = _Columns()
    columns.extend([records.to_fields(record) for record in run])
    return columns.history()


def read_history(path: Path) -> History:
    """The history in a file of records; a last line that was cut off is left out.

    Raises:
        CheckpointError: A line before the last is not a record.
    """
    columns = _Columns()
    for first, chunk in records.read_chunks(path):
        try:
            columns.extend(chunk)
        except _NO_RECORD:
            _complain(path, first, chunk)
    return columns.history()


def _complain(path: Path, first: int, chunk: Sequence[Any]) -> NoReturn:
    """Names the line that is no record."""
    for number, fields in enumerate(chunk, start=first):
        try:
            _Columns().extend([fields])
        except _NO_RECORD as error:
            raise records.damaged(path, number, error) from error
    raise AssertionError("every line of the chunk is a record")


def of_kind(run: Iterable[Record], kind: type[R]) -> list[R]:
    """The records of one kind, in order."""
    return [record for record in run if isinstance(record, kind)]


def spans(changes: Sequence[S], end: int) -> list[tuple[S, int]]:
    """Each change with the agent step at which the next one, or the end, comes."""
    ends = [*(change.agent_steps for change in changes[1:]), end]
    return list(zip(changes, ends, strict=False))


class _Columns:
    """Collects records that come as they are in the file, many at a time."""

    def __init__(self) -> None:
        self._events: list[Record] = []
        self._episodes: list[array[Any]] = [array(kind) for kind in "qqd"]
        self._updates: list[array[Any]] = [array(kind) for kind in "qqddd"]
        self._alarms: list[Alarm] = []
        self._unknown: Counter[str] = Counter()

    def extend(self, lines: Sequence[dict[str, Any]]) -> None:
        """Takes in the records with these values by name."""
        episodes = [line for line in lines if line["kind"] == "episode"]
        for name, column in zip(_EPISODE, self._episodes, strict=True):
            column.fromlist([line[name] for line in episodes])
        updates = [line for line in lines if line["kind"] == "train"]
        for name, column in zip(_UPDATE, self._updates[:-1], strict=True):
            column.fromlist([line[name] for line in updates])
        ratios = [line.get("penalty_gradient_ratio") for line in updates]
        self._updates[-1].fromlist([math.nan if r is None else r for r in ratios])
        for line in lines:
            if line["kind"] not in ("episode", "train"):
                self._add_event(line)

    def _add_event(self, line: dict[str, Any]) -> None:
        kind = line["kind"]
        if kind == "guard":
            name, message = str(line.get("guard", "")), str(line["message"])
            self._alarms.append(Alarm(line["agent_steps"], name, message))
        elif records.is_known(kind):
            self._events.append(records.from_fields(line))
        else:
            self._unknown[str(kind)] += 1

    def history(self) -> History:
        """What came so far."""
        return History(
            events=tuple(self._events),
            episodes=Episodes(
                *(np.frombuffer(x, _TYPES[x.typecode]) for x in self._episodes)
            ),
            updates=Updates(
                *(np.frombuffer(x, _TYPES[x.typecode]) for x in self._updates)
            ),
            agent_steps=self._last_step(),
            alarms=tuple(self._alarms),
            unknown=dict(self._unknown),
        )

    def _last_step(self) -> int:
        steps = (
            self._episodes[0],
            self._updates[0],
            [event.agent_steps for event in self._events],
        )
        return max(max(column, default=0) for column in steps)
