"""However frames are kept, the same transitions come back for the same seed."""

import os
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lz4 import block
from scipy.stats import chisquare

from clrl.errors import ConfigError, MemoryBudgetError
from clrl.rl.atari import PROTOCOLS, AtariGame
from clrl.rl.frames import FRAME_STORES, FrameStore, frame_store
from clrl.rl.replay import ReplayMemory
from clrl.rl.replay_budget import ReplayBudget

from ..fakes import STACK, FakeGames, Rules

PLENTY = 2**30
FRAME = (6, 5)
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


def memory_of(
    frames: str,
    capacity: int = 60,
    *,
    num_envs: int = 2,
    budget: ReplayBudget | None = None,
    shape: tuple[int, ...] = (STACK, 5, 5),
    device: str = "cpu",
) -> ReplayMemory:
    return ReplayMemory(
        capacity,
        shape,
        np.dtype(np.uint8),
        task=3,
        num_envs=num_envs,
        budget=budget or ReplayBudget(PLENTY),
        n_stack=STACK,
        frames=frames,
        device=device,
    )


def fill(
    memories: list[ReplayMemory], steps: int, rules: Rules, interrupt_every: int = 1_000
) -> None:
    """Plays a game; every memory is given the same."""
    num_envs = 2
    game = FakeGames(rules)("fake", num_envs)
    rng = np.random.default_rng(0)
    observations = game.reset(seed=1)
    for i in range(steps):
        actions = rng.integers(3, size=num_envs)
        game.send(actions)
        step = game.receive()
        ended = step.new_episode[:, None, None, None]
        followed = np.where(ended, step.final_observations, step.observations)
        for memory in memories:
            memory.add(
                observations,
                actions,
                step.rewards,
                followed,
                step.terminated,
                step.new_episode,
            )
            if i % interrupt_every == interrupt_every - 1:
                memory.interrupt()
        observations = step.observations


@pytest.mark.parametrize("device", DEVICES)
@settings(max_examples=30)
@given(
    rules=st.builds(
        Rules,
        padding=st.sampled_from(["zeros", "first"]),
        ends=st.sampled_from([0.0, 0.1, 0.4]),
        truncations=st.sampled_from([0.0, 0.1]),
    ),
    steps=st.integers(1, 90),
    interrupt_every=st.integers(3, 50),
    seed=st.integers(0, 2**16),
)
def test_the_same_seed_draws_the_same_batch_from_every_kind_of_memory(
    device: str, rules: Rules, steps: int, interrupt_every: int, seed: int
) -> None:
    memories = [memory_of(name, device=device) for name in FRAME_STORES]
    fill(memories, steps, rules, interrupt_every)
    first, *others = (m.sample(40, np.random.default_rng(seed)) for m in memories)
    for other in others:
        for a, b in zip(first, other, strict=True):
            assert a.dtype == b.dtype
            assert a.stride() == b.stride()
            assert torch.equal(a, b)


def random_frames(rng: np.random.Generator, count: int) -> np.ndarray:
    """Half of each frame is noise, half of it zeros, so that they compress a little."""
    frames = rng.integers(256, size=(count, *FRAME), dtype=np.uint8)
    frames[:, 3:] = 0
    return frames


@pytest.fixture(params=list(FRAME_STORES))
def store(request: pytest.FixtureRequest) -> FrameStore:
    made = frame_store(request.param)(
        2, 7, FRAME, np.dtype(np.uint8), torch.device("cpu")
    )
    made.reserve(7)
    return made


def test_a_store_gives_back_what_was_written_last(store: FrameStore) -> None:
    rng = np.random.default_rng(0)
    expected = np.zeros((2, 7, *FRAME), np.uint8)
    for turn in range(30):
        lanes = np.arange(2)
        rows = np.array([turn % 7, (turn * 3) % 7])
        expected[lanes, rows] = random_frames(rng, 2)
        store.write(lanes, rows, expected[lanes, rows])
    lanes = rng.integers(2, size=9)
    rows = rng.integers(7, size=(9, 4))
    shown = rng.random((9, 4)) < 0.7
    read = store.read(lanes, rows, shown)
    for b in range(9):
        for r in range(4):
            frame = expected[lanes[b], rows[b, r]] if shown[b, r] else np.zeros(FRAME)
            assert np.array_equal(read[b, r].numpy(), frame)


