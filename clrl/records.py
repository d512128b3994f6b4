"""What happened in a run, as append-only lines of JSON.

Records hold no wall-clock time, so the same run twice writes the same file. The kinds:

    visit           a visit to a game starts
    label           the inferred task changes (the first label comes at step 0)
    episode         an episode of training ends, with its raw return
    train           means over the updates since the last such record
    consolidation   a task was left and its importance estimated
    evaluation      a game was scored without learning; stage 0 is before training
    relabelled      it was scored once more, under another label than the inferred one
    random_policy   a uniformly random policy played a game
    plasticity      what is left of the network's ability to learn, after a visit
    guard           something looks wrong, see clrl.guards

Every record has ``agent_steps``: the agent's decisions so far, over all environments.

In a supervised run a task stands for a game, a training example (counted each time it
is shown) for an agent step, and an evaluation's one return is the accuracy. It has no
episodes, no random policy, and an ``exploration_rate`` of 0.
"""

import dataclasses
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Literal, TypeAlias, get_args

from clrl.errors import CheckpointError

Labelling: TypeAlias = Literal["true_label", "no_label"]
"""Under which label a game is scored once more; see ``Relabelled``."""


@dataclass(frozen=True, kw_only=True)
class Visit:
    """A visit to a game starts; visits are counted from 0."""

    kind: ClassVar[str] = "visit"
    agent_steps: int
    visit: int
    game: str


@dataclass(frozen=True, kw_only=True)
class Label:
    """From here on the recogniser takes the stream for task ``label``."""

    kind: ClassVar[str] = "label"
    agent_steps: int
    label: int


@dataclass(frozen=True, kw_only=True)
class Episode:
    """An episode of training ended; ``return_`` sums its raw, unclipped rewards."""

    kind: ClassVar[str] = "episode"
    agent_steps: int
    visit: int
    game: str
    label: int
    return_: float
    length_steps: int


@dataclass(frozen=True, kw_only=True)
class Train:
    """Means over the updates since the last record of this kind.

    The last three are measured once, on a batch of the current task's memory, and None
    where it holds too little: ``penalty_gradient_ratio`` is the 2-norm of the penalty's
    gradient over that of the task loss's; ``q_mean`` the mean of max_a Q(s, a);
    ``q_abs_max`` the largest abs(Q(s, a)) of any action.
    """

    kind: ClassVar[str] = "train"
    agent_steps: int
    visit: int
    game: str
    label: int
    loss: float
    penalty: float
    gradient_norm: float
    exploration_rate: float
    penalty_gradient_ratio: float | None = None
    q_mean: float | None = None
    q_abs_max: float | None = None


