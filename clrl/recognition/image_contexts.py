"""Two ways to say which context a window of images is of: flat, or with a tree."""

from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float64, Int32

from clrl.recognition.flat_forget_me_not import condition, transition_log_prior
from clrl.recognition.forget_me_not import ForgetMeNot
from clrl.recognition.image_counts import CountedImages
from clrl.recognition.model_pool import ContextPool


@runtime_checkable
class Contexts(Protocol):
    """Learns the contexts of a stream of windows, each the counts of some images."""

    @property
    def models(self) -> Int32[np.ndarray, "C S"]:
        """What each context has learnt."""
        ...

    @property
    def posterior(self) -> Float64[np.ndarray, "D"]:
        """The probability of each context after the last window, the unknown last."""
        ...

    def update(self, window: Int32[np.ndarray, "S"]) -> None:
        """Learns a window, which may be of a new context."""
        ...

    def state_dict(self) -> dict[str, np.ndarray]:
        """A copy of all that later windows' contexts depend on."""
        ...

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """Continues from a saved state."""
        ...


class FlatContexts:
    """A hidden Markov model over contexts (Kirkpatrick et al. (2017), supplement).

    As ``FlatForgetMeNot``, which is for screens: in each window all models learn, an
    untrained hold-out too, the most probable one keeps it, and a hold-out that wins is
    a new context.

    Args:
        density: Of a window.
        max_contexts: At this number the hold-out cannot win any more.
    """

    def __init__(self, density: CountedImages, max_contexts: int) -> None:
        self._density = density
        self._max_contexts = max_contexts
        # The last model is always the hold-out, which never learns.
        self._models = np.zeros((2, density.statistics), np.int32)
        self._log_posterior = np.log(np.full(2, 0.5))
        self._windows = 0

    @property
    def models(self) -> Int32[np.ndarray, "C S"]:
        """What each context has learnt; the hold-out is not one."""
        return self._models[:-1]

    @property
    def posterior(self) -> Float64[np.ndarray, "D"]:
        """The probability of each context after the last window, the hold-out last."""
        return np.asarray(np.exp(self._log_posterior))

    def update(self, window: Int32[np.ndarray, "S"]) -> None:
        """Gives the window to the most probable context."""
        self._windows += 1
        nothing = np.zeros_like(window)
        log_likelihood = self._density.log_predictive(
            self._models[None], nothing[None], window[None]
        )[0]
        if len(self.models) >= self._max_contexts:
            log_likelihood[-1] = -np.inf
        log_prior = transition_log_prior(self._log_posterior, 1 / self._windows)
        self._log_posterior = condition(log_prior, log_likelihood)
        winner = int(np.argmax(self._log_posterior))
        self._models[winner] += window
        if winner == len(self.models):
            self._models = np.append(self._models, nothing[None], axis=0)
            self._log_posterior = np.append(self._log_posterior, -np.inf)

    def state_dict(self) -> dict[str, np.ndarray]:
        """The models' counts and the filter."""
        return {
            "counts": self._models.copy(),
            "log_posterior": self._log_posterior.copy(),
            "windows": np.array(self._windows, np.int64),
        }

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """Continues from a saved state."""
        self._models = state["counts"].copy()
        self._log_posterior = state["log_posterior"].copy()
        self._windows = int(state["windows"])


class TreeContexts:
    """A forget-me-not process (Milan et al. (2016)) with one model for each context.

    Segments are closed with the window that ends them, so that a new context has its
    number at once. A segment that the untrained model explains best is of the context
    that its first window was given to, for that has learnt from it meanwhile.

    Args:
        density: Of a window.
        max_contexts: At this number no context is new any more.
        segment_windows: Windows of the shortest segment that a context learns from, and
            of the one that makes a new context; a power of two.
    """

    def __init__(
        self, density: CountedImages, max_contexts: int, segment_windows: int
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
        self._first_contexts: dict[int, int] = {}  # by the start of an open segment

    @property
    def models(self) -> Int32[np.ndarray, "C S"]:
        """What each context has learnt."""
        candidates = self._process.pool.candidates
        # A full pool refuses new models, so that they stay in their contexts' order.
        return np.asarray(candidates.models[0, candidates.identities[0] >= 0])

    @property
    def posterior(self) -> Float64[np.ndarray, "D"]:
        """The probability of each context after the last window, the unknown last."""
        return self._posterior

    def update(self, window: Int32[np.ndarray, "S"]) -> None:
        """Adds the window to the tree."""
        start = self._process.tree.observations
        known = len(self.models)
        self._process.update(window[None])
        posterior = np.zeros(known + 1)
        for segment, part in self._process.posteriors():
            posterior[:-1] += part[0, :-1]
            posterior[self._first_contexts.get(segment.start, -1)] += part[0, -1]
        self._process.close()
        is_new = len(self.models) > known
        # What was unknown is the new context.
        self._posterior = np.append(posterior, np.zeros(int(is_new)))
        winner = int(np.argmax(posterior))
        self._remember(start - self._segment_windows + 1 if is_new else start, winner)

    def _remember(self, start: int, context: int) -> None:
        """Notes that windows from ``start`` on were given to ``context``."""
        if context < len(self.models):
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
            "first_contexts": first.reshape(-1, 2),
        }

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """Continues from a saved state."""
        self._process.load_state_dict(state)
        self._posterior = state["posterior"].copy()
        self._first_contexts = dict(state["first_contexts"].tolist())
