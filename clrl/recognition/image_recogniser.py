"""Task recognition from minibatches of images, of which each is of one task."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
from jaxtyping import Float64, Int32, Shaped

from clrl.errors import CheckpointError
from clrl.recognition.image_contexts import Contexts
from clrl.recognition.image_counts import CountedImages, count_images
from clrl.types import TaskId

MakeContexts: TypeAlias = Callable[[CountedImages], Contexts]


class ImageRecogniser:
    """Which of the contexts seen so far is this, or is it a new one?

    Unlike a game's screens, the images of a task differ from each other as much as
    from those of other tasks; only many of them tell the task. All images of a
    minibatch are looked at before it is labelled, so that a switch between minibatches
    need not be noticed late.

    Args:
        make_contexts: What tells contexts apart, given the images' density.
        bins: ``K``, grey bins of a pixel, 2 to 256.
        prior: ``a0``, pseudo-counts of each bin.
        window_images: Smaller minibatches are put together until they have at least so
            many images; the label may change then.
        debounce_windows: A change of label waits until its context has won this many
            further windows in a row.
    """

    def __init__(
        self,
        make_contexts: MakeContexts,
        *,
        bins: int,
        prior: float,
        window_images: int,
        debounce_windows: int = 0,
    ) -> None:
        self._make_contexts = make_contexts
        self._bins = bins
        self._prior = prior
        self._window_images = window_images
        self._debounce_windows = debounce_windows
        self._label = 0
        self._candidate = 0
        self._wins = 0
        # The first images tell their shape.
        self._image_shape: tuple[int, ...] | None = None
        self._window: Int32[np.ndarray, S] = np.zeros(0, np.int32)

    @property
    def contexts(self) -> int:
        """The number of contexts; 1 before the first is learnt."""
        if self._image_shape is None:
            return 1
        return max(1, len(self._contexts.models))

    @property
    def posterior(self) -> Float64[np.ndarray, "C"]:
        """The probability of each context after the last window, the unknown last."""
        if self._image_shape is None:
            return np.array([1.0])
        return self._contexts.posterior

    def observe(self, observation: Shaped[np.ndarray, "N *image"]) -> TaskId:
        """The label of a minibatch.

        Raises:
            ValueError: If the images are not bytes, or not of one shape throughout.
        """
        counts = self._counts(observation)
        if len(observation) >= self._window_images:
            # A remainder of the last task must not be mixed with this one.
            self._close_window()
        self._window = self._window + counts
        if self._window[-1] >= self._window_images:
            self._close_window()
        return self._label

    def _close_window(self) -> None:
        if not self._window[-1]:
            return
        self._contexts.update(self._window)
        self._window = np.zeros_like(self._window)
        self._follow(int(np.argmax(self.posterior)))

    def _follow(self, winner: TaskId) -> None:
        self._wins = self._wins + 1 if winner == self._candidate else 1
        self._candidate = winner
        is_known = winner < len(self._contexts.models)
        if is_known and self._wins > self._debounce_windows:
            self._label = winner

    def recognise(self, observations: Shaped[np.ndarray, "T N *image"]) -> TaskId:
        """The context under which the images are most probable, all models frozen.

        Raises:
            ValueError: As for ``observe``.
        """
        if self._image_shape is None:
            return 0
        counts = self._counts(np.concatenate(observations))
        models = self._contexts.models
        if not len(models):
            return 0
        return int(np.argmax(self._density.log_frozen(models, counts)))

    def expected_screens(self) -> Float64[np.ndarray, "C H W"]:
        """What each context's model expects to see: mean grey levels, 0 to 255.

        None before the first images.
        """
        if self._image_shape is None:
            return np.zeros((0, 1, 1))
        return self._density.expected_images(self._contexts.models)

    def state_dict(self) -> dict[str, np.ndarray]:
        """The contexts, the open window and how the label has come about."""
        progress = np.array([self._label, self._candidate, self._wins], np.int64)
        if self._image_shape is None:
            return {"progress": progress}
        return {
            "progress": progress,
            "image_shape": np.array(self._image_shape, np.int64),
            "window": self._window.copy(),
        } | {f"contexts.{k}": v for k, v in self._contexts.state_dict().items()}

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """Continues from a saved state, to the same labels as without the interruption.

        Raises:
            CheckpointError: If the state was saved with another number of bins, or by a
                recogniser of another kind.
        """
        self._label, self._candidate, self._wins = state["progress"].tolist()
        if "image_shape" not in state:
            self._image_shape = None
            return
        self._start(state["image_shape"].tolist())
        expected, came = self._density.statistics, len(state["window"])
        if came != expected:
            raise CheckpointError(
                f"the recogniser's state must have {expected} counts for each context, "
                f"got {came}; set bins as they were when it was saved."
            )
        self._window = state["window"].copy()
        prefix = "contexts."
        try:
            self._contexts.load_state_dict(
                {
                    name.removeprefix(prefix): array
                    for name, array in state.items()
                    if name.startswith(prefix)
                }
            )
        except KeyError as error:
            raise CheckpointError(
                f"the recogniser's state must have {error}, got {sorted(state)}; set "
                "the recogniser as it was when it was saved."
            ) from error

    def _counts(self, images: Shaped[np.ndarray, "N *image"]) -> np.ndarray:
        shape = images.shape[1:]
        if len(shape) < 2:  # noqa: PLR2004 - height and width
            raise ValueError(
                f"expected a batch of images, [N, H, W] or [N, channels, H, W], got "
                f"an array of shape {list(images.shape)}; give it the images only."
            )
        counts = count_images(images, self._bins)
        if self._image_shape is None:
            self._start(shape)
        elif shape != self._image_shape:
            raise ValueError(
                f"the recogniser has learnt images of shape {list(self._image_shape)}, "
                f"got {list(shape)}; resize them, or make a new recogniser."
            )
        return counts

    def _start(self, image_shape: Sequence[int]) -> None:
        self._image_shape = tuple(image_shape)
        self._density = CountedImages(self._image_shape, self._bins, self._prior)
        self._contexts = self._make_contexts(self._density)
        self._window = np.zeros(self._density.statistics, np.int32)
