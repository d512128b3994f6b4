import io
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from clrl.continual.memories import ExampleMemories, OneMemory, TaskMemories
from clrl.continual.memory import (
    ExampleMemory,
    Retention,
    concatenated,
    latest,
    reservoir,
)
from clrl.errors import ConfigError, MemoryBudgetError
from clrl.types import TaskId

from .toy import ToyBatch, seeded


def numbered(start: int, count: int, task: TaskId = 0) -> ToyBatch:
    """Examples whose label and input are their number."""
    labels = torch.arange(start, start + count)
    return ToyBatch(labels[:, None].float(), labels, torch.full((count,), task))


def memories(
    kind: Callable[..., ExampleMemories[ToyBatch]] = TaskMemories,
    capacity: int = 5,
    retention: Retention = latest,
    budget_bytes: int = 10**6,
    seed: int = 0,
) -> ExampleMemories[ToyBatch]:
    return kind(
        ToyBatch,
        capacity=capacity,
        retention=retention,
        budget_bytes=budget_bytes,
        generator=seeded(seed),
    )


def is_intact(batch: ToyBatch) -> bool:
    return torch.equal(batch.inputs[:, 0].long(), batch.labels)


sizes = st.lists(st.integers(1, 12), min_size=1, max_size=8)


@settings(max_examples=30)
@given(sizes, st.integers(1, 9))
def test_a_ring_holds_the_last_examples_whole(counts: list[int], capacity: int) -> None:
    memory = ExampleMemory(ToyBatch, capacity, latest)
    seen = 0
    for count in counts:
        memory.add(numbered(seen, count), seeded(0))
        seen += count
        held = memory.everything()
        first = max(0, seen - capacity)
        assert sorted(held.labels.tolist()) == list(range(first, seen))
        assert is_intact(held)


@settings(max_examples=30)
@given(sizes, st.integers(1, 9), st.integers(0, 99))
def test_a_reservoir_is_algorithm_r_one_by_one(
    counts: list[int], capacity: int, seed: int
) -> None:
    memory, generator = ExampleMemory(ToyBatch, capacity, reservoir), seeded(seed)
    twin, twin_generator, seen = [], seeded(seed), 0
    for count in counts:
        memory.add(numbered(seen, count), generator)
        draws = torch.rand(count, generator=twin_generator, dtype=torch.float64)
        for draw in draws.tolist():
            row = int(draw * (seen + 1))
            if seen < capacity:
                twin.append(seen)
            elif row < capacity:
                twin[row] = seen
            seen += 1
        held = memory.everything()
        assert held.labels.tolist() == twin
        assert is_intact(held)


def test_a_reservoir_keeps_each_example_with_the_same_probability() -> None:
    capacity, total, repeats = 4, 20, 500
    counts = torch.zeros(total)
    for seed in range(repeats):
        memory, generator = ExampleMemory(ToyBatch, capacity, reservoir), seeded(seed)
        for start in range(0, total, 5):
            memory.add(numbered(start, 5), generator)
        counts[memory.everything().labels] += 1
    share = capacity / total
    five_sigma = 5 * (repeats * share * (1 - share)) ** 0.5
    assert (counts - repeats * share).abs().max() < five_sigma


def test_what_is_stored_is_a_copy() -> None:
    memory, batch = ExampleMemory(ToyBatch, 5, latest), numbered(0, 3)
    memory.add(batch, seeded(0))
    batch.inputs.fill_(-1)
    assert is_intact(memory.everything())
    memory.rows(torch.tensor([0])).inputs.fill_(-1)
    assert is_intact(memory.everything())


def test_each_task_has_a_memory_of_its_own_or_all_share_one() -> None:
    per_task, shared = memories(), memories(OneMemory)
    for task in (3, 1):
        for kept in (per_task, shared):
            kept.add(numbered(10 * task, 4, task), task)
    assert per_task.tasks == [1, 3]
    assert per_task.of(3).labels.tolist() == [30, 31, 32, 33]
    assert shared.tasks == [0]
    assert sorted(shared.of(3).labels.tolist()) == [10, 11, 12, 13, 33]


