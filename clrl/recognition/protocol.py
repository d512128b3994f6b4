"""What a task recogniser is, and the two trivial ones: one task, and the oracle."""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float64, Shaped

from clrl.types import TaskId


@runtime_checkable
class TaskRecogniser(Protocol):
    """Gives the stream of observations a label: the task the learner believes it is in.

    It sees observations only. Labels count from 0 in the order in which contexts are
    found; they need not equal the true tasks' numbers.
    """

    @property
    def contexts(self) -> int:
        """The number of contexts found so far; labels are below it. At least 1."""
        ...

    def observe(self, observation: Shaped[np.ndarray, "N *observation"]) -> TaskId:
        """The label of the newest observations, one of each parallel environment.

        To be called once per step of the vector environment. All environments play
        the same task.
        """
        ...

    def recognise(self, observations: Shaped[np.ndarray, "T N *observation"]) -> TaskId:
        """The best known label for a stretch of ``T`` steps; nothing is learnt from it.

        Used at evaluation, so it never finds a new context.
        """
        ...

    def state_dict(self) -> dict[str, np.ndarray]:
        """A copy of all that later labels depend on."""
        ...

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """Continues from a ``state_dict`` of a recogniser of the same config."""
        ...


@runtime_checkable
class ScreenRecogniser(TaskRecogniser, Protocol):
    """A recogniser that infers the task from models of the screen."""

    @property
    def posterior(self) -> Float64[np.ndarray, "C"]:
        """The probability of each context, the one for what is unknown last."""
        ...

    def expected_screens(self) -> Float64[np.ndarray, "C H W"]:
        """What each context's model expects to see: mean grey levels, 0 to 255."""
        ...


class OneTask:
    """Everything is task 0: the recogniser of an agent that knows of no tasks."""

    @property
    def contexts(self) -> int:
        """1."""
        return 1

    def observe(self, observation: Shaped[np.ndarray, "N *observation"]) -> TaskId:
        """0."""
        del observation
        return 0

    def recognise(self, observations: Shaped[np.ndarray, "T N *observation"]) -> TaskId:
        """0."""
        del observations
        return 0

    def state_dict(self) -> dict[str, np.ndarray]:
        """Empty."""
        return {}

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """Nothing to load."""
        del state


class Oracle:
    """The true task, asked for explicitly instead of inferred.

    Args:
        current_task: Tells the task that the stream is in at the moment of the call.
    """

    def __init__(self, current_task: Callable[[], TaskId]) -> None:
        self._current_task = current_task
        self._contexts = 1

    @property
    def contexts(self) -> int:
        """One more than the highest task observed so far."""
        return self._contexts

    def observe(self, observation: Shaped[np.ndarray, "N *observation"]) -> TaskId:
        """The true task; the observation is not looked at."""
        del observation
        task = self._current_task()
        self._contexts = max(self._contexts, task + 1)
        return task

    def recognise(self, observations: Shaped[np.ndarray, "T N *observation"]) -> TaskId:
        """The true task; the observations are not looked at."""
        del observations
        return self._current_task()

    def state_dict(self) -> dict[str, np.ndarray]:
        """``contexts``."""
        return {"contexts": np.array(self._contexts, dtype=np.int64)}

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """Continues from a saved state."""
        self._contexts = int(state["contexts"])
