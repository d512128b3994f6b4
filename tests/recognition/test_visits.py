"""Screens that give way to each other soon are one task."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from clrl.recognition.visits import Visits

MIN_VISIT = 10


def tasks(*stays: tuple[int, int], min_visit_steps: int = MIN_VISIT) -> list[int]:
    """The task at the end of each stay, given as (screen, steps)."""
    visits = Visits(min_visit_steps)
    return [[visits.follow(screen) for _ in range(n)][-1] for screen, n in stays]


def tasks_by_hand(screens: list[int], min_visit_steps: int) -> list[int]:
    """The same, by looking back over all that was seen at every step."""
    groups = [{screen} for screen in range(max(screens) + 1)]
    longest: dict[int, int] = {}  # by the least screen of a group
    found: list[int] = []

    def group_of(screen: int) -> set[int]:
        return next(group for group in groups if screen in group)

    began = dict.fromkeys(range(len(groups)), 0)
    for step, screen in enumerate(screens):
        mine = group_of(screen)
        steps_of_mine = [s for s in range(step) if screens[s] in mine]
        is_back = bool(steps_of_mine) and step - steps_of_mine[-1] < min_visit_steps
        start = began[min(mine)] if is_back else step
        if is_back:
            between = {min(group_of(s)) for s in screens[steps_of_mine[-1] + 1 : step]}
            for other in between:
                if longest.get(other, 0) < min_visit_steps:
                    absorbed = group_of(other)
                    groups.remove(absorbed)
                    longest[min(mine | absorbed)] = max(
                        longest.get(min(mine), 0), longest.get(other, 0)
                    )
                    mine |= absorbed
        name = min(mine)
        began[name] = start
        longest[name] = max(longest.get(name, 0), step + 1 - start)
        found.append(name)
    return found


def test_rooms_that_alternate_are_one_task() -> None:
    assert tasks((0, 5), (1, 5), (0, 5), (1, 5)) == [0, 1, 0, 0]


def test_a_lap_of_several_rooms_is_one_task() -> None:
    assert tasks((0, 2), (1, 3), (2, 3), (0, 1), (1, 1), (2, 1))[3:] == [0, 0, 0]


def test_games_that_are_visited_for_long_stay_apart() -> None:
    assert tasks((0, 10), (1, 10), (0, 10), (1, 10)) == [0, 1, 0, 1]


def test_a_known_task_that_is_seen_for_a_moment_stays_apart() -> None:
    assert tasks((0, 10), (1, 10), (0, 2), (1, 10), (0, 10)) == [0, 1, 0, 1, 0]


def test_the_rooms_of_a_visit_together_make_it_long() -> None:
    alternating = [(0, 4), (1, 4), (0, 4), (2, 3), (0, 3)]
    assert tasks(*alternating, (3, 20), (0, 3), (3, 3))[-3:] == [3, 0, 3]


def test_without_a_shortest_visit_each_screen_is_a_task() -> None:
    assert tasks((0, 1), (1, 1), (0, 1), (1, 1), min_visit_steps=0) == [0, 1, 0, 1]


def test_the_probability_of_a_task_is_that_of_its_screens() -> None:
    visits = Visits(MIN_VISIT)
    for screen in (0, 1, 0):
        visits.follow(screen)
    pooled = visits.pooled(np.array([0.1, 0.2, 0.3, 0.4]))
    np.testing.assert_allclose(pooled, [0.3, 0.0, 0.3, 0.4])


@given(
    stays=st.lists(
        st.tuples(st.integers(0, 4), st.integers(1, 9)), min_size=1, max_size=15
    ),
    min_visit_steps=st.integers(0, 12),
)
def test_looking_back_over_everything_gives_the_same_tasks(
    stays: list[tuple[int, int]], min_visit_steps: int
) -> None:
    screens = [screen for screen, steps in stays for _ in range(steps)]
    visits = Visits(min_visit_steps)
    expected = tasks_by_hand(screens, min_visit_steps)
    assert [visits.follow(screen) for screen in screens] == expected


@given(
    screens=st.lists(st.integers(0, 4), min_size=1, max_size=60),
    split=st.integers(0, 60),
)
def test_a_saved_state_goes_on_as_if_never_interrupted(
    screens: list[int], split: int
) -> None:
    whole, first, second = (Visits(MIN_VISIT) for _ in range(3))
    expected = [whole.follow(screen) for screen in screens]
    found = [first.follow(screen) for screen in screens[:split]]
    second.load_state_dict(first.state_dict())
    found += [second.follow(screen) for screen in screens[split:]]
    assert found == expected


def test_no_number_is_given_to_a_task_before_its_screen_is_found() -> None:
    visits = Visits(MIN_VISIT)
    visits.follow(2)
    assert visits.tasks(4).tolist() == [0, 1, 2, 3]
