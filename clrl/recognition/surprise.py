"""How well contexts usually predict what they see, to tell when one does not."""

import math

import numpy as np
from jaxtyping import Float64

_MEMORY_FRAMES = 100  # of the running means
_LEARNT_FRAMES = 8  # before that, nothing is usual
_DEVIATIONS = 3.0
_LEAST_DEVIATION = 0.25  # of the mean


class UsualSurprise:
    """Running mean and spread of each context's surprise, minus the log likelihood.

    The most probable context need not be a good one: a blank screen that no game has
    shown yet is best explained by some game that is mostly background. What tells is
    that this game's own frames are hardly ever such a surprise to it.

    Both are exponential means over the last hundred or so frames, and plain means over
    fewer. A surprise is usual up to three standard deviations above the mean, where a
    standard deviation is at least a quarter of the mean; while there are fewer than
    eight frames, none is. A larger surprise counts as the largest usual one, so that
    what is usual grows where it must, but not by a few odd frames.
    """

    def __init__(self) -> None:
        # Of each context: frames, mean surprise, and mean of its square.
        self._moments: Float64[np.ndarray, "3 D"] = np.zeros((3, 0))

    def learn(self, context: int, surprise_nats: float) -> None:
        """Takes in one of the context's own frames; nothing if infinite."""
        if not math.isfinite(surprise_nats):
            return
        missing = context + 1 - self._moments.shape[1]
        if missing > 0:
            self._moments = np.append(self._moments, np.zeros((3, missing)), axis=1)
        moments = self._moments[:, context]
        if moments[0] >= _LEARNT_FRAMES:
            surprise_nats = min(surprise_nats, self._largest(context))
        moments[0] += 1
        share = max(1 / moments[0], 1 / _MEMORY_FRAMES)
        moments[1] += share * (surprise_nats - moments[1])
        moments[2] += share * (surprise_nats**2 - moments[2])

    def includes(self, context: int, surprise_nats: float) -> bool:
        """Whether such a frame may be one of the context's own."""
        if context >= self._moments.shape[1]:
            return False
        is_learnt = self._moments[0, context] >= _LEARNT_FRAMES
        return bool(is_learnt and surprise_nats <= self._largest(context))

    def _largest(self, context: int) -> float:
        _, mean, square = self._moments[:, context].tolist()
        # Rounding may leave less than nothing.
        deviation = math.sqrt(max(square - mean**2, 0.0))
        return float(mean + _DEVIATIONS * max(deviation, _LEAST_DEVIATION * mean))

    def state_dict(self) -> dict[str, np.ndarray]:
        """A copy of what was learnt."""
        return {"surprise.moments": self._moments.copy()}

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """Continues from a saved state."""
        self._moments = state["surprise.moments"].copy()
