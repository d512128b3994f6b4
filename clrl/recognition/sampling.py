"""Which frames of parallel environments a recogniser learns from."""

import numpy as np
from jaxtyping import UInt8


class FrameSampling:
    """One frame each ``period_steps``, the environments taking turns.

    So the evidence is as much as from one environment, and the frames that are used
    one after the other differ as much as they can.

    Args:
        period_steps: Agent decisions, summed over environments, for each frame used;
            but at most one frame of each call is.
    """

    def __init__(self, period_steps: int) -> None:
        self._period_steps = period_steps
        self.steps = 0
        self.used = 0

    def take(
        self, observation: UInt8[np.ndarray, "N H W"]
    ) -> UInt8[np.ndarray, "n H W"]:
        """The frame to use of the newest of each environment, or none."""
        environments = len(observation)
        is_due = self._is_due(self.steps, environments)
        self.steps += environments
        if not is_due:
            return observation[:0]
        turn = self.used % environments
        self.used += 1
        return observation[turn : turn + 1]

    def of(
        self, observations: UInt8[np.ndarray, "T N H W"]
    ) -> UInt8[np.ndarray, "n H W"]:
        """The frames to use of a whole stretch of calls, counted from its beginning."""
        calls, environments = observations.shape[:2]
        due = [t for t in range(calls) if self._is_due(t * environments, environments)]
        turns = np.arange(len(due)) % environments
        return np.asarray(observations[due, turns])

    def _is_due(self, steps: int, environments: int) -> bool:
        """Whether a use falls on one of the next ``environments`` decisions."""
        return -steps % self._period_steps < environments
