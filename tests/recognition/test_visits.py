"""Screens that give way to each other soon are one task."""

from collections.abc import Iterable

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from clrl.recognition.visits import Visits

MIN_VISIT = 50
SETTLING = 2


def tasks(*stays: tuple[int, int], min_visit_steps: int = MIN_VISIT) -> list[int]:
    """The task at the end of each stay, given as (screen, steps)."""
    visits = Visits(min_visit_steps, SETTLING)
    return [[visits.follow(screen) for _ in range(n)][-1] for screen, n in stays]


class VisitsByHand:
    """The same, from the whole history of tasks, named anew whenever some unite."""

    def __init__(self, min_visit_steps: int, settling_steps: int) -> None:
        self.min_visit_steps = min_visit_steps
        self.settling_steps = settling_steps
        self.task_of: dict[int, int] = {}  # by screen
        self.history: list[int] = []  # by step
        self.began: dict[int, int] = {}  # by task
        self.alone: set[int] = set()  # tasks that have had a visit by themselves
        self.stay_began, self.left = 0, -(10**9)

    def follow(self, screen: int) -> int:
        now = len(self.history)
        task = self.task_of.get(screen)
        if task is None or self.history[-1:] != [task]:
            if self.is_within_visit(now) and task not in self.alone:
                self.task_of[screen] = self.history[-1]
                task = self.unite(self.history[-1], {task} - {None})
            else:
                task = self.begin_stay(screen, now)
        stay_steps = now - self.stay_began
        if stay_steps == self.settling_steps and self.is_recent(self.left):
            between = set(self.history[self.left + 1 :])
            task = self.unite(task, between - self.alone)
        self.history.append(task)
        if now + 1 - self.began[task] >= self.min_visit_steps:
            self.alone.add(task)
        return task

    def is_within_visit(self, now: int) -> bool:
        if not self.history or now - self.stay_began < self.settling_steps:
            return False
        return now - self.began[self.history[-1]] < self.min_visit_steps

    def is_recent(self, left: int) -> bool:
        return self.stay_began - left < self.min_visit_steps

    def begin_stay(self, screen: int, now: int) -> int:
        task = self.task_of.setdefault(screen, len(self.began))
        seen = [step for step, other in enumerate(self.history) if other == task]
        self.stay_began, self.left = now, max(seen, default=-(10**9))
        if not self.is_recent(self.left):
            self.began[task] = now
        return task

    def unite(self, present: int, others: Iterable[int | None]) -> int:
        members = {present} | {task for task in others if task is not None}
        united = min(members)
        self.began[united] = self.began[present]
        if present in self.alone:
            self.alone.add(united)
        self.history = [united if t in members else t for t in self.history]
        self.task_of = {
            screen: united if task in members else task
            for screen, task in self.task_of.items()
        }
        return united


def test_what_is_new_within_a_shortest_visit_is_part_of_it() -> None:
    assert tasks((0, 5), (1, 5), (2, 39), (3, 20), (1, 5), (3, 5)) == [0] * 6


def test_what_is_new_later_is_a_task_until_it_turns_out_to_be_a_room() -> None:
    assert tasks((0, 50), (1, 5), (0, 2), (1, 5), (0, 1)) == [0, 1, 0, 1, 0]
    assert tasks((0, 50), (1, 5), (0, 3), (1, 5), (0, 1)) == [0, 1, 0, 0, 0]


def test_a_lap_of_several_rooms_is_one_task() -> None:
    first, *_, second = tasks((0, 60), (1, 20), (2, 19), (0, 9), (1, 9), (2, 9))
    assert first == second == 0


def test_games_that_are_visited_for_long_stay_apart() -> None:
    assert tasks((0, 50), (1, 50), (0, 50), (1, 50)) == [0, 1, 0, 1]


def test_a_known_task_that_is_seen_for_a_moment_stays_apart() -> None:
    assert tasks((0, 50), (1, 50), (0, 8), (1, 50), (0, 50)) == [0, 1, 0, 1, 0]


def test_a_wrong_screen_that_a_switch_passes_through_joins_no_games() -> None:
    assert tasks((0, 50), (1, 50), (0, 1), (2, 50), (1, 50), (0, 50)) == [
        *(0, 1, 0, 2, 1, 0)
    ]


