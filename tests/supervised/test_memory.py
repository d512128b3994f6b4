import torch

from clrl.supervised.data import Examples
from clrl.supervised.memory import TaskSample
from clrl.supervised.stream import ExampleBatch


def sample_of(capacity: int, *, total: int, batch: int) -> TaskSample:
    """A sample of examples whose images and labels are their numbers."""
    sample = TaskSample(capacity, torch.Generator().manual_seed(0))
    for start in range(0, total, batch):
        numbers = torch.arange(start, min(total, start + batch))
        images = numbers.to(torch.uint8)[:, None, None]
        sample.add(ExampleBatch.of(Examples(images, numbers), task=7))
    return sample


def kept(sample: TaskSample) -> list[int]:
    batches = list(sample.batches(3))
    for batch in batches:
        assert 1 <= len(batch.task) <= 3
        assert (batch.task == 7).all()
        assert torch.equal(batch.inputs[:, 0, 0].long(), batch.labels)
    return [int(label) for batch in batches for label in batch.labels]


def test_everything_is_kept_while_there_is_room() -> None:
    sample = sample_of(20, total=18, batch=6)
    assert sorted(kept(sample)) == [*range(18)]


def test_no_more_is_kept_than_there_is_room_for() -> None:
    numbers = kept(sample_of(5, total=40, batch=6))
    assert len(numbers) == len(set(numbers)) == 5
    assert set(numbers) <= {*range(40)}


def test_batches_hold_every_kept_example_once_in_a_new_order() -> None:
    sample = sample_of(10, total=10, batch=10)
    first, second = kept(sample), kept(sample)
    assert sorted(first) == sorted(second) == [*range(10)]
    assert first != second


def test_an_empty_sample_has_no_batches() -> None:
    assert kept(sample_of(3, total=0, batch=2)) == []
