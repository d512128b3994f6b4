"""Every transition that a ring returns is one that the environment emitted."""

from collections.abc import Mapping
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from stable_baselines3.common.callbacks import BaseCallback

from clrl.errors import MemoryBudgetError
from clrl.recognition.recognisers import OracleRecogniser
from clrl.rl.atari import PROTOCOLS, AtariGame
from clrl.rl.dqn import ContinualDQN
from clrl.rl.game import MakeGame
from clrl.rl.game_sequence import GameSequence, fixed_visits
from clrl.rl.replay import ReplayBatch, ReplayMemories, ReplayMemory
from clrl.rl.replay_budget import ReplayBudget
from clrl.types import TaskId

from ..fakes import STACK, FakeGame, FakeGames, Rules

PLENTY = 2**30


class Transition(NamedTuple):
    """What the environment emitted; the observations as bytes, to be compared."""

    observation: bytes
    action: int
    reward: float
    next_observation: bytes
    terminated: bool


Emitted = dict[TaskId, list[list[Transition]]]
"""By label and environment, oldest first."""


def transitions_of(
    observations: np.ndarray,
    actions: np.ndarray,
    rewards: np.ndarray,
    next_observations: np.ndarray,
    terminated: np.ndarray,
) -> list[Transition]:
    return [
        Transition(o.tobytes(), int(a), float(r), n.tobytes(), bool(t))
        for o, a, r, n, t in zip(
            observations, actions, rewards, next_observations, terminated, strict=True
        )
    ]


def drawn_from(memory: ReplayMemory, factor: int = 60) -> set[Transition]:
    """All transitions the memory can return: so many draws miss none of them."""
    batch = memory.sample(factor * memory.size, np.random.default_rng(0))
    assert set(batch.task.tolist()) == {memory.task}
    arrays = [x.numpy() for x in batch[:-1]]
    return set(transitions_of(*arrays))


