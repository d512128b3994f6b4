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
    that this game's own frames are never such a surprise to it.

    Both are exponential means over the last hundred or so frames, and plain means over
    fewer. A surprise is usual up to three standard deviations above the mean, where a
    standard deviation is at least a quarter of the mean.
    """

    def __init__(self) -> None:
        # Of each context: frames, mean surprise, and mean of its square.
        self._means: Float64[np.ndarray, "3 D"] = np.zeros((3, 0))

    def learn(self, context: int, surprise_nats: float) -> None:
        """Takes in one of the context's own frames; nothing if infinite."""
        if not math.isfinite(surprise_nats):
            return
        missing = context + 1 - self._means.shape[1]
        if missing > 0:
            self._means = np.append(self._means, np.zeros((3, missing)), axis=1)
        means = self._means[:, context]
        means[0] += 1
        share = max(1 / means[0], 1 / _MEMORY_FRAMES)
        means[1] += share * (surprise_nats - means[1])
        means[2] += share * (surprise_nats**2 - means[2])

    def includes(self, context: int, surprise_nats: float) -> bool:
        """Whether such a frame may be one of the context's own."""
        if context >= self._means.shape[1]:
            return False
        frames, mean, square = self._means[:, context]
        if frames < _LEARNT_FRAMES:
            return False
        # Rounding may leave less than nothing.
        deviation = max(square - mean**2, 0.0) ** 0.5
        largest = mean + _DEVIATIONS * max(deviation, _LEAST_DEVIATION * mean)
        return bool(surprise_nats <= largest)

    def state_dict(self) -> dict[str, np.ndarray]:
        """A copy of the means."""
        return {"surprise.means": self._means.copy()}

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """Continues from a saved state."""
        self._means = state["surprise.means"].copy()
