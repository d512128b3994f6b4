"""The recognisers a config can name, and their knobs."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from clrl.errors import ConfigError
from clrl.recognition.flat_forget_me_not import FlatForgetMeNot
from clrl.recognition.protocol import OneTask, Oracle, TaskRecogniser
from clrl.recognition.screen_forget_me_not import ScreenForgetMeNot
from clrl.types import TaskId


@dataclass(frozen=True, kw_only=True)
class RecogniserConfig(ABC):
    """Which recogniser labels the stream."""

    @abstractmethod
    def build(self, current_task: Callable[[], TaskId]) -> TaskRecogniser:
        """A new recogniser; only the oracle may keep ``current_task``."""


@dataclass(frozen=True, kw_only=True)
class OneTaskRecogniser(RecogniserConfig):
    """Everything is one task."""

    def build(self, current_task: Callable[[], TaskId]) -> TaskRecogniser:
        """A recogniser that always says 0."""
        del current_task
        return OneTask()


@dataclass(frozen=True, kw_only=True)
class OracleRecogniser(RecogniserConfig):
    """The true task is told."""

    def build(self, current_task: Callable[[], TaskId]) -> TaskRecogniser:
        """A recogniser that says what ``current_task`` says."""
        return Oracle(current_task)


@dataclass(frozen=True, kw_only=True)
class FlatForgetMeNotRecogniser(RecogniserConfig):
    """The task is inferred from the screen (Kirkpatrick et al. (2017), supplement).

    The paper does not print ``bins`` and ``prior``. Under a random policy the defaults
    tell all 19 games of its pool apart, and split those with quite different screens:
    krull (rooms), enduro (times of day) and riverraid (width of the river);
    ``min_visit_steps`` unites those. Fewer bins or a larger prior merge games on a
    black background: ``prior`` must be well below ``1 / bins`` for the untrained
    hold-out to learn a new screen from the first frames of a window.

    Attributes:
        bins: Grey bins of a pixel, 2 to 256.
        prior: Dirichlet pseudo-counts of each bin.
        window_updates: Model updates in a window (table S2: 4).
        update_period_steps: Agent decisions, summed over parallel environments, for
            each model update (table S2: 4).
        max_contexts: No more models than this are made (paper: no limit); the default
            is as many as a network has gains and biases for. With ``min_visit_steps``
            a context may have several models: then more are needed, 256 KiB each.
        debounce_windows: Further windows in a row that another context must win before
            its label is given out (paper: 0).
        new_debounce_windows: Further windows in a row that the hold-out must win before
            it is a new context (paper: 0).
        min_visit_steps: No visit of a task is shorter, steps of the vector environment
            (paper: 0, off). What is new within that time of a task's coming, and what
            lies between leaving and returning to it within that time, is one task with
            it (``visits``): games that alternate faster become one.
    """

    bins: int = 32
    prior: float = 0.01
    window_updates: int = 4
    update_period_steps: int = 4
    max_contexts: int = 32
    # Unlike the paper (0): a window that straddles a switch, or in which the screen
    # flashes, fits no trained model, so the hold-out wins it and a false context is
    # made. Some flashes last two windows, and a false context that looks like several
    # games is worse than a late one.
    debounce_windows: int = 1
    new_debounce_windows: int = 2
    min_visit_steps: int = 0

    def __post_init__(self) -> None:
        """Checks the ranges.

        Raises:
            ConfigError: If a value is out of its range.
        """
        _require("flat_fmn: bins", self.bins, least=2, most=256)
        _require("flat_fmn: prior", self.prior, least=1e-12)
        _require("flat_fmn: window_updates", self.window_updates, least=1)
        _require("flat_fmn: update_period_steps", self.update_period_steps, least=1)
        _require("flat_fmn: max_contexts", self.max_contexts, least=1)
        _require("flat_fmn: debounce_windows", self.debounce_windows, least=0)
        _require("flat_fmn: new_debounce_windows", self.new_debounce_windows, least=0)
        _require("flat_fmn: min_visit_steps", self.min_visit_steps, least=0)

    def build(self, current_task: Callable[[], TaskId]) -> TaskRecogniser:
        """A recogniser that has seen nothing yet."""
        del current_task
        return FlatForgetMeNot(
            bins=self.bins,
            prior=self.prior,
            window_updates=self.window_updates,
            update_period_steps=self.update_period_steps,
            max_contexts=self.max_contexts,
            debounce_windows=self.debounce_windows,
            new_debounce_windows=self.new_debounce_windows,
            min_visit_steps=self.min_visit_steps,
        )


@dataclass(frozen=True, kw_only=True)
class ForgetMeNotRecogniser(RecogniserConfig):
    """The task is inferred from the screen (Milan et al. (2016)), at any frame.

    A partition tree decides where the stream changes, so that there are no windows and
    a game that returns is recognised by its first frames.

    Games with quite different screens split as with ``flat_fmn``, unless
    ``min_visit_steps`` unites them.

    Attributes:
        bins: Grey bins of a pixel, 2 to 256.
        prior: Dirichlet pseudo-counts of each bin; below ``1 / bins``.
        segment_updates: Model updates of the shortest segment that a context learns
            from, and of the one that makes a new context; a power of two.
        update_period_steps: As for ``flat_fmn``.
        max_contexts: No more models than this are made, as for ``flat_fmn``.
        debounce_updates: Further updates in a row that a new label must win before it
            is given out.
        min_visit_steps: As for ``flat_fmn``.
    """

    bins: int = 32
    prior: float = 0.01
    segment_updates: int = 4
    update_period_steps: int = 4
    max_contexts: int = 32
    debounce_updates: int = 2
    min_visit_steps: int = 0

    def __post_init__(self) -> None:
        """Checks the ranges.

        Raises:
            ConfigError: If a value is out of its range.
        """
        _require("fmn: bins", self.bins, least=2, most=256)
        _require("fmn: prior", self.prior, least=1e-12)
        _require("fmn: segment_updates", self.segment_updates, least=1)
        if self.segment_updates.bit_count() != 1:
            raise ConfigError(
                "fmn: segment_updates must be a power of two, as the partition tree's "
                f"segments are, got {self.segment_updates}; change it."
            )
        _require("fmn: update_period_steps", self.update_period_steps, least=1)
        _require("fmn: max_contexts", self.max_contexts, least=1)
        _require("fmn: debounce_updates", self.debounce_updates, least=0)
        _require("fmn: min_visit_steps", self.min_visit_steps, least=0)

    def build(self, current_task: Callable[[], TaskId]) -> TaskRecogniser:
        """A recogniser that has seen nothing yet."""
        del current_task
        return ScreenForgetMeNot(
            bins=self.bins,
            prior=self.prior,
            segment_updates=self.segment_updates,
            update_period_steps=self.update_period_steps,
            max_contexts=self.max_contexts,
            debounce_updates=self.debounce_updates,
            min_visit_steps=self.min_visit_steps,
        )


def _require(name: str, came: float, *, least: float, most: float = math.inf) -> None:
    if not least <= came <= most:
        raise ConfigError(
            f"{name} must be from {least:g} to {most:g}, got {came}; change it."
        )


RECOGNISERS: Mapping[str, type[RecogniserConfig]] = MappingProxyType(
    {
        "one_task": OneTaskRecogniser,
        "oracle": OracleRecogniser,
        "flat_fmn": FlatForgetMeNotRecogniser,
        "fmn": ForgetMeNotRecogniser,
    }
)
"""Config classes by the name a config file gives them."""