@dataclass(frozen=True, kw_only=True)
class Consolidation:
    """Task ``task`` was left; ``metrics`` is what its method reports of that.

    Quadratic penalties: ``importance_trace`` and ``importance_max``, sum and maximum
    over parameters; ``curvature_max``, the penalty's largest second derivative in a new
    task.
    """

    kind: ClassVar[str] = "consolidation"
    agent_steps: int
    task: int
    metrics: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Raw returns of a game played without learning, under the inferred task ``label``.

    Stage 0 is before training, stage ``i`` after visit ``i - 1``.
    """

    kind: ClassVar[str] = "evaluation"
    agent_steps: int
    stage: int
    game: str
    label: int
    returns: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Relabelled:
    """Raw returns of a game as in ``Evaluation``, under another label.

    With ``labelling`` ``true_label`` that is the label of most training in this game,
    with ``no_label`` it is None: only what all tasks share is used.
    """

    kind: ClassVar[str] = "relabelled"
    agent_steps: int
    stage: int
    game: str
    labelling: Labelling
    label: int | None
    returns: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class RandomPolicy:
    """Raw returns of a uniformly random policy."""

    kind: ClassVar[str] = "random_policy"
    agent_steps: int
    game: str
    returns: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Plasticity:
    """The network after visit ``stage - 1``, on a batch of the last task's memory.

    See ``clrl.continual.plasticity``; ``dormant_fraction`` and ``effective_rank`` are
    None for a network that does not show its activations.
    """

    kind: ClassVar[str] = "plasticity"
    agent_steps: int
    stage: int
    game: str
    label: int
    dormant_fraction: float | None
    effective_rank: int | None
    weight_norm: float


@dataclass(frozen=True, kw_only=True)
class Guard:
    """Guard ``guard`` found something wrong; ``message`` says what, and what to do."""

    kind: ClassVar[str] = "guard"
    agent_steps: int
    visit: int
    game: str
    guard: str
    message: str


Record: TypeAlias = (
    Visit
    | Label
    | Episode
    | Train
    | Consolidation
    | Evaluation
    | Relabelled
    | RandomPolicy
    | Plasticity
    | Guard
)

KINDS: dict[str, type[Record]] = {cls.kind: cls for cls in get_args(Record)}
"""The classes of records by their kind."""
# "return" is a keyword in Python, but the natural word in the file.
_NAMES: dict[type[Record], dict[str, str]] = {
    cls: {field.name.rstrip("_"): field.name for field in dataclasses.fields(cls)}
    for cls in KINDS.values()
}
_CHUNK_BYTES = 1 << 18


def to_line(record: Record) -> str:
    """The record as one line of JSON, without its newline."""
    return json.dumps(to_fields(record), allow_nan=False)


def to_fields(record: Record) -> dict[str, Any]:
    """The values of a record by the names that they have in the file."""
    names = _NAMES[type(record)]
    return {"kind": record.kind} | {
        name: getattr(record, attribute) for name, attribute in names.items()
    }


def from_fields(fields: object) -> Record:
    """The record whose line holds these values by name.

    Raises:
        ValueError: They are not those of a record.
    """
    try:
        named = dict(fields)  # type: ignore[call-overload]
        cls = KINDS[named.pop("kind")]
        names = _NAMES[cls]
        values = {names[name]: value for name, value in named.items()}
        if "returns" in values:
            values["returns"] = tuple(values["returns"])
        return cls(**values)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"not a record: {fields!r}") from error


def is_known(kind: object) -> bool:
    """Whether this version of clrl knows records of this kind."""
    return kind in KINDS


def read_chunks(path: Path) -> Iterator[tuple[int, list[Any]]]:
    """The lines of a file of records, many at a time, in order.

    A last line that was cut off is left out.

    Yields:
        The number of the first line, counted from 1, and the value of each line.

    Raises:
        CheckpointError: A line before the last is not JSON.
    """
    first = 1
    with path.open("rb") as file:
        while chunk := file.readlines(_CHUNK_BYTES):
            if not chunk[-1].endswith(b"\n"):
                del chunk[-1]
            yield first, _parsed(path, first, chunk)
            first += len(chunk)


def read_records(path: Path) -> list[Record]:
    """All records of a run, in order; a last line that was cut off is left out.

    Raises:
        CheckpointError: A line before the last is not a record.
    """
    records = []
    for first, chunk in read_chunks(path):
        for number, fields in enumerate(chunk, start=first):
            try:
                records.append(from_fields(fields))
            except ValueError as error:
                raise damaged(path, number, error) from error
    return records


def is_cut_off(path: Path) -> bool:
    """Whether the last line was still being written when the run stopped."""
    with path.open("rb") as file:
        if file.seek(0, os.SEEK_END) == 0:
            return False
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"


def damaged(path: Path, number: int, error: Exception) -> CheckpointError:
    """What to say of a line that cannot be read."""
    return CheckpointError(
        f"{path}, line {number} is damaged: {error}; remove that line."
    )


def _parsed(path: Path, first: int, lines: Sequence[bytes]) -> list[Any]:
    """The values of some lines, the first of which has the number ``first``."""
    try:
        # One call for many lines takes half the time of one call for each.
        values: list[Any] = json.loads(b"[" + b",".join(lines) + b"]")
    except ValueError:
        values = []
    # Damaged lines may still join to JSON, but then mostly to fewer values; what does
    # not show here is no record, which from_fields says.
    if len(values) == len(lines):
        return values
    return [_value(path, n, line) for n, line in enumerate(lines, start=first)]


def _value(path: Path, number: int, line: bytes) -> object:
    try:
        return json.loads(line)
    except ValueError as error:
        raise damaged(path, number, error) from error


class RecordWriter:
    """Appends records to a file; each call reaches the file before it returns."""

    def __init__(self, path: Path) -> None:
        """Opens ``path``; the rest of a line that was cut off is removed first."""
        if path.exists():
            content = path.read_bytes()
            whole = content.rfind(b"\n") + 1
            if whole < len(content):
                with path.open("r+b") as file:
                    file.truncate(whole)
        self._file = path.open("a", encoding="utf-8")

    def write(self, records: Iterable[Record]) -> None:
        """Appends ``records``, in order."""
        self._file.writelines(f"{to_line(record)}\n" for record in records)
        self._file.flush()

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def __enter__(self) -> "RecordWriter":
        """Itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Closes the file."""
        self.close()
