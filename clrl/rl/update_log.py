"""What updates report, read from their device at once or seldom."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

_GPU_READS_EVERY_UPDATES = 100


class UpdateLog:
    """Losses and norms of updates that nobody has read yet.

    To read a number makes a GPU finish all it was asked for, so that is done for many
    updates together; a CPU has finished anyway.
    """

    def __init__(self, device: torch.device) -> None:
        """Nothing was reported."""
        self._every_updates = 1 if device.type == "cpu" else _GPU_READS_EVERY_UPDATES
        self._pending: list[Tensor] = []
        self._names: tuple[str, ...] = ()

    @property
    def is_due(self) -> bool:
        """Whether so many updates were reported that they should be read."""
        return len(self._pending) >= self._every_updates

    def add(self, metrics: Mapping[str, Tensor]) -> None:
        """Keeps copies of an update's scalars, the same names in every update."""
        self._names = tuple(metrics)
        self._pending.append(torch.stack(list(metrics.values())))

    def read(self) -> Iterator[dict[str, float]]:
        """The scalars of each update since the last reading, the oldest first."""
        pending, self._pending = self._pending, []
        if pending:
            for values in torch.stack(pending).tolist():
                yield dict(zip(self._names, values, strict=True))
