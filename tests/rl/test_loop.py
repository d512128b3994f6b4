"""An agent's loop, however it is speeded up, equals one that is written plainly."""

import warnings
from collections.abc import Callable
from contextlib import closing
from typing import Any, Literal, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from clrl.config.games import (
    AgentConfig,
    NetworkConfig,
    RunConfig,
    SequenceConfig,
)
from clrl.continual.methods import EWC, GEM, SI, Finetune, MethodConfig
from clrl.continual.penalty import QuadraticPenalty
from clrl.rl import captured
from clrl.rl.captured import CapturedCall, CapturedLearner
from clrl.rl.dqn import ContinualDQN
from clrl.rl.game_sequence import GameSequence, Visit
from clrl.rl.replay import ReplayBatch
from clrl.run.agent import make_agent
from clrl.run.sequence import make_sequence

from ..fakes import FakeGames, Rules, ScriptedLabels, parameters_of

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
LABELS = (0,) * 40 + (1,) * 35 + (0,) * 30 + (2,) * 99
VECTOR_STEPS = 130
NUM_ENVS = 2
LEARNING_STARTS = 20
TRAIN_FREQ = 3
TARGET_INTERVAL = 50
BATCH_SIZE = 8


def agent_of(method: MethodConfig, device: str, **changes: Any) -> ContinualDQN:
    sequence = GameSequence(
        [Visit("fake", 100_000)],
        FakeGames(Rules(ends=0.05, life_losses=0.1, reward=0.5)),
        num_envs=NUM_ENVS,
    )
    return ContinualDQN(
        "CnnPolicy",
        sequence,
        learning_rate=1e-3,
        buffer_size=100,
        learning_starts=LEARNING_STARTS,
        batch_size=BATCH_SIZE,
        train_freq=TRAIN_FREQ,
        target_update_interval=TARGET_INTERVAL,
        exploration_steps=60,
        replay_gib=0.1,
        n_stack=4,
        policy_kwargs={
            "network": "mlp",
            "task_gains": True,
            "max_tasks": 3,
        },
        method=method,
        recogniser=ScriptedLabels(labels=LABELS),
        seed=4,
        device=device,
        **changes,
    )


class PlainLoop:
    """Act, play, store, label, learn: one after the other, nothing recorded."""

    def __init__(self, agent: ContinualDQN, *, learns_after_acting: bool) -> None:
        self.agent = agent
        self.learns_after_acting = learns_after_acting
        self.owed = 0
        self.losses: list[float] = []

    def run(self, vector_steps: int) -> None:
        agent, env = self.agent, self.agent.env
        assert env is not None
        agent._setup_learn(vector_steps * NUM_ENVS)
        observations = agent._last_obs
        assert isinstance(observations, np.ndarray)
        for step in range(1, vector_steps + 1):
            actions = self.choose(observations)
            if self.learns_after_acting:
                self.learn()
            after, rewards, dones, infos = env.step(actions)
            assert isinstance(after, np.ndarray)
            followed, over = after.copy(), np.zeros(NUM_ENVS, bool)
            terminated = dones.copy()
            for i, info in enumerate(infos):
                terminated[i] &= not info.get("TimeLimit.truncated", False)
                if "terminal_observation" in info:
                    followed[i], over[i] = info["terminal_observation"], True
            agent.memories[agent.task].add(
                observations, actions, rewards, followed, terminated, over
            )
            agent.timers.advance(agent.task, NUM_ENVS)
            self.owed = self.owed % TRAIN_FREQ + NUM_ENVS
            self.label(after)
            if step * NUM_ENVS % TARGET_INTERVAL < NUM_ENVS:
                agent.q_net_target.load_state_dict(agent.q_net.state_dict())
            # Stable-Baselines3 asks for no update before then.
            if not self.learns_after_acting and step * NUM_ENVS > LEARNING_STARTS:
                self.learn()
            observations = after

    def choose(self, observations: np.ndarray) -> np.ndarray:
        agent = self.agent
        eps = agent.exploration_rate_of(agent.task)
        greedy = np.zeros(NUM_ENVS, np.int64)
        if eps < 1:
            with torch.no_grad():
                inputs = torch.from_numpy(observations).to(agent.device)
                tasks = torch.full((NUM_ENVS,), agent.task, device=agent.device)
                greedy = agent.q_net(inputs, tasks).argmax(1).cpu().numpy()
        explores = agent._rng.random(NUM_ENVS) < eps
        return np.where(explores, agent._rng.integers(3, size=NUM_ENVS), greedy)

    def label(self, observations: np.ndarray) -> None:
        agent = self.agent
        task = agent.recogniser.observe(observations[:, -1])
        if task == agent.task:
            return
        memory = agent.memories[agent.task]
        memory.interrupt()
        if memory.added > LEARNING_STARTS:
            batches = iter(lambda: memory.sample(BATCH_SIZE, agent._rng), None)
            agent.learner.leave(agent.task, batches)
        agent.set_task(task)
        self.owed = 0

    def learn(self) -> None:
        agent = self.agent
        memory = agent.memories[agent.task]
        if memory.added <= LEARNING_STARTS:
            self.owed = 0
        while self.owed >= TRAIN_FREQ:
            self.owed -= TRAIN_FREQ
            batch = memory.sample(BATCH_SIZE, agent._rng)
            self.losses.append(agent.learner.step(batch, agent.task)["loss"].item())


