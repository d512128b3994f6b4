"""The knobs that runs of every domain have."""

import abc
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from clrl.checks import check_at_least, check_between
from clrl.continual.methods import METHODS, MethodConfig
from clrl.recognition.recognisers import RECOGNISERS, RecogniserConfig
from clrl.summary import Measure

_LARGEST_SEED = 2_000_000_000  # emulators take signed 32-bit ones, and count up


@dataclass(frozen=True, kw_only=True)
class CommonConfig(abc.ABC):
    """One run: a learner with a method and a recogniser on a sequence of tasks."""

    seed: int = 0
    """Of all randomness of the run (0 to 2,000,000,000)."""

    name: str | None = None
    """Directory of the run under ``runs_dir``; null: made from method, recogniser,
    tasks and seed, with a counter."""

    runs_dir: Path = Path("runs")
    """Where runs are kept."""

    method: MethodConfig = field(default_factory=METHODS["finetune"])
    """What is done so that earlier tasks are not forgotten."""

    recogniser: RecogniserConfig = field(default_factory=RECOGNISERS["one_task"])
    """What tells the learner which task it is in."""

    device: str = "auto"
    """Of the network: ``auto`` (a GPU where there is one), ``cpu``, ``cuda``,
    ``cuda:1``."""

    threads: int | Literal["auto"] | None = None
    """CPU threads of torch; null: torch's own choice. ``auto`` times updates with 1, 2,
    4, … threads before training and takes the fastest; results may then differ between
    machines in the last digits."""

    def __post_init__(self) -> None:
        """Raises ConfigError where a value is out of range."""
        check_between("seed", self.seed, 0, _LARGEST_SEED)
        if isinstance(self.threads, int):
            check_at_least("threads", self.threads, 1)

    @property
    @abc.abstractmethod
    def task_names(self) -> tuple[str, ...]:
        """The true tasks, in the order of the score matrix's columns."""

    @property
    @abc.abstractmethod
    def subject(self) -> tuple[str, ...]:
        """What the run is on, for its directory's name."""

    @property
    @abc.abstractmethod
    def rules(self) -> str:
        """Under which rules scores come about, in a word or a few."""

    @property
    @abc.abstractmethod
    def measure(self) -> Measure:
        """What a score is."""