def check_newest(
    drawn: set[Transition], lanes: list[list[Transition]], rows: int
) -> None:
    """The oldest transitions of each environment went first.

    A transition takes one row, the frame after the newest another, and each start of a
    segment at most a stack: so at most ``rows - 1`` transitions are kept, and at least
    one for every ``STACK + 1`` rows.
    """
    assert drawn <= {t for lane in lanes for t in lane[1 - rows :]}
    assert drawn >= {t for lane in lanes for t in lane[-(rows // (STACK + 1)) :]}


def check_suffixes(drawn: set[Transition], lanes: list[list[Transition]]) -> None:
    """No newer transition is missing where an older one is kept (all distinct)."""
    for lane in lanes:
        kept = [i for i, transition in enumerate(lane) if transition in drawn]
        assert kept == list(range(len(lane) - len(kept), len(lane)))


def play(
    game: FakeGame, memories: ReplayMemories, labels: list[TaskId], num_envs: int
) -> Emitted:
    """Plays one step for each label; the memories get what the naive list gets."""
    emitted: Emitted = {label: [[] for _ in range(num_envs)] for label in labels}
    rng = np.random.default_rng(0)
    observations = game.reset(seed=1)
    for label, following in pairwise([*labels, labels[-1]]):
        actions = rng.integers(3, size=num_envs)
        game.send(actions)
        step = game.receive()
        followed = np.where(
            step.new_episode[:, None, None, None],
            step.final_observations,
            step.observations,
        )
        new = transitions_of(
            observations, actions, step.rewards, followed, step.terminated
        )
        for lane, transition in zip(emitted[label], new, strict=True):
            lane.append(transition)
        memories[label].add(
            observations,
            actions,
            step.rewards,
            followed,
            step.terminated,
            step.new_episode,
        )
        if following != label:
            memories[label].interrupt()
        observations = step.observations
    return emitted


chances = st.sampled_from([0.0, 0.05, 0.4])


@settings(max_examples=80)
@given(
    rules=st.builds(
        Rules,
        padding=st.sampled_from(["zeros", "first"]),
        ends=chances,
        truncations=chances,
        life_losses=chances,
    ),
    num_envs=st.integers(1, 3),
    rows=st.integers(STACK + 2, 25),
    visits=st.lists(
        st.tuples(st.integers(0, 2), st.integers(1, 40)), min_size=1, max_size=6
    ),
)
def test_every_transition_returned_was_emitted_and_the_oldest_go_first(
    rules: Rules, num_envs: int, rows: int, visits: list[tuple[TaskId, int]]
) -> None:
    game = FakeGames(rules)("fake", num_envs)
    memories = ReplayMemories(
        rows * num_envs,
        game.observation_space.shape,
        np.dtype(np.uint8),
        num_envs=num_envs,
        budget=ReplayBudget(PLENTY),
        n_stack=STACK,
    )
    labels = [label for label, steps in visits for _ in range(steps)]
    emitted = play(game, memories, labels, num_envs)
    assert set(memories.tasks) == set(emitted)
    for label, lanes in emitted.items():
        assert memories[label].added == sum(map(len, lanes))
        drawn = drawn_from(memories[label])
        check_newest(drawn, lanes, rows)
        check_suffixes(drawn, lanes)


class WriteDown(BaseCallback):
    """Keeps what the environment emitted, as Stable-Baselines3 documents it."""

    def __init__(self, num_envs: int) -> None:
        super().__init__()
        self.emitted: Emitted = {}
        self._num_envs = num_envs

    def _on_step(self) -> bool:
        infos, dones = self.locals["infos"], self.locals["dones"]
        followed = [
            info.get("terminal_observation", observation)
            for info, observation in zip(
                infos, self.locals["next_observations"], strict=True
            )
        ]
        terminated = [
            done and not info.get("TimeLimit.truncated", False)
            for info, done in zip(infos, dones, strict=True)
        ]
        new = transitions_of(
            self.locals["observations"],
            self.locals["actions"],
            self.locals["rewards"],
            np.stack(followed),
            np.array(terminated),
        )
        assert isinstance(self.model, ContinualDQN)
        lanes = self.emitted.setdefault(
            self.model.task, [[] for _ in range(self._num_envs)]
        )
        for lane, transition in zip(lanes, new, strict=True):
            lane.append(transition)
        return True


def check_agent_memory(make_game: MakeGame, games: list[str], visit_steps: int) -> None:
    num_envs, rows = 4, 40
    sequence = GameSequence(
        fixed_visits(games, 2, visit_steps), make_game, num_envs=num_envs
    )
    agent = ContinualDQN(
        "CnnPolicy",
        sequence,
        buffer_size=rows * num_envs,
        learning_starts=PLENTY,
        n_stack=STACK,
        recogniser=OracleRecogniser(),
        policy_kwargs={"network": "mlp"},
        replay_gib=0.1,
        seed=3,
        device="cpu",
    )
    written = WriteDown(num_envs)
    agent.learn(sequence.total_steps, written)
    sequence.close()
    assert sorted(written.emitted) == [0, 1]
    for label, lanes in written.emitted.items():
        assert sum(map(len, lanes)) == 2 * visit_steps
        check_newest(drawn_from(agent.memories[label]), lanes, rows)


@pytest.mark.parametrize("padding", ["zeros", "first"])
def test_an_agent_stores_what_a_sequence_of_games_emits(padding: str) -> None:
    rules = Rules(
        padding="first" if padding == "first" else "zeros",
        ends=0.05,
        truncations=0.05,
        life_losses=0.1,
    )
    check_agent_memory(FakeGames(rules), ["one", "two"], visit_steps=200)


def test_an_agent_stores_what_atari_games_emit() -> None:
    check_agent_memory(
        lambda name, n: AtariGame(name, n, PROTOCOLS["nature"], frame_size=42),
        ["breakout", "space_invaders"],
        visit_steps=400,
    )


def memory_of(
    capacity: int,
    shape: tuple[int, ...] = (STACK, 5, 5),
    *,
    n_stack: int = STACK,
    num_envs: int = 1,
    budget_bytes: int = PLENTY,
) -> ReplayMemory:
    return ReplayMemory(
        capacity,
        shape,
        np.dtype(np.uint8 if n_stack > 1 else np.float32),
        task=7,
        num_envs=num_envs,
        budget=ReplayBudget(budget_bytes),
        n_stack=n_stack,
    )


def fill(memory: ReplayMemory, steps: int, rules: Rules, num_envs: int) -> None:
    game = FakeGames(rules)("fake", num_envs)
    memories: Mapping[TaskId, ReplayMemory] = {7: memory}
    play(game, memories, [7] * steps, num_envs)  # type: ignore[arg-type]


def test_every_stored_transition_is_drawn_equally_often() -> None:
    memory = memory_of(60, num_envs=2)
    fill(memory, 80, Rules(ends=0.15), num_envs=2)
    stored = sorted(drawn_from(memory))
    index = {transition: i for i, transition in enumerate(stored)}
    counts = np.zeros(len(stored))
    # Many small batches: how spares are drawn matters at the size of one batch.
    for seed in range(300):
        batch = memory.sample(32, np.random.default_rng(seed))
        for transition in transitions_of(*(x.numpy() for x in batch[:-1])):
            counts[index[transition]] += 1
    assert len(stored) > 30
    assert chisquare(counts).pvalue > 0.01


def test_the_same_seed_draws_the_same_batch() -> None:
    memory = memory_of(60)
    fill(memory, 80, Rules(ends=0.1), num_envs=1)
    first, second = (memory.sample(9, np.random.default_rng(5)) for _ in range(2))
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a, b)


def test_a_transition_of_84x84_frames_takes_at_most_7100_bytes() -> None:
    memory = memory_of(60, (STACK, 84, 84))
    assert memory.bytes_per_transition <= 7_100


def test_breakout_takes_at_most_7100_bytes_a_transition_episode_ends_included() -> None:
    num_envs, steps = 4, 800
    game = AtariGame("breakout", num_envs, PROTOCOLS["nature"])
    budget = ReplayBudget(PLENTY)
    memory = ReplayMemory(
        num_envs * 2 * steps,
        game.observation_space.shape,
        np.dtype(np.uint8),
        task=0,
        num_envs=num_envs,
        budget=budget,
        n_stack=STACK,
    )
    rng = np.random.default_rng(0)
    observations = game.reset(seed=0)
    episodes = 0
    for _ in range(steps):
        actions = rng.integers(18, size=num_envs)
        game.send(actions)
        step = game.receive()
        followed = step.observations.copy()
        followed[step.new_episode] = step.final_observations[step.new_episode]
        memory.add(
            observations,
            actions,
            step.rewards,
            followed,
            step.terminated,
            step.new_episode,
        )
        episodes += int(step.new_episode.sum())
        observations = step.observations
    game.close()
    # Besides these each environment has one row for its newest frame, however many
    # transitions there are.
    rows = memory.size + episodes
    assert episodes > 8
    assert memory.size == num_envs * steps
    assert rows * memory.bytes_per_transition / memory.size <= 7_100


def test_observations_that_are_not_stacked_are_stored_whole() -> None:
    memory = memory_of(50, (3,), n_stack=1)
    rng = np.random.default_rng(0)
    path = rng.normal(size=(21, 1, 3)).astype(np.float32)
    for t in range(20):
        memory.add(
            path[t],
            np.array([t % 2]),
            np.array([t], np.float32),
            path[t + 1],
            np.array([t == 9]),
            np.array([t == 9]),
        )
    batch = memory.sample(500, rng)
    assert set(batch.rewards.tolist()) == set(map(float, range(20)))
    for o, a, r, n, t, _ in zip(*batch, strict=True):
        step = int(r)
        assert torch.equal(o, torch.from_numpy(path[step, 0]))
        assert torch.equal(n, torch.from_numpy(path[step + 1, 0]))
        assert (int(a), bool(t)) == (step % 2, step == 9)


def test_stacks_that_do_not_continue_each_other_are_refused() -> None:
    memory = memory_of(50)
    one = np.ones(1, np.float32)
    no = np.zeros(1, bool)
    stack = np.arange(STACK * 25, dtype=np.uint8).reshape(1, STACK, 5, 5)
    with pytest.raises(ValueError, match="n_stack=1"):
        memory.add(stack, np.zeros(1, np.int64), one, stack, no, no)


def test_a_shape_without_the_stack_is_refused() -> None:
    with pytest.raises(ValueError, match="n_stack=1"):
        memory_of(50, (3, 5, 5))


def test_a_capacity_too_small_for_one_transition_is_refused() -> None:
    with pytest.raises(ValueError, match="capacity of at least 12"):
        memory_of(10, num_envs=2)


def test_an_empty_memory_says_that_it_is_empty() -> None:
    with pytest.raises(ValueError, match="no complete transition"):
        memory_of(50, num_envs=2).sample(3, np.random.default_rng(0))


def bytes_of_rows(rows: int) -> int:
    return int(rows * memory_of(50).bytes_per_transition)


def test_a_ring_whose_budget_is_used_up_wraps_early() -> None:
    memory = memory_of(2_000, budget_bytes=bytes_of_rows(300))
    game = FakeGames(Rules())("fake", 1)
    memories: Mapping[TaskId, ReplayMemory] = {7: memory}
    emitted = play(game, memories, [7] * 900, 1)  # type: ignore[arg-type]
    # A block is 256 rows; one of them holds the frame after the newest transition, and
    # the stacks of the oldest three are gone.
    assert memory.size == 255
    assert drawn_from(memory) == set(emitted[7][0][-252:])


def test_memories_share_one_budget() -> None:
    budget = ReplayBudget(bytes_of_rows(600))
    memories = ReplayMemories(
        512,
        (STACK, 5, 5),
        np.dtype(np.uint8),
        num_envs=1,
        budget=budget,
        n_stack=STACK,
    )
    game = FakeGames(Rules())("fake", 1)
    play(game, memories, [0] * 700, 1)
    assert budget.used_bytes == bytes_of_rows(512)
    with pytest.raises(MemoryBudgetError, match="task 1"):
        memories[1]


def test_a_second_memory_gets_what_the_first_left() -> None:
    memories = ReplayMemories(
        512,
        (STACK, 5, 5),
        np.dtype(np.uint8),
        num_envs=1,
        budget=ReplayBudget(bytes_of_rows(800)),
        n_stack=STACK,
    )
    game = FakeGames(Rules())("fake", 1)
    play(game, memories, [0] * 700 + [1] * 700, 1)
    assert (memories[0].size, memories[1].size) == (511, 255)


def test_a_budget_too_small_for_a_first_block_is_refused_with_both_numbers() -> None:
    with pytest.raises(MemoryBudgetError, match=r"at least 2\.2 MiB, but 1\.0 MiB of"):
        memory_of(2_000, (STACK, 95, 95), budget_bytes=2**20)


def test_batches_have_the_dtypes_that_the_objective_expects() -> None:
    memory = memory_of(60)
    fill(memory, 20, Rules(), num_envs=1)
    batch = memory.sample(4, np.random.default_rng(0))
    assert isinstance(batch, ReplayBatch)
    assert batch.observations.shape == (4, STACK, 5, 5)
    assert [x.dtype for x in batch] == [
        torch.uint8,
        torch.int64,
        torch.float32,
        torch.uint8,
        torch.bool,
        torch.int64,
    ]
