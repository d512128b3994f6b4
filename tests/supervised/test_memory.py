import numpy as np
import pytest
import torch

from clrl.supervised.data import Examples
from clrl.supervised.memory import Reservoir


def numbered(start: int, count: int) -> Examples:
    """Examples whose images and labels are their numbers."""
    numbers = torch.arange(start, start + count)
    return Examples(numbers.to(torch.uint8)[:, None, None], numbers)


def kept(reservoir: Reservoir) -> list[int]:
    batches = list(reservoir.batches(3, task=7))
    assert all((batch.task == 7).all() for batch in batches)
    for batch in batches:
        assert torch.equal(batch.inputs[:, 0, 0].long(), batch.labels)
    return sorted(int(label) for batch in batches for label in batch.labels)


def test_everything_is_kept_while_there_is_room() -> None:
    reservoir = Reservoir(20, np.random.default_rng(0))
    for start in (0, 7, 14):
        reservoir.add(numbered(start, 6))
    assert kept(reservoir) == [*range(6), *range(7, 13), *range(14, 20)]


def test_batches_hold_every_kept_example_once_in_a_new_order() -> None:
    reservoir = Reservoir(10, np.random.default_rng(0))
    reservoir.add(numbered(0, 10))
    first, second = (
        [x for batch in reservoir.batches(4, 0) for x in batch.labels.tolist()]
        for _ in range(2)
    )
    assert sorted(first) == sorted(second) == list(range(10))
    assert first != second


def test_an_empty_reservoir_has_no_batches() -> None:
    assert list(Reservoir(3, np.random.default_rng(0)).batches(2, 0)) == []


@pytest.mark.parametrize("size", [1, 2, 4])
def test_every_example_is_as_likely_to_be_kept_however_the_batches_are_cut(
    size: int,
) -> None:
    runs, capacity, total = 400, 2, 4
    rng = np.random.default_rng(size)
    counts = np.zeros(total)
    for _ in range(runs):
        reservoir = Reservoir(capacity, rng)
        for start in range(0, total, size):
            reservoir.add(numbered(start, size))
        numbers = kept(reservoir)
        assert len(numbers) == len(set(numbers)) == capacity
        counts[numbers] += 1
    # Four standard errors of a share that is estimated from so many runs.
    np.testing.assert_allclose(counts / runs, 0.5, atol=4 * 0.5 / np.sqrt(runs))
