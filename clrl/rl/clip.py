"""Keeps a stretch of play while games are scored, for people to look at."""

import numpy as np
from jaxtyping import Shaped


class Clip:
    """The first frames of one of the copies of a game, every other one.

    Args:
        length_frames: Frames that are kept at most.
    """

    EVERY = 2
    """Agent steps from one kept frame to the next."""

    def __init__(self, length_frames: int = 150) -> None:
        self._length = length_frames
        self._steps = 0
        self._frames: list[np.ndarray] = []

    def __call__(self, frames: Shaped[np.ndarray, "N ..."]) -> None:
        """Sees the newest frame of each copy, once in each step."""
        if self._steps % self.EVERY == 0 and len(self._frames) < self._length:
            self._frames.append(frames[0].copy())
        self._steps += 1

    def take(self) -> Shaped[np.ndarray, "T ..."]:
        """What was kept since the last call, in order; begins anew."""
        frames, self._frames, self._steps = self._frames, [], 0
        return np.array(frames)
