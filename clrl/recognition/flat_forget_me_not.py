"""The flat forget-me-not recogniser: a hidden Markov model over pixel models."""

import numpy as np
from jaxtyping import Float64, UInt8

from clrl.errors import CheckpointError
from clrl.recognition.pixel_model import (
    PIXELS,
    PixelModels,
    expected_screen,
    grey_bins,
)
from clrl.recognition.sampling import FrameSampling
from clrl.recognition.visits import Visits
from clrl.types import TaskId

_SETTLING_STAYS = 25
"""A stay is no mistake any more once so many would fill the shortest visit."""


def transition_log_prior(
    log_posterior: Float64[np.ndarray, "C"], switch_rate: float
) -> Float64[np.ndarray, "C"]:
    """The log distribution over contexts one window later.

    ``p(c, t+1) = sum_c' p(c', t) Gamma(c, c')`` with ``Gamma = 1 - alpha`` on the
    diagonal and ``alpha / (C - 1)`` off it (Kirkpatrick et al. (2017), supplement,
    task-recognition module).

    Unlike the paper: the off-diagonal ``alpha`` is divided by ``C - 1``, because as
    printed the columns sum to one for two contexts only.

    Args:
        log_posterior: Normalised, natural logarithm.
        switch_rate: ``alpha``, in [0, 1).
    """
    posterior = np.exp(log_posterior)
    others = max(len(posterior) - 1, 1)
    prior = (1 - switch_rate) * posterior + switch_rate / others * (1 - posterior)
    # The smallest number in place of 0 keeps every context reachable.
    return np.asarray(np.log(np.maximum(prior, np.finfo(np.float64).tiny)))


def condition(
    log_prior: Float64[np.ndarray, "C"], log_likelihood: Float64[np.ndarray, "C"]
) -> Float64[np.ndarray, "C"]:
    """The normalised log posterior, ``p(c | o) prop. to p(c) p(o | c)``."""
    joint = log_prior + log_likelihood
    return np.asarray(joint - np.logaddexp.reduce(joint))


