"""How much memory replay memories may take, and how much there is."""

import os
from pathlib import Path

import numpy as np
import torch

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


def available_bytes(gpu: torch.device | None = None) -> int:
    """Memory that can be taken without swapping, as the kernel estimates it.

    Args:
        gpu: Whose memory is meant; None is the host's.
    """
    if gpu is not None and gpu.type == "cuda":
        return torch.cuda.mem_get_info(gpu)[0]
    # Free pages alone leave out the file cache, which the kernel gives up on demand.
    meminfo = Path("/proc/meminfo")
    if meminfo.is_file():
        for line in meminfo.read_text().splitlines():
            name, _, amount = line.partition(":")
            if name == "MemAvailable":
                return int(amount.split()[0]) * 1024
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
