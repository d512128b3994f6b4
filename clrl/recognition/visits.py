"""Which screens belong to one task: those that soon give way to each other again."""

import numpy as np
from jaxtyping import Bool, Float64, Int64

from clrl.types import TaskId

_NEVER = -(2**62)


class Visits:
    """Turns the number of a screen's model into that of a task.

    One game may show screens that no model of pixels takes for the same: rooms, times
    of day. What tells them from other games is time: a task is visited for long, and
    the screens of one game alternate. So where a task is left and returned to within
    ``min_visit_steps``, what came between was no visit of another task, but part of
    this one, unless an earlier visit of that length showed it to be a task of its own.

    Unlike the papers, where each model is a context of its own. They do visit games for
    "extended periods", and let switches become ever rarer (Kirkpatrick et al. (2017)).

    A task has the number of the first of its screens. Steps that were labelled before
    two screens were found to be one task are not labelled anew.

    Args:
        min_visit_steps: No visit of a task is shorter, in calls of ``follow``; 0: each
            screen is a task.
    """

    def __init__(self, min_visit_steps: int) -> None:
        self._min_visit_steps = min_visit_steps
        self._step = 0
        self._tasks = np.zeros(0, np.int64)  # of each screen
        # Of each task: when its last visit began, when it was last seen, and the length
        # of its longest visit.
        self._times = np.zeros((3, 0), np.int64)

    def follow(self, screen: int) -> TaskId:
        """The task of the screen that is seen now; to be called once each step.

        Args:
            screen: From 0; screens are numbered in the order in which they are found.
        """
        self._make_room(screen)
        task = int(self._tasks[screen])
        began, seen, longest = self._times
        if self._step - seen[task] < self._min_visit_steps:
            is_between = (seen > seen[task]) & (longest < self._min_visit_steps)
            if is_between.any():
                task = self._unite(task, is_between)
        else:
            began[task] = self._step
        seen[task] = self._step
        self._step += 1
        longest[task] = max(longest[task], self._step - began[task])
        return task

    def tasks(self, screens: int) -> Int64[np.ndarray, "C"]:
        """The task of each of the first ``screens`` screens."""
        unseen = np.arange(len(self._tasks), screens)
        return np.append(self._tasks, unseen)[:screens]

    def pooled(self, posterior: Float64[np.ndarray, "D"]) -> Float64[np.ndarray, "D"]:
        """The probability of each task, given each screen's; what is unknown last.

        A number that has become part of another task has none.
        """
        of_tasks = np.zeros_like(posterior)
        np.add.at(of_tasks, self.tasks(len(posterior) - 1), posterior[:-1])
        of_tasks[-1] = posterior[-1]
        return of_tasks

    def state_dict(self) -> dict[str, np.ndarray]:
        """A copy of all that later tasks depend on."""
        return {
            "visits.step": np.array(self._step, np.int64),
            "visits.tasks": self._tasks.copy(),
            "visits.times": self._times.copy(),
        }

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """Continues from a saved state."""
        self._step = int(state["visits.step"])
        self._tasks = state["visits.tasks"].copy()
        self._times = state["visits.times"].copy()

    def _make_room(self, screen: int) -> None:
        new = np.arange(len(self._tasks), screen + 1)
        self._tasks = np.append(self._tasks, new)
        unseen = np.tile([[_NEVER], [_NEVER], [0]], len(new))
        self._times = np.concatenate([self._times, unseen], axis=1)

    def _unite(self, task: TaskId, others: Bool[np.ndarray, "C"]) -> TaskId:
        members = np.append(np.flatnonzero(others), task)
        united = int(members.min())
        began, seen, longest = self._times
        began[united], longest[united] = began[task], longest[members].max()
        absorbed = members[members != united]
        seen[absorbed] = _NEVER
        self._tasks[np.isin(self._tasks, absorbed)] = united
        return united