@pytest.mark.parametrize("name", FRAME_STORES)
def test_what_is_not_shown_is_zero_whatever_lies_there(name: str) -> None:
    store = frame_store(name)(1, 7, FRAME, np.dtype(np.float32), torch.device("cpu"))
    store.reserve(7)
    lanes, rows = np.zeros(7, np.int64), np.arange(7)
    store.write(lanes, rows, np.full((7, *FRAME), np.nan, np.float32))
    store.write(lanes[:1], rows[:1], np.ones((1, *FRAME), np.float32))
    shown = np.array([[True, False]])
    frames = store.read(np.array([0]), np.array([[0, 1]]), shown)
    assert torch.equal(frames[0, 0], torch.ones(FRAME))
    assert torch.equal(frames[0, 1], torch.zeros(FRAME))


def test_batches_may_be_written_to(store: FrameStore) -> None:
    lanes, rows = np.zeros(1, np.int64), np.zeros(1, np.int64)
    frame = np.full((1, *FRAME), 9, np.uint8)
    store.write(lanes, rows, frame)
    store.read(lanes, rows[:, None], np.ones((1, 1), bool)).zero_()
    again = store.read(lanes, rows[:, None], np.ones((1, 1), bool))
    assert np.array_equal(again[0].numpy(), frame)


