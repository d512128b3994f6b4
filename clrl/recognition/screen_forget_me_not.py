"""The forget-me-not process as a task recogniser for screens."""

import numpy as np
from jaxtyping import Float64, Int64, UInt8

from clrl.recognition.density import PixelDirichlet
from clrl.recognition.pixel_model import cells, expected_screen, grey_bins
from clrl.recognition.sampling import FrameSampling
from clrl.recognition.surprise import UsualSurprise
from clrl.recognition.tree_contexts import TreeContexts
from clrl.recognition.visits import Visits
from clrl.types import TaskId

_SETTLING_STAYS = 100
"""A stay is no mistake any more once so many would fill the shortest visit. Mistakes
are rare: a known task is named at once only where its context's surprise is usual."""


class ScreenForgetMeNot:
    """Which of the contexts seen so far is this, or is it a new one?

    A forget-me-not process (Milan et al. (2016)) over screens, with one model for each
    context (``ContextPool``). The label is the most probable context of the newest
    frame. While that is the untrained model, the label stays: a context is new when a
    whole segment of ``segment_updates`` was best explained by the untrained model,
    so that a flash of the screen makes none. The most probable context need not be a
    good one: if it is another task's and much more surprised by the frame than it
    usually is (``UsualSurprise``), it waits as long as a new one.

    Args:
        bins: ``K``, grey bins of a pixel, 2 to 256.
        prior: ``a0``, pseudo-counts of each bin.
        segment_updates: Model updates of the shortest segment that a context learns
            from, and of the one that makes a new context; a power of two.
        update_period_steps: As for the flat recogniser.
        max_contexts: At this number no context is new any more.
        debounce_updates: A change of label waits until its context has been the most
            probable one, without doubt, for this many further updates in a row.
        new_debounce_updates: The same for a context in doubt: one that would become a
            new task, or another task's that the frame surprises more than usual.
        min_visit_steps: No visit of a task is shorter (``Visits``).
    """

    def __init__(
        self,
        *,
        bins: int,
        prior: float,
        segment_updates: int,
        update_period_steps: int,
        max_contexts: int,
        debounce_updates: int = 0,
        new_debounce_updates: int = 0,
        min_visit_steps: int = 0,
    ) -> None:
        self._density = PixelDirichlet(bins, prior)
        self._contexts = TreeContexts(self._density, max_contexts, segment_updates)
        self._sampling = FrameSampling(update_period_steps)
        self._debounce_updates = debounce_updates
        self._new_debounce_updates = new_debounce_updates
        self._visits = Visits(min_visit_steps, min_visit_steps // _SETTLING_STAYS)
        self._usual = UsualSurprise()
        self._screen = 0
        self._candidate = 0
        self._wins = 0
        self._sure_wins = 0

    @property
    def contexts(self) -> int:
        """The number of contexts; 1 before the first is learnt."""
        return max(1, self._visits.given)

    @property
    def posterior(self) -> Float64[np.ndarray, "C"]:
        """The probability of each context after the last update, unknown ones last."""
        return self._visits.pooled(self._contexts.posterior)

    def observe(self, observation: UInt8[np.ndarray, "N H W"]) -> TaskId:
        """The label after the newest frame of each environment.

        Raises:
            ValueError: If the frames are neither 84x84 nor 42x42.
        """
        for frame in self._sampling.take(observation):
            self._contexts.update(self._cells(frame))
            self._follow(int(np.argmax(self._contexts.posterior)))
        return self._visits.follow(self._screen)

    def _cells(self, frame: UInt8[np.ndarray, "H W"]) -> Int64[np.ndarray, "P"]:
        return cells(grey_bins(frame, self._density.bins))

    def _follow(self, winner: int) -> None:
        if winner != self._candidate:
            self._candidate, self._wins, self._sure_wins = winner, 0, 0
        self._wins += 1
        if winner == len(self._contexts):  # none that is known
            return
        visits, surprise = self._visits, self._contexts.surprises[winner]
        is_doubtful = visits.would_be_new(winner) or (
            visits.is_elsewhere(winner) and not self._usual.includes(winner, surprise)
        )
        self._sure_wins = 0 if is_doubtful else self._sure_wins + 1
        is_sure = self._sure_wins > self._debounce_updates
        if is_sure or self._wins > self._new_debounce_updates:
            self._screen = winner
        if visits.is_present(winner):
            self._usual.learn(winner, surprise)

    def recognise(self, observations: UInt8[np.ndarray, "T N H W"]) -> TaskId:
        """The context under which the frames are most probable, all models frozen.

        Frames are taken as ``observe`` takes them.
        """
        models = self._contexts.models
        nothing = np.zeros((1, self._density.statistics), self._density.dtype)
        log_likelihood = np.zeros(len(models))
        for frame in self._sampling.of(observations):
            log_likelihood += self._density.log_predictive(
                models[None], nothing, self._cells(frame)[None]
            )[0]
        return self._visits.best(log_likelihood)

    def expected_screens(self) -> Float64[np.ndarray, "C 42 42"]:
        """What each context expects to see: mean grey levels, 0 to 255.

        Before the first context is learnt, what the untrained model expects.
        """
        counts = self._contexts.models[:, :-1]
        return np.stack(
            [
                expected_screen(of_context, self._density.bins, self._density.prior)
                for of_context in self._visits.summed(counts)
            ]
        )

    def state_dict(self) -> dict[str, np.ndarray]:
        """The process, and how far it is."""
        progress = [
            self._sampling.steps,
            self._sampling.used,
            self._screen,
            self._candidate,
            self._wins,
            self._sure_wins,
        ]
        return (
            self._contexts.state_dict()
            | self._visits.state_dict()
            | self._usual.state_dict()
            | {"progress": np.array(progress, np.int64)}
        )

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """Continues from a saved state, to the same labels as without the interruption.

        Raises:
            CheckpointError: If the state was saved with another number of bins.
        """
        self._contexts.load_state_dict(state)
        steps, used, self._screen, *wins = state["progress"].tolist()
        self._sampling.steps, self._sampling.used = steps, used
        self._candidate, self._wins, self._sure_wins = wins
        self._visits.load_state_dict(state)
        self._usual.load_state_dict(state)
