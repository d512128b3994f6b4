"""How much memory replay memories may take, and how much they need."""

import numpy as np

LZ4_SHARE = 2 / 7
"""Of a raw 84x84 frame: what LZ4 leaves of it in the game that compresses worst of
those that ``scripts/benchmark`` plays."""


class ReplayBudget:
    """Bytes that several replay memories share, granted block by block."""

    def __init__(self, budget_bytes: int) -> None:
        """A budget of ``budget_bytes``, all of it free."""
        self.budget_bytes = budget_bytes
        self.used_bytes = 0

    def grant(self, wanted_bytes: int) -> bool:
        """Takes ``wanted_bytes`` if they are left, and says whether they were."""
        if self.used_bytes + wanted_bytes > self.budget_bytes:
            return False
        self.used_bytes += wanted_bytes
        return True

    @property
    def left_bytes(self) -> int:
        """Bytes that are free."""
        return self.budget_bytes - self.used_bytes


def required_bytes(
    capacity: int,
    observation_shape: tuple[int, ...],
    n_stack: int,
    itemsize: int,
    frames: str = "raw",
) -> int:
    """Bytes of one full replay memory: a frame and 8 bytes for each transition.

    Compressed frames are taken for ``LZ4_SHARE`` of raw ones; where a game's take more,
    the memory keeps fewer transitions.
    """
    frame = int(np.prod(observation_shape[1:] if n_stack > 1 else observation_shape))
    share = LZ4_SHARE if frames == "lz4" else 1.0
    return capacity * (int(share * frame * itemsize) + 8)