def objects_bytes(blocks: Iterator[bytes]) -> int:
    """As glibc allocates them: with a header of 8 bytes, in units of 16."""
    return sum((sys.getsizeof(b) + 8 + 15) // 16 * 16 for b in blocks)


def test_compressed_frames_pay_for_every_object_that_is_kept() -> None:
    store = frame_store("lz4")(1, 9, FRAME, np.dtype(np.uint8), torch.device("cpu"))
    frames = random_frames(np.random.default_rng(1), 20)
    for i, frame in enumerate(frames):
        store.write(np.zeros(1, np.int64), np.array([i % 9]), frame[None])
    kept = (block.compress(f.tobytes(), store_size=False) for f in frames[-9:])
    assert store.content_bytes == objects_bytes(kept)
    for row in range(9):
        store.forget(0, row)
    assert store.content_bytes == 0


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def test_the_process_takes_no_more_than_compressed_frames_pay_for() -> None:
    rows, size = 1_500, 84
    store = frame_store("lz4")(
        8, rows, (size, size), np.dtype(np.uint8), torch.device("cpu")
    )
    rng = np.random.default_rng(0)
    frames = np.zeros((100, 8, size, size), np.uint8)
    for vector in frames.reshape(-1, size, size):
        noisy = int(rng.integers(3, 25))
        vector[:noisy] = rng.integers(256, size=(noisy, size))
    before = resident_bytes()
    for i in range(3 * rows):  # the ring turns over twice, with other sizes each time
        store.write(
            np.arange(8), np.full(8, i % rows), frames[int(rng.integers(len(frames)))]
        )
    paid = store.content_bytes + 8 * rows * store.row_bytes
    assert paid > 10 * 2**20
    assert resident_bytes() - before <= 1.1 * paid


def test_a_compressed_memory_stays_within_its_budget_and_drops_the_oldest() -> None:
    # Frames are noise at first small, then larger, so that they take more and more.
    budget = ReplayBudget(90_000)
    memory = memory_of("lz4", 2_000, num_envs=1, budget=budget, shape=(STACK, 16, 16))
    rng = np.random.default_rng(0)
    frames = np.zeros((1_200, 16, 16), np.uint8)
    for i in range(len(frames)):
        frames[i, : 1 + i // 100] = rng.integers(256, size=(1 + i // 100, 16))
        frames[i, -1, :4] = np.frombuffer(np.uint32(i + 1).tobytes(), np.uint8)
    stacks = np.stack([frames[i : i + STACK] for i in range(len(frames) - STACK)])
    no = np.zeros(1, bool)
    sizes = []
    for i, (before, after) in enumerate(pairwise(stacks)):
        memory.add(
            before[None],
            np.zeros(1, np.int64),
            np.array([i], np.float32),
            after[None],
            no,
            no,
        )
        assert budget.used_bytes == memory.granted_bytes <= 90_000
        sizes.append(memory.size)
    assert max(sizes) > sizes[-1] > 100  # it had to shrink
    batch = memory.sample(20 * memory.size, np.random.default_rng(0))
    drawn = sorted({int(r) for r in batch.rewards})
    last = len(stacks) - 2
    # None is missing between the oldest that is drawn and the newest.
    assert drawn == list(range(last - len(drawn) + 1, last + 1))
    assert len(drawn) == memory.size - (STACK - 1)
    # Most draws of a small batch hit what was dropped: the others are still uniform.
    small = [memory.sample(8, np.random.default_rng(seed)) for seed in range(1_000)]
    counts = Counter(int(r) for batch in small for r in batch.rewards)
    assert memory.size < 0.7 * max(sizes)
    assert chisquare([counts[r] for r in drawn]).pvalue > 0.01
    for reward, observation in zip(batch.rewards, batch.observations, strict=True):
        assert np.array_equal(observation.numpy(), stacks[int(reward)])


def test_a_budget_that_is_used_up_is_said_with_both_numbers() -> None:
    budget = ReplayBudget(60 * 16 + 100)
    with pytest.raises(MemoryBudgetError, match=r"0\.0 MiB of 0\.0 MiB are left"):
        fill([memory_of("lz4", budget=budget)], 20, Rules())


def test_a_device_gives_what_its_budget_allows_at_once() -> None:
    raw = memory_of("raw")
    budget = ReplayBudget(int(raw.bytes_per_transition) * 2 * 280)
    memory = memory_of("device", capacity=600, budget=budget)
    assert budget.left_bytes == 0
    fill([memory], 400, Rules())
    assert memory.size == 2 * 279


@pytest.mark.parametrize("frames", FRAME_STORES)
def test_a_task_that_could_remember_next_to_nothing_is_refused(frames: str) -> None:
    raw = memory_of("raw")
    budget = ReplayBudget(int(raw.bytes_per_transition) * 2 * 20)
    with pytest.raises(MemoryBudgetError, match="raise the budget"):
        fill([memory_of(frames, capacity=600, budget=budget)], 400, Rules())


def test_a_device_that_is_full_is_refused_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("no")

    store = frame_store("device")(1, 9, FRAME, np.dtype(np.uint8), torch.device("cpu"))
    with monkeypatch.context() as patched:
        patched.setattr(torch, "empty", full)
        with pytest.raises(MemoryBudgetError, match="lower buffer_size"):
            store.reserve(9)


def test_an_unknown_store_is_refused() -> None:
    with pytest.raises(ConfigError, match="did you mean lz4"):
        frame_store("lz5")


def test_a_missing_package_is_said_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "lz4", None)
    with pytest.raises(ConfigError, match=r"pip install 'clrl\[lz4\]'"):
        memory_of("lz4")


@pytest.mark.parametrize("game_name", ["pong", "breakout"])
def test_a_compressed_transition_of_simple_games_takes_at_most_2000_bytes(
    game_name: str,
) -> None:
    game = AtariGame(game_name, 2, PROTOCOLS["nature"])
    memory = memory_of("lz4", 2_000, shape=game.observation_space.shape)
    rng = np.random.default_rng(0)
    observations = game.reset(seed=0)
    for _ in range(300):
        actions = rng.integers(18, size=2)
        game.send(actions)
        step = game.receive()
        ended = step.new_episode[:, None, None, None]
        memory.add(
            observations,
            actions,
            step.rewards,
            np.where(ended, step.final_observations, step.observations),
            step.terminated,
            step.new_episode,
        )
        observations = step.observations
    game.close()
    assert 100 < memory.bytes_per_transition < 2_000
