"""The recognisers that a supervised config can name, and their knobs."""

import abc
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from clrl.checks import (
    check_at_least,
    check_between,
    check_positive,
    check_power_of_two,
)
from clrl.recognition.image_contexts import Contexts, FlatContexts
from clrl.recognition.image_counts import CountedImages
from clrl.recognition.image_recogniser import ImageRecogniser
from clrl.recognition.pixel_model import GREY_LEVELS
from clrl.recognition.protocol import TaskRecogniser
from clrl.recognition.recognisers import (
    OneTaskRecogniser,
    OracleRecogniser,
    RecogniserConfig,
)
from clrl.recognition.tree_contexts import TreeContexts
from clrl.types import TaskId


@dataclass(frozen=True, kw_only=True)
class ImageRecogniserConfig(RecogniserConfig):
    """The task is inferred from the images of a minibatch, all of one task.

    Attributes:
        bins: Grey bins of a pixel, 2 to 256; 2 is black and white.
        prior: Dirichlet pseudo-counts of each bin; 1/2 is Krichevsky and Trofimov's.
        window_images: Smaller minibatches are put together until they have at least so
            many images, which are then judged at once. More images tell tasks apart
            that are more alike, but a switch within a window is noticed late.
        max_contexts: No more contexts than this are made.
        debounce_windows: Further windows in a row that another context must win before
            its label is given out.
    """

    bins: int = 2
    prior: float = 0.5
    window_images: int = 10
    max_contexts: int = 32
    debounce_windows: int = 0

    def __post_init__(self) -> None:
        """Raises ConfigError where a value is out of range."""
        check_between("recogniser.bins", self.bins, 2, GREY_LEVELS)
        check_positive("recogniser.prior", self.prior)
        check_at_least("recogniser.window_images", self.window_images, 1)
        check_at_least("recogniser.max_contexts", self.max_contexts, 1)
        check_at_least("recogniser.debounce_windows", self.debounce_windows, 0)

    def build(self, current_task: Callable[[], TaskId]) -> TaskRecogniser:
        """A recogniser that has seen nothing yet."""
        del current_task
        return ImageRecogniser(
            self.contexts,
            bins=self.bins,
            prior=self.prior,
            window_images=self.window_images,
            debounce_windows=self.debounce_windows,
        )

    @abc.abstractmethod
    def contexts(self, density: CountedImages) -> Contexts:
        """What tells contexts apart; there are none yet."""


@dataclass(frozen=True, kw_only=True)
class FlatImageRecogniser(ImageRecogniserConfig):
    """The task is inferred from the images (Kirkpatrick et al. (2017), supplement)."""

    def contexts(self, density: CountedImages) -> Contexts:
        """A hidden Markov model."""
        return FlatContexts(density, self.max_contexts)


@dataclass(frozen=True, kw_only=True)
class TreeImageRecogniser(ImageRecogniserConfig):
    """The task is inferred from the images (Milan et al. (2016)).

    A partition tree decides where the stream changes.

    Attributes:
        segment_windows: Windows of the shortest segment that a context learns from, and
            of the one that makes a new context; a power of two.
    """

    segment_windows: int = 1

    def __post_init__(self) -> None:
        """Raises ConfigError where a value is out of range."""
        super().__post_init__()
        # Segments of the partition tree have such lengths.
        check_power_of_two("recogniser.segment_windows", self.segment_windows)

    def contexts(self, density: CountedImages) -> Contexts:
        """A forget-me-not process."""
        return TreeContexts(density, self.max_contexts, self.segment_windows)


IMAGE_RECOGNISERS: Mapping[str, type[RecogniserConfig]] = MappingProxyType(
    {
        "one_task": OneTaskRecogniser,
        "oracle": OracleRecogniser,
        "flat_fmn": FlatImageRecogniser,
        "fmn": TreeImageRecogniser,
    }
)
"""Config classes by the name a supervised config gives them."""
