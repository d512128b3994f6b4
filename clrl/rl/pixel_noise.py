"""Noise on what a game shows, to see how much recognition and play depend on it."""

import numpy as np
from gymnasium import spaces
from jaxtyping import Integer, Shaped

from clrl.rl.game import GameStep, VectorGame


class NoisyGame:
    """A game of stacked grey frames in which some pixels show anything.

    In each new frame each pixel is, with probability ``share``, replaced by a grey
    level drawn uniformly from 0 to 255, all independently. A frame keeps its noise
    while it moves through the stack. What pads a stack before an episode's first frame
    (all zero) stays as it is.

    Args:
        game: With uint8 observations [S, H, W], the newest frame last.
        share: 0 to 1.
    """

    def __init__(self, game: VectorGame, share: float) -> None:
        self._game = game
        self._share = share
        self._rng = np.random.default_rng()
        self._shown = np.zeros(0, np.uint8)

    @property
    def observation_space(self) -> spaces.Box:
        """The game's."""
        return self._game.observation_space

    @property
    def action_space(self) -> spaces.Discrete:
        """The game's."""
        return self._game.action_space

    def reset(self, seed: int) -> Shaped[np.ndarray, "N ..."]:
        """Starts an episode in every copy; the noise comes from the same seed."""
        self._rng = np.random.default_rng(seed)
        self._shown = self._noisy(self._game.reset(seed))
        return self._shown

    def send(self, actions: Integer[np.ndarray, "N"]) -> None:
        """Starts one step in every copy."""
        self._game.send(actions)

    def receive(self) -> GameStep:
        """Waits for the step that ``send`` started."""
        step = self._game.receive()
        final = self._moved_on(step.final_observations)
        shown = self._moved_on(step.observations)
        # An episode that begins brings a whole new stack.
        shown[step.new_episode] = self._noisy(step.observations[step.new_episode])
        goes_on = ~step.new_episode
        final[goes_on] = shown[goes_on]
        self._shown = shown
        return step._replace(observations=shown, final_observations=final)

    def close(self) -> None:
        """Frees the game."""
        self._game.close()

    def _moved_on(
        self, observations: Shaped[np.ndarray, "N ..."]
    ) -> Shaped[np.ndarray, "N ..."]:
        """What was shown, with the newest frame added and the oldest one gone."""
        newest = self._noisy(observations[:, -1:])
        return np.concatenate([self._shown[:, 1:], newest], axis=1)

    def _noisy(
        self, frames: Shaped[np.ndarray, "N S H W"]
    ) -> Shaped[np.ndarray, "N S H W"]:
        is_frame = frames.any(axis=(2, 3), keepdims=True)
        is_hit = is_frame & (self._rng.random(frames.shape) < self._share)
        levels = self._rng.integers(256, size=frames.shape, dtype=np.uint8)
        return np.where(is_hit, levels, frames)