class FlatForgetMeNot:
    """Which of the contexts seen so far is this, or is it a new one?

    The context is the hidden state of a hidden Markov model, and each context has a
    model of the screen. Time is cut into windows of ``window_updates`` model updates.
    Within a window every model learns, an untrained hold-out too; at its end the most
    probable context given all windows keeps what it learnt and the others are put back.
    When the hold-out wins, it becomes a new context. The switch rate after window ``t``
    is ``1 / (t + 1)`` (Kirkpatrick et al. (2017), supplement; the "flat" variant of
    Milan et al. (2016)).

    Parallel environments take turns to show a frame for each update
    (``FrameSampling``).

    Args:
        bins: ``K``, grey bins of a pixel, 2 to 256.
        prior: ``a0``, pseudo-counts of each bin.
        window_updates: Model updates in a window.
        update_period_steps: Agent decisions, summed over environments, for each model
            update.
        max_contexts: At this number of models the hold-out cannot win any more.
        debounce_windows: A change of label waits until its context has won this many
            further windows in a row.
        new_debounce_windows: The same for the hold-out, before it is a new context.
        min_visit_steps: No visit of a task is shorter, calls of ``observe``; models
            that take turns faster are one context (``Visits``). 0: each is its own.
    """

    def __init__(
        self,
        *,
        bins: int,
        prior: float,
        window_updates: int,
        update_period_steps: int,
        max_contexts: int,
        debounce_windows: int = 0,
        new_debounce_windows: int = 0,
        min_visit_steps: int = 0,
    ) -> None:
        self._window_updates = window_updates
        self._max_contexts = max_contexts
        self._debounce_windows = debounce_windows
        self._new_debounce_windows = new_debounce_windows

        # The last model is always the hold-out. It never learns: what it would have
        # learnt within a window is in the prequential likelihood.
        self._models = PixelModels(bins, prior)
        self._models.append_untrained()
        self._models.append_untrained()
        self._log_posterior = np.log(np.full(2, 0.5))
        self._window: list[np.ndarray] = []
        self._sampling = FrameSampling(update_period_steps)
        self._visits = Visits(min_visit_steps, min_visit_steps // _SETTLING_STAYS)
        self._windows = 0
        self._screen = 0
        self._candidate = 0
        self._wins = 0

    @property
    def contexts(self) -> int:
        """The number of contexts; the hold-out is not one."""
        return max(1, self._visits.given)

    @property
    def posterior(self) -> Float64[np.ndarray, "C"]:
        """The probability of each context after the last window, the hold-out last."""
        return self._visits.pooled(np.exp(self._log_posterior))

    @property
    def _screens(self) -> int:
        """The number of trained models; a context may have several."""
        return len(self._models) - 1

    def observe(self, observation: UInt8[np.ndarray, "N H W"]) -> TaskId:
        """The label after the newest frame of each environment.

        Raises:
            ValueError: If the frames are neither 84x84 nor 42x42.
        """
        for frame in self._sampling.take(observation):
            self._window.append(grey_bins(frame, self._models.bins))
            if len(self._window) == self._window_updates:
                self._close(np.stack(self._window))
                self._window = []
        return self._visits.follow(self._screen)

    def _close(self, window: UInt8[np.ndarray, "W P"]) -> None:
        self._windows += 1
        log_likelihood = self._models.prequential_log_likelihood(window)
        if self._screens >= self._max_contexts:
            log_likelihood[-1] = -np.inf
        log_prior = transition_log_prior(self._log_posterior, 1 / self._windows)
        self._log_posterior = condition(log_prior, log_likelihood)
        self._select(int(np.argmax(self._log_posterior)), window)

    def _select(self, winner: int, window: UInt8[np.ndarray, "W P"]) -> None:
        self._wins = self._wins + 1 if winner == self._candidate else 1
        self._candidate = winner
        is_new = winner == self._screens
        waits = self._new_debounce_windows if is_new else self._debounce_windows
        if winner != self._screen and self._wins <= waits:
            # Unlike the paper: while a change is in doubt no model keeps the window, so
            # that a flash or a window that straddles a switch spoils none.
            return
        self._models.update(winner, window)
        if is_new:
            self._models.append_untrained()
            self._log_posterior = np.append(self._log_posterior, -np.inf)
        self._screen = winner

    def recognise(self, observations: UInt8[np.ndarray, "T N H W"]) -> TaskId:
        """The context under which the frames are most probable, all models frozen.

        Frames are taken as ``observe`` takes them.
        """
        frames = grey_bins(self._sampling.of(observations), self._models.bins)
        return self._visits.best(self._models.log_likelihood(frames)[:-1])

    def expected_screens(self) -> Float64[np.ndarray, "C 42 42"]:
        """What each context expects to see: mean grey levels, 0 to 255."""
        models = self._models
        return np.stack(
            [
                expected_screen(counts, models.bins, models.prior)
                for counts in self._visits.summed(models.counts[:-1])
            ]
        )

    def state_dict(self) -> dict[str, np.ndarray]:
        """The models' counts, the filter and the open window."""
        window = np.array(self._window, np.uint8).reshape(-1, PIXELS)
        progress = [
            self._sampling.steps,
            self._windows,
            self._screen,
            self._candidate,
            self._wins,
        ]
        return {
            "counts": self._models.counts.copy(),
            "updates": self._models.updates.copy(),
            "log_posterior": self._log_posterior.copy(),
            "window": window,
            "progress": np.array(progress, np.int64),
        } | self._visits.state_dict()

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """Continues from a saved state, to the same labels as without the interruption.

        Raises:
            CheckpointError: If the state was saved with another number of bins.
        """
        expected, came = self._models.bins * PIXELS, state["counts"].shape[1]
        if came != expected:
            raise CheckpointError(
                f"the recogniser's state must have {expected} counts for each context, "
                f"got {came}; set bins as they were when it was saved."
            )
        self._models.counts = state["counts"].copy()
        self._models.updates = state["updates"].copy()
        self._log_posterior = state["log_posterior"].copy()
        self._window = list(state["window"].copy())
        steps, windows, screen, candidate, wins = state["progress"].tolist()
        self._sampling.steps = steps
        self._sampling.used = windows * self._window_updates + len(self._window)
        self._windows, self._screen = windows, screen
        self._candidate, self._wins = candidate, wins
        self._visits.load_state_dict(state)
