"""ε-greedy exploration with a timer of its own for each inferred task."""

from collections import Counter
from dataclasses import dataclass

from clrl.types import TaskId


@dataclass(frozen=True, kw_only=True)
class EpsilonSchedule:
    """ε is 1 before learning starts, then falls linearly, then stays.

    Attributes:
        initial_eps: ε when learning starts.
        final_eps: ε after the decay.
        learning_starts: Agent steps in the task that are played at random.
        decay_steps: Agent steps over which ε falls.
    """

    initial_eps: float
    final_eps: float
    learning_starts: int
    decay_steps: int

    def __call__(self, steps: int) -> float:
        """ε after ``steps`` agent steps in the task."""
        if steps < self.learning_starts:
            return 1.0
        progress = min(1.0, (steps - self.learning_starts) / max(1, self.decay_steps))
        return self.initial_eps + progress * (self.final_eps - self.initial_eps)


class TaskTimers:
    """Agent steps spent in each task, so that a game that returns goes on where it was.

    Source: Kirkpatrick et al. (2017), SI: a separate ε timer per task.
    """

    def __init__(self) -> None:
        """No task has been played."""
        self._steps: Counter[TaskId] = Counter()

    def __getitem__(self, task: TaskId) -> int:
        """Agent steps spent in ``task``."""
        return self._steps[task]

    def advance(self, task: TaskId, steps: int) -> None:
        """Counts ``steps`` more agent steps in ``task``."""
        self._steps[task] += steps

    def state_dict(self) -> dict[TaskId, int]:
        """Steps by task."""
        return dict(self._steps)

    def load_state_dict(self, state: dict[TaskId, int]) -> None:
        """Restores what ``state_dict`` returned."""
        self._steps = Counter(state)
