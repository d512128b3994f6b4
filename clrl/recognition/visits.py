"""Which screens belong to one task: those that take turns faster than tasks do."""

import numpy as np
from jaxtyping import Bool, Float64, Int64, Shaped

from clrl.types import TaskId

_NEVER = -(2**62)
_NOBODY = -1


class Visits:
    """Turns the number of a screen's model into that of a task.

    One game may show screens that no model of pixels takes for the same: rooms, times
    of day. What tells them from other games is time: **no visit to a task is shorter**
    than ``min_visit_steps``. So

    - what is new within that time of a task's coming is part of this task, and
    - where a task is left and returned to within that time, so is what came between.

    A task that has had a visit of that length by itself is never made part of another.
    A stay of less than ``settling_steps`` may be a mistake, as when a switch passes
    through a wrong screen: nothing follows from it.

    Unlike the papers, where each model is a context of its own. They do visit games for
    "extended periods", and let switches become ever rarer (Kirkpatrick et al. (2017)).

    Tasks are numbered in the order in which they are found; a task that becomes part of
    another leaves its number unused. Steps that were labelled before that are not
    labelled anew.

    Args:
        min_visit_steps: No visit of a task is shorter, in calls of ``follow``; 0: each
            screen is a task.
        settling_steps: Shorter stays may be mistakes, in calls of ``follow``.
    """

    def __init__(self, min_visit_steps: int, settling_steps: int) -> None:
        self._min_visit_steps = min_visit_steps
        self._settling_steps = settling_steps
        self._step = 0
        self._task = _NOBODY
        self._stay_began = 0
        self._left = _NEVER  # when the stay began, the task had last been seen then
        self._tasks = np.zeros(0, np.int64)  # of each screen
        # Of each task: when its last visit began, when it was last seen, and the length
        # of its longest visit.
        self._times = np.zeros((3, 0), np.int64)

    @property
    def given(self) -> int:
        """How many numbers were given to tasks."""
        return self._times.shape[1]

    def follow(self, screen: int) -> TaskId:
        """The task of the screen that is seen now; to be called once each step.

        Args:
            screen: From 0; screens are numbered in the order in which they are found.
        """
        task = self._come_to(screen)
        if self._step - self._stay_began == self._settling_steps:
            task = self._look_back()
        began, seen, longest = self._times
        seen[task] = self._step
        self._step += 1
        longest[task] = max(longest[task], self._step - began[task])
        return task

    def would_be_new(self, screen: int) -> bool:
        """Whether the screen, if it were followed now, would be a task of its own."""
        return self._task_of(screen) == _NOBODY and not self._is_within_visit()

    def is_present(self, screen: int) -> bool:
        """Whether the screen belongs to the task that was seen last."""
        task = self._task_of(screen)
        return task != _NOBODY and task == self._task

    def is_elsewhere(self, screen: int) -> bool:
        """Whether the screen belongs to another task than the one seen last."""
        return self._task_of(screen) not in (self._task, _NOBODY)

    def tasks(self, screens: int) -> Int64[np.ndarray, "D"]:
        """The task of each of the first ``screens`` screens; -1 if never followed."""
        unseen = np.full(max(0, screens - len(self._tasks)), _NOBODY)
        return np.append(self._tasks, unseen)[:screens]

    def best(self, log_likelihood: Float64[np.ndarray, "D"]) -> TaskId:
        """The task of the most probable screen among those that were followed."""
        tasks = self.tasks(len(log_likelihood))
        is_known = tasks != _NOBODY
        if not is_known.any():
            return 0
        return int(tasks[np.where(is_known, log_likelihood, -np.inf).argmax()])

    def summed(
        self, of_screens: Shaped[np.ndarray, "D S"]
    ) -> Shaped[np.ndarray, "C S"]:
        """The sum over each task's screens; at least one row."""
        tasks = self.tasks(len(of_screens))
        shape = max(1, self.given), of_screens.shape[1]
        of_tasks = np.zeros(shape, of_screens.dtype)
        is_known = tasks != _NOBODY
        np.add.at(of_tasks, tasks[is_known], of_screens[is_known])
        return of_tasks

    def pooled(self, posterior: Float64[np.ndarray, "D"]) -> Float64[np.ndarray, "C"]:
        """The probability of each task, given each screen's; what is unknown last.

        A number that has become part of another task has none.
        """
        of_tasks = np.zeros(max(1, self.given) + 1)
        # A screen that was never followed counts as unknown: its task, -1, is last.
        np.add.at(of_tasks, self.tasks(len(posterior) - 1), posterior[:-1])
        of_tasks[-1] += posterior[-1]
        return of_tasks

    def state_dict(self) -> dict[str, np.ndarray]:
        """A copy of all that later tasks depend on."""
        stay = [self._step, self._task, self._stay_began, self._left]
        return {
            "visits.stay": np.array(stay, np.int64),
            "visits.tasks": self._tasks.copy(),
            "visits.times": self._times.copy(),
        }

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """Continues from a saved state."""
        stay = state["visits.stay"].tolist()
        self._step, self._task, self._stay_began, self._left = stay
        self._tasks = state["visits.tasks"].copy()
        self._times = state["visits.times"].copy()

    def _task_of(self, screen: int) -> int:
        """Of the screen; -1 if it was never followed."""
        return int(self._tasks[screen]) if screen < len(self._tasks) else _NOBODY

    def _come_to(self, screen: int) -> TaskId:
        """The task of the screen; a stay begins there unless it goes on."""
        self._tasks = self.tasks(max(screen + 1, len(self._tasks)))
        task = int(self._tasks[screen])
        if task == self._task != _NOBODY:
            return task
        if self._is_within_visit() and not self._stands_alone(task):
            if task == _NOBODY:
                self._tasks[screen] = self._task
            else:
                self._unite(np.arange(self.given) == task)
            return self._task
        if task == _NOBODY:
            task = self._tasks[screen] = self.given
            new = np.array([[self._step], [_NEVER], [0]])
            self._times = np.concatenate([self._times, new], axis=1)
        self._stay_began, self._left = self._step, int(self._times[1, task])
        if self._step - self._left >= self._min_visit_steps:
            self._times[0, task] = self._step
        self._task = int(task)
        return self._task

    def _is_within_visit(self) -> bool:
        """Whether the present visit cannot be over yet, and is no mistake."""
        if self._task == _NOBODY:
            return False
        is_settled = self._step - self._stay_began >= self._settling_steps
        visit_steps = self._step - self._times[0, self._task]
        return bool(is_settled and visit_steps < self._min_visit_steps)

    def _stands_alone(self, task: TaskId) -> bool:
        """Whether the task has had a visit by itself."""
        return task != _NOBODY and bool(self._times[2, task] >= self._min_visit_steps)

    def _look_back(self) -> TaskId:
        """Takes in what came since the task was left, if that is not long ago."""
        if self._stay_began - self._left < self._min_visit_steps:
            _, seen, longest = self._times
            is_between = (seen > self._left) & (longest < self._min_visit_steps)
            self._unite(is_between)
        return self._task

    def _unite(self, others: Bool[np.ndarray, "C"]) -> None:
        """Makes other tasks part of the present one, under the lowest number."""
        members = np.union1d(np.flatnonzero(others), self._task)
        united, absorbed = int(members[0]), members[1:]
        self._times[:2, united] = self._times[:2, self._task]
        self._times[2, united] = self._times[2, members].max()
        self._times[1:, absorbed] = [[_NEVER], [0]]
        self._tasks[np.isin(self._tasks, absorbed)] = united
        self._task = united