def test_a_sample_is_uniform_over_the_examples_of_the_tasks_asked_for() -> None:
    kept, repeats = memories(capacity=8), 500
    kept.add(numbered(0, 2, task=0), 0)
    kept.add(numbered(2, 6, task=1), 1)
    kept.add(numbered(8, 8, task=2), 2)
    counts = torch.zeros(16)
    for _ in range(repeats):
        drawn = kept.sample(3, [0, 1])
        assert is_intact(drawn)
        assert len(set(drawn.labels.tolist())) == 3
        assert torch.equal(drawn.task, (drawn.labels >= 2).long())
        counts[drawn.labels] += 1
    share = 3 / 8
    five_sigma = 5 * (repeats * share * (1 - share)) ** 0.5
    assert (counts[:8] - repeats * share).abs().max() < five_sigma
    assert not counts[8:].any()


def test_a_sample_larger_than_the_memory_is_all_of_it() -> None:
    kept = memories()
    kept.add(numbered(0, 3), 0)
    assert sorted(kept.sample(100, [0]).labels.tolist()) == [0, 1, 2]


@pytest.mark.parametrize("kind", [TaskMemories, OneMemory])
@pytest.mark.parametrize("retention", [latest, reservoir])
def test_memories_that_were_saved_continue_to_the_same_bits(
    kind: Callable[..., ExampleMemories[ToyBatch]], retention: Retention
) -> None:
    original = memories(kind, retention=retention, seed=1)
    for task in range(3):
        original.add(numbered(20 * task, 4 + 3 * task, task), task)
    file = io.BytesIO()
    torch.save(original.state_dict(), file)
    file.seek(0)
    resumed = memories(kind, retention=retention, seed=2)
    resumed.add(numbered(77, 2), 5)  # what it held is forgotten
    resumed.load_state_dict(torch.load(file, weights_only=True))
    results: list[list[Tensor]] = []
    for kept in (original, resumed):
        kept.add(numbered(100, 6, 1), 1)
        results.append([*kept.sample(4, kept.tasks), *kept.of(1)])
    assert original.tasks == resumed.tasks
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_the_state_of_something_else_is_refused() -> None:
    kept = memories()
    kept.add(numbered(0, 9), 0)
    state = kept.state_dict()
    with pytest.raises(ValueError, match="must hold their generator's"):
        memories().load_state_dict({"w": torch.ones(1)})
    with pytest.raises(ValueError, match=r"must hold seen and \['inputs'"):
        memories().load_state_dict({**state, "0.rewards": torch.ones(5)})
    with pytest.raises(ValueError, match="capacity they were saved with"):
        memories(capacity=7).load_state_dict(state)


def test_a_memory_beyond_the_budget_is_refused_before_it_is_filled() -> None:
    # An example takes 4 + 8 + 8 bytes, a memory of 5 hence 100.
    kept = memories(budget_bytes=250)
    kept.add(numbered(0, 1), 0)
    kept.add(numbered(0, 1), 1)
    with pytest.raises(MemoryBudgetError, match=r"task 2 needs .* raise memory_gib"):
        kept.add(numbered(0, 1), 2)
    kept.add(numbered(0, 1), 1)
    one = memories(OneMemory, budget_bytes=250)
    for task in range(9):
        one.add(numbered(0, 1), task)


def test_an_empty_memory_gives_nothing() -> None:
    with pytest.raises(ConfigError, match="at least 1 example, got 0"):
        memories(capacity=0)
    with pytest.raises(ValueError, match="without examples cannot give any"):
        ExampleMemory(ToyBatch, 3, latest).everything()
    with pytest.raises(ValueError, match="without examples cannot be sampled"):
        memories().sample(3, [])


def test_batches_are_joined_in_order() -> None:
    joined = concatenated([numbered(3, 2), numbered(0, 1)])
    assert joined.labels.tolist() == [3, 4, 0]
    assert is_intact(joined)
