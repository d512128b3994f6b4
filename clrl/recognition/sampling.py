"""Which frames of parallel environments a recogniser learns from."""

import numpy as np
from jaxtyping import UInt8


class FrameSampling:
    """One frame each ``period_steps``, the environments taking turns.

    So the evidence is as much as from one environment, and the frames that are used
    one after the other differ as much as they can.

    Args:
        period_steps: Agent decisions, summed over environments, for each frame used.
    """

    def __init__(self, period_steps: int) -> None:
        self._period_steps = period_steps
        self.steps = 0
        self.used = 0

    def take(
        self, observation: UInt8[np.ndarray, "N H W"]
    ) -> UInt8[np.ndarray, "n H W"]:
        """The frames to use of the newest of each environment; often none."""
        environments = len(observation)
        uses = self._uses(self.steps, environments)
        turns = (self.used + np.arange(uses)) % environments
        self.steps += environments
        self.used += uses
        return observation[turns]

    def of(
        self, observations: UInt8[np.ndarray, "T N H W"]
    ) -> UInt8[np.ndarray, "n H W"]:
        """The frames to use of a whole stretch of calls, counted from its beginning."""
        calls, environments = observations.shape[:2]
        uses = [self._uses(call * environments, environments) for call in range(calls)]
        used_calls = np.repeat(np.arange(calls), uses)
        turns = np.arange(len(used_calls)) % environments
        return np.asarray(observations[used_calls, turns])

    def _uses(self, steps: int, environments: int) -> int:
        """How many uses fall on the next ``environments`` decisions."""
        return len(range(-steps % self._period_steps, environments, self._period_steps))
