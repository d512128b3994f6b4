"""Where a replay memory keeps its frames: as they are, compressed, or on a GPU.

All give back the same frames, so which of them is used does not change what is learnt,
as long as the budget has room for all memories.
"""

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Int64, Shaped
from torch import Tensor

from clrl.errors import ConfigError, MemoryBudgetError, unknown_name

_ALLOCATION_BYTES = 16
"""What glibc rounds the size of an object up to, its own header included."""


class FrameStore(ABC):
    """Frames by lane and row."""

    row_bytes: int
    """What a row takes, whatever is written into it."""

    content_bytes: int = 0
    """What the frames take now besides their rows."""

    is_reserved_at_once: ClassVar[bool] = False
    """Memory for all rows is taken by ``reserve``, not as rows are written."""

    @abstractmethod
    def __init__(
        self,
        num_envs: int,
        rows: int,
        frame_shape: tuple[int, ...],
        dtype: np.dtype[np.generic],
        device: torch.device,
    ) -> None:
        """A store for ``rows`` frames in each lane; batches are put on ``device``."""

    def reserve(self, rows: int) -> None:  # noqa: B027 - most need not
        """Takes the memory for ``rows`` rows in each lane, where it is taken at once.

        Raises:
            MemoryBudgetError: There is not so much left.
        """

    @abstractmethod
    def write(
        self,
        lanes: Int64[np.ndarray, "N"],
        rows: Int64[np.ndarray, "N"],
        frames: Shaped[np.ndarray, "N ..."],
    ) -> None:
        """Puts a frame into a row of each of some lanes, in place of an earlier one."""

    @abstractmethod
    def read(
        self,
        lanes: Int64[np.ndarray, "B"],
        rows: Int64[np.ndarray, "B R"],
        shown: Bool[np.ndarray, "B R"],
    ) -> Shaped[Tensor, "B R ..."]:
        """The frames of some rows of each lane; zeros where not ``shown``."""

    def forget(self, lane: int, row: int) -> None:  # noqa: B027 - most need not
        """Frees what the frame of a row takes; it will not be read again.

        Where the next frame takes the same place, nothing is to be freed.
        """


class RawFrames(FrameStore):
    """Frames as they are, in an array whose pages are taken as they are written."""

    def __init__(
        self,
        num_envs: int,
        rows: int,
        frame_shape: tuple[int, ...],
        dtype: np.dtype[np.generic],
        device: torch.device,
    ) -> None:
        """Room for ``rows`` frames in each lane; batches are put on ``device``."""
        self._frames = np.empty((num_envs, rows, *frame_shape), dtype)
        self._device = device
        self.row_bytes = self._frames[0, 0].nbytes

    def write(
        self,
        lanes: Int64[np.ndarray, "N"],
        rows: Int64[np.ndarray, "N"],
        frames: Shaped[np.ndarray, "N ..."],
    ) -> None:
        """Copies a frame into a row of each of some lanes."""
        self._frames[lanes, rows] = frames

    def read(
        self,
        lanes: Int64[np.ndarray, "B"],
        rows: Int64[np.ndarray, "B R"],
        shown: Bool[np.ndarray, "B R"],
    ) -> Shaped[Tensor, "B R ..."]:
        """Copies of the frames of some rows of each lane; zeros where not ``shown``."""
        frames = self._frames[lanes[:, None], rows]
        frames[~shown] = 0
        return on_device(frames, self._device)


class Lz4Frames(FrameStore):
    """Each frame compressed by LZ4, an object of its own.

    A batch is decompressed one frame after the other, and only the frames it needs.
    """

    def __init__(
        self,
        num_envs: int,
        rows: int,
        frame_shape: tuple[int, ...],
        dtype: np.dtype[np.generic],
        device: torch.device,
    ) -> None:
        """Room for ``rows`` frames in each lane; batches are put on ``device``.

        Raises:
            ConfigError: The package lz4 is not installed.
        """
        self._compress, self._decompress = _lz4_block()
        self._blocks = np.full((num_envs, rows), b"", dtype=object)
        self._frame_shape = frame_shape
        self._dtype = dtype
        self._device = device
        self._nothing = bytes(int(np.prod(frame_shape)) * dtype.itemsize)
        self.row_bytes = self._blocks.itemsize

    def write(
        self,
        lanes: Int64[np.ndarray, "N"],
        rows: Int64[np.ndarray, "N"],
        frames: Shaped[np.ndarray, "N ..."],
    ) -> None:
        """Compresses a frame into a row of each of some lanes."""
        for lane, row, frame in zip(lanes, rows, frames, strict=True):
            self.forget(int(lane), int(row))
            block = self._compress(np.ascontiguousarray(frame), store_size=False)
            self._blocks[lane, row] = block
            self.content_bytes += _allocated_bytes(block)

    def read(
        self,
        lanes: Int64[np.ndarray, "B"],
        rows: Int64[np.ndarray, "B R"],
        shown: Bool[np.ndarray, "B R"],
    ) -> Shaped[Tensor, "B R ..."]:
        """Decompresses some rows of each lane; zeros where not ``shown``."""
        size, decompress = len(self._nothing), self._decompress
        blocks = self._blocks[lanes[:, None], rows].ravel().tolist()
        pixels = bytearray().join(
            decompress(block, uncompressed_size=size) if is_shown else self._nothing
            for block, is_shown in zip(blocks, shown.ravel().tolist(), strict=True)
        )
        frames = np.frombuffer(pixels, self._dtype)
        return on_device(frames.reshape(*rows.shape, *self._frame_shape), self._device)

    def forget(self, lane: int, row: int) -> None:
        """Frees the compressed frame of a row."""
        if block := self._blocks[lane, row]:
            self.content_bytes -= _allocated_bytes(block)
            self._blocks[lane, row] = b""


