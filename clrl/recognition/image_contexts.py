"""Which context a window of images is of, by a hidden Markov model over contexts."""

from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float64, Int32

from clrl.recognition.flat_forget_me_not import condition, transition_log_prior
from clrl.recognition.image_counts import CountedImages


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
