import pytest

from clrl.rl.exploration import EpsilonSchedule, TaskTimers

SCHEDULE = EpsilonSchedule(
    initial_eps=0.8, final_eps=0.2, learning_starts=100, decay_steps=60
)


@pytest.mark.parametrize(
    ("steps", "eps"),
    [
        (0, 1.0),
        (99, 1.0),
        (100, 0.8),
        (110, 0.7),
        (130, 0.5),
        (160, 0.2),
        (161, 0.2),
        (10**9, 0.2),
    ],
)
def test_epsilon_is_one_then_falls_linearly_then_stays(steps: int, eps: float) -> None:
    assert SCHEDULE(steps) == pytest.approx(eps)


def test_a_decay_of_no_steps_is_a_step() -> None:
    schedule = EpsilonSchedule(
        initial_eps=1.0, final_eps=0.1, learning_starts=0, decay_steps=0
    )
    assert schedule(0) == 1.0
    assert schedule(1) == pytest.approx(0.1)


def test_timers_count_each_task_by_itself() -> None:
    timers = TaskTimers()
    timers.advance(0, 8)
    timers.advance(3, 4)
    timers.advance(0, 8)
    assert [timers[task] for task in range(5)] == [16, 0, 0, 4, 0]


def test_timers_round_trip_through_their_state() -> None:
    timers, restored = TaskTimers(), TaskTimers()
    timers.advance(2, 5)
    restored.load_state_dict(timers.state_dict())
    timers.advance(2, 1)
    assert (restored[2], timers[2], restored[0]) == (5, 6, 0)
