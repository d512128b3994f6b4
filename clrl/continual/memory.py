"""A bounded memory of examples, and which examples it keeps."""

from collections.abc import Callable, Mapping, Sequence
from typing import Generic, Protocol, runtime_checkable

import torch
from jaxtyping import Int64
from torch import Tensor

from clrl.types import B, Batch


@runtime_checkable
class Retention(Protocol):
    """Which of the examples that arrive are kept, and in place of which."""

    def __call__(
        self, seen: int, count: int, capacity: int, generator: torch.Generator
    ) -> Int64[Tensor, "B"]:
        """The row of each of ``count`` examples that arrive; -1 for not kept.

        Args:
            seen: How many examples arrived before them.
            count: How many arrive.
            capacity: Number of rows.
            generator: Of all randomness, on the CPU.
        """
        ...


def latest(
    seen: int, count: int, capacity: int, generator: torch.Generator
) -> Int64[Tensor, "B"]:
    """The last examples that arrived, in a ring: GEM's memory."""
    del generator
    return torch.arange(seen, seen + count) % capacity


def reservoir(
    seen: int, count: int, capacity: int, generator: torch.Generator
) -> Int64[Tensor, "B"]:
    """A uniform sample of all examples that arrived: Vitter (1985), algorithm R."""
    arrival = torch.arange(seen, seen + count)
    # Uniform on 0..arrival, in double precision as arrival may be large.
    draw = torch.rand(count, generator=generator, dtype=torch.float64)
    row = (draw * (arrival + 1)).long()
    row = torch.where(arrival < capacity, arrival, row)
    return torch.where(row < capacity, row, -1)


RETENTIONS: Mapping[str, Retention] = {"latest": latest, "reservoir": reservoir}
"""By the name a config gives them."""


class ExampleMemory(Generic[B]):
    """At most ``capacity`` examples, of one task or of all."""

    def __init__(
        self, batch_type: Callable[..., B], capacity: int, retention: Retention
    ) -> None:
        """An empty memory.

        Args:
            batch_type: The NamedTuple in which examples arrive and come back.
            capacity: Examples, at least 1.
            retention: Which are kept.
        """
        self.seen = 0
        self.capacity = capacity
        self._batch_type = batch_type
        self._retention = retention
        self._columns: dict[str, Tensor] = {}

    def __len__(self) -> int:
        return min(self.seen, self.capacity)

    def add(self, batch: B, generator: torch.Generator) -> None:
        """Offers copies of the examples of ``batch`` to the memory."""
        count = len(batch.task)
        rows = self._retention(self.seen, count, self.capacity, generator)
        self.seen += count
        # Of several examples for one row the last stays: indexing alone would not say.
        latest_of = {row: i for i, row in enumerate(rows.tolist()) if row >= 0}
        to, chosen = torch.tensor([*latest_of]), torch.tensor([*latest_of.values()])
        if len(to) == 0:
            return
        for name, column in columns_of(batch).items():
            stored = self._column(name, column)
            stored[to.to(column.device)] = column.detach()[chosen.to(column.device)]

    def everything(self) -> B:
        """All stored examples; views, not copies.

        Raises:
            ValueError: If there are none.
        """
        if len(self) == 0:
            raise ValueError(
                "a memory without examples cannot give any; add a batch first."
            )
        columns = {name: column[: len(self)] for name, column in self._columns.items()}
        return self._batch_type(**columns)

    def rows(self, rows: Int64[Tensor, "B"]) -> B:
        """Copies of the examples in ``rows``, in that order."""
        device = next(iter(self._columns.values())).device
        rows = rows.to(device)
        return self._batch_type(**{n: c[rows] for n, c in self._columns.items()})

    def to(self, device: torch.device) -> None:
        """Moves the examples, as after loading them."""
        self._columns = {n: c.to(device) for n, c in self._columns.items()}

    def state_dict(self) -> dict[str, Tensor]:
        """``seen``, and the stored rows of each field."""
        columns = {n: column[: len(self)] for n, column in self._columns.items()}
        return {"seen": torch.tensor(self.seen), **columns}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Replaces all examples.

        Raises:
            ValueError: If they do not fit, or are not of the batches' kind.
        """
        columns = {name: tensor for name, tensor in state.items() if name != "seen"}
        fields = set(_fields(self._batch_type))
        if "seen" not in state or (columns and columns.keys() != fields):
            raise ValueError(
                f"a memory's state must hold seen and {sorted(fields)}, got "
                f"{sorted(state)}; load the state of the same kind of method."
            )
        stored = len(next(iter(columns.values()))) if columns else 0
        seen = int(state["seen"])
        if stored != min(seen, self.capacity):
            raise ValueError(
                f"expected min(seen, capacity) = {min(seen, self.capacity)} stored "
                f"examples, got {stored}; load with the capacity they were saved with."
            )
        self.seen = seen
        self._columns = {
            name: _with_room(tensor, self.capacity) for name, tensor in columns.items()
        }

    def _column(self, name: str, like: Tensor) -> Tensor:
        if name not in self._columns:
            self._columns[name] = _with_room(like[:0], self.capacity)
        return self._columns[name]


def concatenated(batches: Sequence[B]) -> B:
    """The examples of ``batches``, one after the other."""
    first = batches[0]
    columns = {
        name: torch.cat([columns_of(batch)[name] for batch in batches])
        for name in columns_of(first)
    }
    return type(first)(**columns)


def columns_of(batch: Batch) -> dict[str, Tensor]:
    """The tensors of ``batch`` by field."""
    return {name: getattr(batch, name) for name in _fields(batch)}


def _fields(named_tuple: object) -> tuple[str, ...]:
    """The fields of a NamedTuple or of an instance of one."""
    fields: tuple[str, ...] = named_tuple._fields  # type: ignore[attr-defined]
    return fields


def _with_room(rows: Tensor, capacity: int) -> Tensor:
    """A column of ``capacity`` rows that begins with ``rows``; others are unwritten."""
    shape = (capacity, *rows.shape[1:])
    column = torch.empty(shape, dtype=rows.dtype, device=rows.device)
    column[: len(rows)] = rows
    return column
