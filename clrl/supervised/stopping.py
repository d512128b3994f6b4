"""When a visit to a task ends."""

import copy
from collections.abc import Sequence
from statistics import fmean
from typing import Protocol, runtime_checkable

from torch import Tensor

from clrl.continual.learner import ContinualLearner
from clrl.supervised.accuracy import accuracy
from clrl.supervised.stream import ExampleBatch, TaskStream
from clrl.types import TaskId


@runtime_checkable
class Stopping(Protocol):
    """Decides after each pass of a visit whether another one follows."""

    def is_over(
        self, learner: ContinualLearner[ExampleBatch], met: Sequence[TaskId]
    ) -> bool:
        """Whether this pass was the visit's last; asked after each of them.

        Args:
            learner: Has learnt from the whole pass.
            met: The true tasks of this visit and of all before it; some may be there
                more than once.
        """
        ...

    def ended(self, learner: ContinualLearner[ExampleBatch]) -> None:
        """The visit has ended; what follows is the first pass of another one."""
        ...


class AllPasses:
    """A visit ends with the last of its passes."""

    def is_over(self, learner: object, met: object) -> bool:
        """Never before."""
        del learner, met
        return False

    def ended(self, learner: object) -> None:
        """Nothing."""


class EarlyStopping:
    """A visit ends when the mean accuracy on all tasks met so far no longer rises.

    Source: Kirkpatrick et al. (2017), figure 3B and SI: the error is that on held-out
    examples of all tasks met; when no pass has lowered it for more than
    ``patience_passes`` passes the visit ends, and whenever it ends, the weights of the
    lowest come back, here with what the consolidation had gathered by then. How often
    the error is taken is not given there; here once a pass. The optimiser's state and
    the method's memories stay as they are. Examples are scored under their true task,
    so the learner must be told it; IMM's solution before it is merged.

    Args:
        validation: Its test examples are the held-out ones, of the same tasks.
        patience_passes: Passes without a higher accuracy that do not end a visit.
    """

    def __init__(self, validation: TaskStream, patience_passes: int) -> None:
        self._validation = validation
        self._patience_passes = patience_passes
        self._best = -1.0
        self._passes_since = 0
        self._weights: dict[str, Tensor] = {}
        self._gathered: dict[str, Tensor] = {}

    def is_over(
        self, learner: ContinualLearner[ExampleBatch], met: Sequence[TaskId]
    ) -> bool:
        """Whether the accuracy has not risen for more than ``patience_passes``."""
        found = fmean(accuracy(learner, self._examples(task)) for task in set(met))
        if found > self._best:
            self._best = found
            self._passes_since = 0
            self._weights = copy.deepcopy(learner.network.state_dict())
            gathered = learner.method.consolidation.state_dict()
            self._gathered = copy.deepcopy(gathered)
        else:
            self._passes_since += 1
        return self._passes_since > self._patience_passes

    def ended(self, learner: ContinualLearner[ExampleBatch]) -> None:
        """Brings network and consolidation back to the highest accuracy."""
        if self._weights:
            learner.network.load_state_dict(self._weights)
            learner.method.consolidation.load_state_dict(self._gathered)
        self._best, self._passes_since = -1.0, 0
        self._weights, self._gathered = {}, {}

    def _examples(self, task: TaskId) -> ExampleBatch:
        return ExampleBatch.of(self._validation.test(task), task)