METHODS: dict[str, Callable[[], MethodConfig]] = {
    "finetune": Finetune,
    "ewc": lambda: EWC(strength=50.0, importance_batches=2),
    "si": lambda: SI(strength=1.0),
}


def assert_equal(ours: list[Tensor], theirs: list[Tensor]) -> None:
    """To the bit; on a GPU up to rounding, as libraries may choose other kernels."""
    for a, b in zip(ours, theirs, strict=True):
        if a.is_cuda:
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
        else:
            assert torch.equal(a, b)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
@pytest.mark.parametrize("overlap", [False, True], ids=["exact", "overlapped"])
@pytest.mark.parametrize(
    "fast",
    [
        {"frames": "raw", "capture": False},
        {"frames": "lz4", "capture": False},
        {"frames": "device", "capture": True},
    ],
    ids=lambda fast: f"{fast['frames']}-{fast['capture']}",
)
def test_every_way_of_running_the_loop_gives_the_same_bits_as_the_plain_one(
    fast: dict[str, Any],
    overlap: bool,
    method: Callable[[], MethodConfig],
    device: str,
) -> None:
    plain = PlainLoop(
        agent_of(method(), device, frames="raw", capture=False),
        learns_after_acting=overlap,
    )
    plain.run(VECTOR_STEPS)
    ours = agent_of(method(), device, overlap=overlap, **fast)
    start = parameters_of(ours.q_net)
    ours.learn(VECTOR_STEPS * NUM_ENVS)
    ours.read_updates()

    theirs = plain.agent
    assert ours.captured.is_capturing == fast["capture"]
    assert len(plain.losses) == ours._n_updates > 50
    mean_loss = pytest.approx(np.mean(plain.losses), rel=1e-4)
    assert ours.update_means.drain()["loss"] == mean_loss
    assert not torch.equal(start[0], parameters_of(ours.q_net)[0])
    assert_equal(parameters_of(ours.q_net), parameters_of(theirs.q_net))
    assert_equal(parameters_of(ours.q_net_target), parameters_of(theirs.q_net_target))
    assert ours.task == theirs.task == 2
    assert ours.timers.state_dict() == theirs.timers.state_dict()
    assert ours._rng.bit_generator.state == theirs._rng.bit_generator.state
    for task in range(3):
        batches = (
            agent.memories[task].sample(64, np.random.default_rng(task))
            for agent in (ours, theirs)
        )
        for a, b in zip(*batches, strict=True):
            assert torch.equal(a, b)


# What is recorded, and what is not


def batches_of(agent: ContinualDQN, count: int) -> list[ReplayBatch]:
    rng = np.random.default_rng(0)
    return [agent.memories[0].sample(BATCH_SIZE, rng) for _ in range(count)]


@pytest.mark.parametrize("device", DEVICES)
def test_a_captured_call_equals_the_function_also_where_it_changes_what_it_reads(
    device: str,
) -> None:
    on = torch.device(device)
    total = torch.zeros(3, device=on)

    def add(x: Tensor, y: Tensor) -> dict[str, Tensor]:
        total.add_(x)
        return {"sum": total + y}

    call = CapturedCall(add, on)
    expected = torch.zeros(3)
    for i in range(9):
        x, y = torch.full((3,), float(i)), torch.arange(3.0) * i
        expected += x
        assert torch.equal(call(x.to(on), y.to(on))["sum"].cpu(), expected + y)


class Recorder(NamedTuple):
    """Counts what is recorded, and what is replayed of it."""

    recorded: list[int]
    replayed: list[int]

    def __call__(self, work: Callable[[], Any]) -> Callable[[], Any]:
        self.recorded.append(1)

        def replay() -> Any:
            self.replayed.append(1)
            return work()

        return replay


