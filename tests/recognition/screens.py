"""Screens of invented games, cheap enough for property tests."""

import numpy as np
from jaxtyping import UInt8

SIDE = 42


def still_screen(game: int) -> UInt8[np.ndarray, "42 42"]:
    """A fixed random picture; pictures of different games differ almost everywhere."""
    rng = np.random.default_rng([17, game])
    return rng.integers(0, 256, (SIDE, SIDE)).astype(np.uint8)


def play(
    game: int, steps: int, environments: int = 1, seed: int = 0
) -> UInt8[np.ndarray, "T N 42 42"]:
    """A still screen with a bright block that jumps about in each environment."""
    rng = np.random.default_rng([seed, game])
    frames = np.tile(still_screen(game), (steps, environments, 1, 1))
    corners = rng.integers(0, SIDE - 6, (steps, environments, 2))
    for step in range(steps):
        for environment in range(environments):
            row, column = corners[step, environment]
            frames[step, environment, row : row + 6, column : column + 6] = 255
    return frames
