"""How many threads are taken, and that trying them changes nothing else."""

from collections.abc import Iterator

import pytest
import torch

from clrl.threads import (
    ThreadTrial,
    fastest_threads,
    thread_counts,
    try_threads,
    usable_cores,
)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Clock:
    """Time passes only in updates; threads 2 halve it, threads 4 hardly help more."""

    def __init__(self) -> None:
        self.now = 0.0
        self.threads_of_updates: list[int] = []

    def __call__(self) -> float:
        return self.now

    def update(self) -> None:
        threads = torch.get_num_threads()
        is_first = self.threads_of_updates[-1:] != [threads]
        self.threads_of_updates.append(threads)
        # The first update with another number of threads makes them.
        self.now += {1: 1.0, 2: 0.5, 4: 0.49}[threads] + 100 * is_first


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("clrl.threads.time.perf_counter", clock)
    return clock


def test_each_number_of_threads_is_timed_in_turn_but_not_on_its_first_update(
    clock: Clock,
) -> None:
    trial = try_threads(clock.update, [1, 2, 4], seconds=1_000.0)
    assert trial.seconds == pytest.approx({1: 1.0, 2: 0.5, 4: 0.49})
    turns = len(clock.threads_of_updates) // 6
    assert clock.threads_of_updates == [1, 1, 2, 2, 4, 4] * turns
    assert turns == 4  # of 301.99 seconds each; the fourth begins before the end
    assert torch.get_num_threads() == 1


def test_at_least_three_turns_are_taken_however_slow_they_are(clock: Clock) -> None:
    try_threads(clock.update, [1, 2], seconds=0.0)
    assert clock.threads_of_updates == [1, 1, 2, 2] * 3


def test_an_update_that_fails_leaves_the_number_of_threads_as_it_was() -> None:
    def fail() -> None:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        try_threads(fail, [2])
    assert torch.get_num_threads() == 1


@pytest.mark.parametrize(
    ("seconds", "threads"),
    [
        ({1: 1.0, 2: 0.5, 4: 0.49}, 2),
        ({1: 1.0, 2: 0.5, 4: 0.3}, 4),
        ({1: 1.0, 2: 1.5}, 1),
        ({1: 1.0}, 1),
    ],
)
def test_more_threads_are_taken_only_where_they_are_clearly_faster(
    seconds: dict[int, float], threads: int
) -> None:
    trial = ThreadTrial(seconds=seconds)
    assert trial.threads == threads
    assert str(trial).startswith(f"threads {threads}: an update takes 1000.0 ms with 1")


def test_what_was_measured_on_this_machine_is_told() -> None:
    told: list[str] = []
    factor = torch.rand(64, 64)
    threads = fastest_threads(lambda: factor @ factor, told.append)
    assert threads in thread_counts(usable_cores())
    (line,) = told
    assert line.startswith(f"threads {threads}: ")


@pytest.mark.parametrize(
    ("cores", "counts"), [(1, [1]), (2, [1, 2]), (6, [1, 2, 4, 6]), (8, [1, 2, 4, 8])]
)
def test_numbers_of_threads_double_up_to_the_cores(
    cores: int, counts: list[int]
) -> None:
    assert thread_counts(cores) == counts
