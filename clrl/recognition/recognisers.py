"""The recognisers a config can name, and their knobs."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from clrl.checks import (
    check_at_least,
    check_between,
    check_positive,
    check_power_of_two,
)
from clrl.recognition.flat_forget_me_not import FlatForgetMeNot
from clrl.recognition.pixel_model import GREY_LEVELS
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
class ScreenRecogniserConfig(RecogniserConfig):
    """The task is inferred from the screen, with a model of each pixel.

    Attributes:
        bins: Grey bins of a pixel, 2 to 256.
        prior: Dirichlet pseudo-counts of each bin; best well below ``1 / bins``.
        update_period_steps: Agent decisions, summed over parallel environments, for
            each model update (table S2 of Kirkpatrick et al. (2017): 4).
        max_contexts: No more models than this are made (paper: no limit); the default
            is as many as a network has gains and biases for. With ``min_visit_steps``
            a context may have several models, and flashes that are no task have some
            too: then more are needed, 221 KiB each (``flat_fmn``) or 430 (``fmn``).
        min_visit_steps: No visit of a task is shorter, steps of the vector environment
            (paper: 0, off). What is new within that time of a task's coming, and what
            lies between leaving and returning to it within that time, is one task with
            it (``visits``): games that alternate faster become one.
    """

    bins: int = 32
    prior: float = 0.01
    update_period_steps: int = 4
    max_contexts: int = 32
    min_visit_steps: int = 0

    def __post_init__(self) -> None:
        """Checks the ranges.

        Raises:
            ConfigError: If a value is out of its range.
        """
        check_between("recogniser.bins", self.bins, 2, GREY_LEVELS)
        check_positive("recogniser.prior", self.prior)
        check_at_least("recogniser.update_period_steps", self.update_period_steps, 1)
        check_at_least("recogniser.max_contexts", self.max_contexts, 1)
        check_at_least("recogniser.min_visit_steps", self.min_visit_steps, 0)


@dataclass(frozen=True, kw_only=True)
class FlatForgetMeNotRecogniser(ScreenRecogniserConfig):
    """The task is inferred from the screen (Kirkpatrick et al. (2017), supplement).

    The paper does not print ``bins`` and ``prior``. Under a random policy the defaults
    tell all 19 games of its pool apart, and split those with quite different screens:
    krull (rooms), enduro (times of day) and riverraid (width of the river);
    ``min_visit_steps`` unites those. Fewer bins or a larger prior merge games on a
    black background: ``prior`` must be well below ``1 / bins`` for the untrained
    hold-out to learn a new screen from the first frames of a window.

    Attributes:
        window_updates: Model updates in a window (table S2: 4).
        debounce_windows: Further windows in a row that another context must win before
            its label is given out (paper: 0).
        new_debounce_windows: Further windows in a row that the hold-out must win before
            it is a new context (paper: 0).
    """

    window_updates: int = 4
    # Unlike the paper (0): a window that straddles a switch, or in which the screen
    # flashes, fits no trained model, so the hold-out wins it and a false context is
    # made. Some flashes last two windows, and a false context that looks like several
    # games is worse than a late one.
    debounce_windows: int = 1
    new_debounce_windows: int = 2

    def __post_init__(self) -> None:
        """Checks the ranges.

        Raises:
            ConfigError: If a value is out of its range.
        """
        super().__post_init__()
        check_at_least("recogniser.window_updates", self.window_updates, 1)
        check_at_least("recogniser.debounce_windows", self.debounce_windows, 0)
        check_at_least("recogniser.new_debounce_windows", self.new_debounce_windows, 0)

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
class ForgetMeNotRecogniser(ScreenRecogniserConfig):
    """The task is inferred from the screen (Milan et al. (2016)), at any frame.

    A partition tree decides where the stream changes, so that there are no windows and
    a game that returns is recognised by its first frames.

    Games with quite different screens split as with ``flat_fmn``, unless
    ``min_visit_steps`` unites them.

    Attributes:
        segment_updates: Model updates of the shortest segment that a context learns
            from, and of the one that makes a new context; a power of two.
        debounce_updates: Further updates in a row that another context must win,
            without doubt, before its label is given out.
        new_debounce_updates: The same for a context in doubt: one that would become a
            new task, or another task's that the frame surprises more than usual.
    """

    # Unlike the paper: an untrained model needs some frames to pay for learning the
    # screen. With four, games on black are taken for one where there is noise.
    segment_updates: int = 8
    debounce_updates: int = 1
    # A flash of the screen, such as the start of a life, lasts up to 16.
    new_debounce_updates: int = 16

    def __post_init__(self) -> None:
        """Checks the ranges.

        Raises:
            ConfigError: If a value is out of its range.
        """
        super().__post_init__()
        # Segments of the partition tree have such lengths.
        check_power_of_two("recogniser.segment_updates", self.segment_updates)
        for name in ("debounce_updates", "new_debounce_updates"):
            check_at_least(f"recogniser.{name}", getattr(self, name), 0)

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
            new_debounce_updates=self.new_debounce_updates,
            min_visit_steps=self.min_visit_steps,
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
