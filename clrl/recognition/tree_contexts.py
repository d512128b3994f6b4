"""Which context an observation is of, by a tree over where the stream changes."""

import numpy as np
from jaxtyping import Float64, Shaped

from clrl.recognition.density import Density
from clrl.recognition.forget_me_not import ForgetMeNot
from clrl.recognition.model_pool import ContextPool


class TreeContexts:
    """A forget-me-not process (Milan et al. (2016)) with one model for each context.

    A window is one observation: a frame, or the counts of some images. Segments are
    closed with the window that ends them, so that a new context has its number at once.
    A segment that the untrained model explains best is of the context that its first
    ``segment_windows`` were given to, for that has learnt from them meanwhile.

    Args:
        density: Of a window.
        max_contexts: At this number no context is new any more.
        segment_windows: Windows of the shortest segment that a context learns from, and
            of the one that makes a new context; a power of two.
    """

    def __init__(
        self, density: Density, max_contexts: int, segment_windows: int
    ) -> None:
        self._process = ForgetMeNot(
            ContextPool(
                density, capacity=max_contexts, new_context_length=segment_windows
            ),
            min_segment=segment_windows,
            # A window is worth thousands of nats: what is this far behind stays behind.
            hopeless_nats=500.0,
            # Unlike the paper: a segment that straddles a switch teaches nothing.
            min_whole_probability=0.5,
        )
        self._segment_windows = segment_windows
        self._posterior = np.array([1.0])
        self._surprises = np.zeros(0)
        self._first_contexts: dict[int, int] = {}  # by the start of an open segment

    def __len__(self) -> int:
        """The number of contexts."""
        return int(self._process.pool.identities_given[0])

    @property
    def models(self) -> Shaped[np.ndarray, "C S"]:
        """What each context has learnt."""
        candidates = self._process.pool.candidates
        # A full pool refuses new models, so that they stay in their contexts' order.
        return np.asarray(candidates.models[0, candidates.identities[0] >= 0])

    @property
    def posterior(self) -> Float64[np.ndarray, "D"]:
        """The probability of each context after the last window, the unknown last."""
        return self._posterior

    @property
    def surprises(self) -> Float64[np.ndarray, "C"]:
        """Minus the log likelihood of the last window under each context before it.

        Infinite where another model explained the window far better, and for the
        context that the window completed.
        """
        return self._surprises

    def update(self, window: Shaped[np.ndarray, "*observation"]) -> None:
        """Adds the window to the tree."""
        known = len(self)
        self._process.update(window[None])
        # A single observation is a segment too: what each model made of it unprepared.
        newest = self._process.tree.segments[0]
        surprises = -newest.log_likelihood[0, 1 : known + 1]
        segments, parts = self._process.posteriors()
        posterior = np.zeros(known + 1)
        posterior[:-1] = parts[:, 0, :-1].sum(axis=0)
        for segment, untrained in zip(segments, parts[:, 0, -1], strict=True):
            posterior[self._first_contexts.get(segment.start, -1)] += untrained
        self._process.close()
        is_new = len(self) > known
        # What was unknown is the new context.
        self._posterior = np.append(posterior, np.zeros(int(is_new)))
        self._surprises = np.append(surprises, np.full(int(is_new), np.inf))
        if self._process.tree.observations % self._segment_windows == 0:
            self._remember(int(np.argmax(posterior)))

    def _remember(self, context: int) -> None:
        """Notes to which context the windows of a shortest segment were given."""
        if context < len(self):
            start = self._process.tree.observations - self._segment_windows
            self._first_contexts[start] = context
        open_starts = {segment.start for segment in self._process.tree.segments}
        self._first_contexts = {
            begun: first
            for begun, first in self._first_contexts.items()
            if begun in open_starts
        }

    def state_dict(self) -> dict[str, np.ndarray]:
        """The process, and what its open segments are of."""
        first = np.array(list(self._first_contexts.items()), np.int64)
        return self._process.state_dict() | {
            "posterior": self._posterior.copy(),
            "surprises": self._surprises.copy(),
            "first_contexts": first.reshape(-1, 2),
        }

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """Continues from a saved state."""
        self._process.load_state_dict(state)
        self._posterior = state["posterior"].copy()
        self._surprises = state["surprises"].copy()
        self._first_contexts = dict(state["first_contexts"].tolist())