class DeviceFrames(FrameStore):
    """Frames as they are, in the memory of the device that learns from them.

    Batches are gathered there; only row numbers travel, and nothing waits for them.
    """

    is_reserved_at_once = True

    def __init__(
        self,
        num_envs: int,
        rows: int,
        frame_shape: tuple[int, ...],
        dtype: np.dtype[np.generic],
        device: torch.device,
    ) -> None:
        """No room yet, see ``reserve``; ``rows`` are reserved there."""
        del rows
        self._num_envs = num_envs
        self._rows = 0
        self._frame_shape = frame_shape
        self._dtype = torch.from_numpy(np.empty(0, dtype)).dtype
        self._device = device
        self._frames = torch.empty(0)
        self.row_bytes = int(np.prod(frame_shape)) * dtype.itemsize

    def reserve(self, rows: int) -> None:
        """Takes the memory for ``rows`` rows in each lane, once.

        Raises:
            MemoryBudgetError: The device has not so much left.
        """
        shape = (self._num_envs * rows, *self._frame_shape)
        try:
            self._frames = torch.empty(shape, dtype=self._dtype, device=self._device)
        except torch.OutOfMemoryError as error:
            raise MemoryBudgetError(
                f"the replay memory needs {shape[0] * self.row_bytes / 2**30:.1f} GiB "
                f"on {self._device}, which has not so much left; lower buffer_size or "
                "replay_gib, or keep frames on the host (raw or lz4)."
            ) from error
        self._rows = rows

    def write(
        self,
        lanes: Int64[np.ndarray, "N"],
        rows: Int64[np.ndarray, "N"],
        frames: Shaped[np.ndarray, "N ..."],
    ) -> None:
        """Sends a frame into a row of each of some lanes."""
        places = on_device(lanes * self._rows + rows, self._device)
        self._frames.index_copy_(0, places, on_device(frames, self._device))

    def read(
        self,
        lanes: Int64[np.ndarray, "B"],
        rows: Int64[np.ndarray, "B R"],
        shown: Bool[np.ndarray, "B R"],
    ) -> Shaped[Tensor, "B R ..."]:
        """Gathers some rows of each lane; zeros where not ``shown``."""
        places = on_device(lanes[:, None] * self._rows + rows, self._device)
        hidden = on_device(~shown, self._device)
        pixels = (1,) * len(self._frame_shape)
        return self._frames[places].masked_fill_(hidden.view(*rows.shape, *pixels), 0)


FRAME_STORES: Mapping[str, type[FrameStore]] = {
    "raw": RawFrames,
    "lz4": Lz4Frames,
    "device": DeviceFrames,
}
"""By name; ``device`` is where the network is."""


def default_frame_store(device: torch.device) -> str:
    """``device`` if the network is on a GPU, else ``raw``."""
    return "raw" if device.type == "cpu" else "device"


def frame_store(name: str) -> type[FrameStore]:
    """The class of the frame store called ``name``.

    Raises:
        ConfigError: There is none; the nearest names are listed.
    """
    if name not in FRAME_STORES:
        raise unknown_name("frame store", name, FRAME_STORES)
    return FRAME_STORES[name]


def on_device(
    array: Shaped[np.ndarray, "..."], device: torch.device
) -> Shaped[Tensor, "..."]:
    """``array`` as a tensor on ``device``; the caller does not wait for the copy."""
    if device.type == "cuda":
        # Only from pinned memory without gaps does a copy go on by itself.
        gapless = torch.from_numpy(np.ascontiguousarray(array))
        return gapless.pin_memory().to(device, non_blocking=True)
    return torch.from_numpy(array).to(device)


def _lz4_block() -> tuple[Callable[..., bytes], Callable[..., bytes]]:
    try:
        from lz4 import block  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise ConfigError(
            "compressed replay memories need the package lz4, which is not installed; "
            "pip install 'clrl[lz4]', or keep frames raw."
        ) from error
    return block.compress, block.decompress


def _allocated_bytes(block: bytes) -> int:
    units = -(-(sys.getsizeof(block) + 8) // _ALLOCATION_BYTES)
    return units * _ALLOCATION_BYTES
