"""Which batch a gradient step is taken on."""

from typing import Protocol, runtime_checkable

from clrl.continual.state import Stateful, Stateless
from clrl.types import B, TaskId


@runtime_checkable
class Rehearsal(Stateful, Protocol[B]):
    """Turns the batch that arrived into the batch that is trained on."""

    def __call__(self, batch: B, task: TaskId) -> B:
        """The batch to train on while ``task`` is the current task."""
        ...


class NoRehearsal(Stateless):
    """Trains on the batch that arrived."""

    def __call__(self, batch: B, task: TaskId) -> B:
        """``batch``, as it came."""
        del task
        return batch