def test_a_new_game_that_is_taken_for_a_known_one_for_a_moment_stays_apart() -> None:
    assert tasks((0, 50), (1, 10), (0, 2), (1, 50), (0, 50)) == [0, 1, 0, 1, 0]


def test_the_rooms_of_a_visit_together_make_it_long() -> None:
    alternating = [(0, 17), (1, 17), (0, 17)]
    assert tasks(*alternating, (3, 60), (0, 3), (3, 3), (1, 3))[-4:] == [1, 0, 1, 0]


def test_without_a_shortest_visit_each_screen_is_a_task() -> None:
    assert tasks((0, 1), (1, 1), (0, 1), (1, 1), min_visit_steps=0) == [0, 1, 0, 1]


def test_tasks_are_numbered_without_gaps_for_rooms() -> None:
    visits = Visits(MIN_VISIT, SETTLING)
    for screen, steps in ((0, 5), (1, 50), (4, 50)):
        for _ in range(steps):
            visits.follow(screen)
    assert visits.given == 2
    assert visits.tasks(6).tolist() == [0, 0, -1, -1, 1, -1]


def test_a_screen_is_of_the_present_task_of_another_or_of_none_yet() -> None:
    visits = Visits(MIN_VISIT, SETTLING)
    assert not visits.is_present(0)
    assert not visits.is_elsewhere(0)
    for screen in [0] * 60 + [1] * 10 + [2]:  # 2 is new within the visit of 1
        visits.follow(screen)
    assert [visits.is_present(screen) for screen in range(4)] == [0, 1, 1, 0]
    assert [visits.is_elsewhere(screen) for screen in range(4)] == [1, 0, 0, 0]


def test_the_probability_of_a_task_is_that_of_its_screens() -> None:
    visits = Visits(MIN_VISIT, SETTLING)
    for screen, steps in ((0, 5), (1, 50), (3, 1)):
        for _ in range(steps):
            visits.follow(screen)
    pooled = visits.pooled(np.array([0.1, 0.2, 0.3, 0.15, 0.25]))
    np.testing.assert_allclose(pooled, [0.3, 0.15, 0.55])
    summed = visits.summed(np.array([[1, 2], [3, 4], [5, 6], [7, 8]]))
    assert summed.tolist() == [[4, 6], [7, 8]]


def test_the_best_task_is_the_best_screens_and_never_an_unknown_one() -> None:
    visits = Visits(MIN_VISIT, SETTLING)
    assert visits.best(np.array([-1.0])) == 0
    for screen, steps in ((0, 5), (1, 50), (3, 1)):
        for _ in range(steps):
            visits.follow(screen)
    assert visits.best(np.array([-9.0, -2.0, -1.0, -3.0])) == 0
    assert visits.best(np.array([-9.0, -4.0, -1.0, -3.0])) == 1


@given(
    stays=st.lists(
        st.tuples(st.integers(0, 4), st.integers(1, 30)), min_size=1, max_size=20
    ),
    min_visit_steps=st.integers(0, 60),
    settling_steps=st.integers(0, 5),
)
def test_looking_back_over_everything_gives_the_same_tasks(
    stays: list[tuple[int, int]], min_visit_steps: int, settling_steps: int
) -> None:
    screens = [screen for screen, steps in stays for _ in range(steps)]
    visits = Visits(min_visit_steps, settling_steps)
    by_hand = VisitsByHand(min_visit_steps, settling_steps)
    expected = [by_hand.follow(screen) for screen in screens]
    assert [visits.follow(screen) for screen in screens] == expected


@given(
    screens=st.lists(st.integers(0, 4), min_size=1, max_size=60),
    split=st.integers(0, 60),
)
def test_a_saved_state_goes_on_as_if_never_interrupted(
    screens: list[int], split: int
) -> None:
    whole, first, second = (Visits(MIN_VISIT, SETTLING) for _ in range(3))
    expected = [whole.follow(screen) for screen in screens]
    found = [first.follow(screen) for screen in screens[:split]]
    second.load_state_dict(first.state_dict())
    found += [second.follow(screen) for screen in screens[split:]]
    assert found == expected