def test_a_step_is_recorded_once_for_each_task_and_size_and_anew_after_forgetting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    agent = agent_of(Finetune(), "cpu", capture=False)
    agent.learn(2 * 35)
    recorder = Recorder([], [])
    monkeypatch.setattr(captured, "directly", recorder)
    learner = CapturedLearner(agent.learner, agent.device, capture=True)
    batches = batches_of(agent, 20)
    for batch in batches[:10]:
        learner.step(batch, 0)
    assert (len(recorder.recorded), len(recorder.replayed)) == (1, 7)
    for batch in batches[10:]:
        learner.step(ReplayBatch(*(column[:4] for column in batch)), 0)
    assert (len(recorder.recorded), len(recorder.replayed)) == (2, 14)
    learner.forget()
    for batch in batches[:4]:
        learner.step(batch, 0)
    assert (len(recorder.recorded), len(recorder.replayed)) == (3, 15)


def test_a_learning_rate_that_changes_is_not_recorded_which_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recorder = Recorder([], [])
    monkeypatch.setattr(captured, "directly", recorder)
    agent = agent_of(Finetune(), "cpu", capture=False)
    agent.learn(2 * 35)
    learner = CapturedLearner(agent.learner, agent.device, capture=True)
    batches = batches_of(agent, 15)
    for batch in batches[:5]:
        learner.step(batch, 0)
    assert len(recorder.recorded) == 1
    learner.forget()
    group = agent.policy.optimizer.param_groups[0]
    group["lr"] = 1e-4  # as where learning goes on with another rate
    for batch in batches[5:10]:
        learner.step(batch, 0)
    assert len(recorder.recorded) == 2
    replayed = len(recorder.replayed)
    group["lr"] = 1e-5
    before = parameters_of(agent.q_net)
    with pytest.warns(UserWarning, match="the learning rate changes"):
        learner.step(batches[10], 0)
    assert not torch.equal(before[0], parameters_of(agent.q_net)[0])
    learner.step(batches[11], 0)
    assert len(recorder.replayed) == replayed


def test_what_was_recorded_for_one_label_is_not_replayed_under_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    agent = agent_of(METHODS["ewc"](), "cpu", capture=True)
    penalty = agent.learner.method.penalty
    assert isinstance(penalty, QuadraticPenalty)
    replayed_under = []

    def record(work: Callable[[], Any]) -> Callable[[], Any]:
        # A graph holds the addresses of the anchors' sum that it was recorded with.
        task, summed = agent.task, penalty._summed

        def replay() -> Any:
            assert agent.task == task
            if summed is not None and summed[0] == task:
                assert penalty._summed is summed
            replayed_under.append(task)
            return work()

        return replay

    monkeypatch.setattr(captured, "directly", record)
    agent.learn(VECTOR_STEPS * NUM_ENVS)
    assert agent.captured.is_capturing
    assert set(replayed_under) == {0, 1, 2}


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("optimizer", ["adam", "rmsprop"])
def test_what_games_are_trained_with_is_recorded_and_learns_the_same(
    optimizer: Literal["adam", "rmsprop"],
    precision: Literal["float32", "bfloat16"],
    device: str,
) -> None:
    agents = []
    for capture in (False, True):
        config = RunConfig(
            games=("pong",),
            sequence=SequenceConfig(num_envs=2, visit_steps=200, frame_size=42),
            agent=AgentConfig(
                optimizer=optimizer,
                precision=precision,
                capture=capture,
                learning_starts=40,
                buffer_size=400,
                batch_size=8,
            ),
            network=NetworkConfig(name="small"),
            method=EWC(),
            device=device,
        )
        with closing(make_sequence(config)) as sequence:
            agent = make_agent(config, sequence)
            agent.learn(160)
            assert agent.captured.is_capturing == capture
            assert agent._n_updates > 20
            agents.append(agent)
    assert_equal(*(parameters_of(agent.q_net) for agent in agents))


def test_a_method_that_decides_in_python_is_not_recorded_which_is_said() -> None:
    with pytest.warns(UserWarning, match="ExperienceReplay does part of its work"):
        agent = agent_of(GEM(), "cpu", capture=True)
    assert not agent.captured.is_capturing
    agent.learn(2 * 60)
    assert agent._n_updates > 0


def test_without_capture_nothing_is_said_of_it() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        agent_of(GEM(), "cpu", capture=False)


def test_what_cannot_be_recorded_is_done_without_which_is_said_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(work: object) -> Callable[[], Any]:
        raise RuntimeError("operation not permitted when stream is capturing")

    plain, ours = (agent_of(Finetune(), "cpu", capture=c) for c in (False, True))
    plain.learn(2 * 60)
    monkeypatch.setattr(captured, "directly", fail)
    with pytest.warns(UserWarning, match="not permitted") as said:
        ours.learn(2 * 60)
    assert len(said) == 1
    assert not ours.captured.is_capturing
    assert_equal(parameters_of(plain.q_net), parameters_of(ours.q_net))
