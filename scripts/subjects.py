"""The agents that are compared, each in a process of its own.

A process has one allocator, one pool of threads and one set of caches: sharing them,
candidates would speed up or slow down each other.
"""

import resource
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

import ale_py
import gymnasium
import numpy as np
import torch
from stable_baselines3 import DQN
from stable_baselines3.common.env_util import make_atari_env
from stable_baselines3.common.vec_env import VecEnv, VecFrameStack

from clrl import allocator
from clrl.rl.atari import PROTOCOLS, AtariGame
from clrl.rl.dqn import ContinualDQN
from clrl.rl.game_sequence import GameSequence, Visit

NUM_ENVS = 8
BATCH_SIZE = 32
TRAIN_FREQ_STEPS = 4  # agent steps for each update
MATCHED_BATCH_SIZE = 128  # one update for each MATCHED_TRAIN_FREQ_STEPS agent steps
MATCHED_TRAIN_FREQ_STEPS = 16
BUFFER_SIZE = 10_000
EPS = 0.05  # of ε-greedy, from the first update on
N_ACTIONS = 18


@dataclass(frozen=True, kw_only=True)
class Start:
    """How an agent's process starts.

    Attributes:
        warm_up_steps: Agent steps before learning starts; they fill the memories.
        seed: Of everything random.
    """

    warm_up_steps: int
    seed: int


class Subject:
    """An agent whose parts can be run by themselves."""

    def __init__(self, agent: DQN, warm_up_steps: int) -> None:
        """Fills the agent's memory."""
        self._agent = agent
        self._rng = np.random.default_rng(0)
        self.train(warm_up_steps + NUM_ENVS)

    def train(self, steps: int) -> None:
        """``steps`` agent steps of acting, playing, storing and learning."""
        self._agent.learn(steps, reset_num_timesteps=False)

    def update(self, updates: int) -> None:
        """Nothing but ``updates`` updates, sampling included."""
        self._agent.train(updates, BATCH_SIZE)

    def act(self, calls: int) -> None:
        """Greedy actions for ``NUM_ENVS`` random observations, ``calls`` times."""
        observations = self._observations()
        for _ in range(calls):
            self._agent.predict(observations, deterministic=True)

    def play(self, steps: int) -> None:
        """``steps`` agent steps of random play; nothing may be learnt afterwards."""
        env = self._agent.env
        assert env is not None
        for _ in range(steps // env.num_envs):
            env.step(self._rng.integers(N_ACTIONS, size=env.num_envs))

    def _observations(self) -> np.ndarray:
        shape = (NUM_ENVS, 4, 84, 84)
        return self._rng.integers(256, size=shape, dtype=np.uint8)


class OurSubject(Subject):
    """ContinualDQN, without whatever Stable-Baselines3's DQN does not have."""

    _agent: ContinualDQN
    batch_size = BATCH_SIZE
    train_freq_steps = TRAIN_FREQ_STEPS
    precision = "float32"
    overlap = False

    def __init__(self, start: Start) -> None:
        """Prepares the process as ``clrl train`` does."""
        allocator.keep_freed_memory()
        agent = our_agent(
            start,
            batch_size=self.batch_size,
            train_freq=self.train_freq_steps,
            precision=self.precision,
            overlap=self.overlap,
        )
        super().__init__(agent, start.warm_up_steps)

    def update(self, updates: int) -> None:
        """Nothing but ``updates`` updates, sampling included."""
        self._agent._steps_owed = updates * self.train_freq_steps
        self._agent.train(1, self.batch_size)

    def act(self, calls: int) -> None:
        """Greedy actions for ``NUM_ENVS`` random observations, ``calls`` times."""
        observations = self._observations()
        for _ in range(calls):
            self._agent.act(observations, 0.0, self._rng)

    def train_by_part(self, steps: int) -> dict[str, float]:
        """What share of the time of ``train`` each of its parts takes."""
        agent, memory = self._agent, self._agent.memories[0]
        parts: dict[str, list[tuple[object, str]]] = {
            "update": [(agent.captured, "step")],
            "acting": [(agent, "act")],
            "environment": [(agent.env, "step_async"), (agent.env, "step_wait")],
            "replay": [(memory, "add"), (memory, "sample")],
        }
        with ExitStack() as stack:
            seconds = {
                name: stack.enter_context(timed(methods))
                for name, methods in parts.items()
            }
            start = time.perf_counter()
            self.train(steps)
            total = time.perf_counter() - start
        return {name: sum(took) / total for name, took in seconds.items()}


@contextmanager
def timed(methods: Iterable[tuple[object, str]]) -> Iterator[list[float]]:
    """Fills the yielded list with the seconds of each call of the objects' methods."""
    seconds: list[float] = []

    def timing(method: Callable[..., object]) -> Callable[..., object]:
        def call(*args: object, **kwargs: object) -> object:
            start = time.perf_counter()
            try:
                return method(*args, **kwargs)
            finally:
                seconds.append(time.perf_counter() - start)

        return call

    for owner, name in methods:
        setattr(owner, name, timing(getattr(owner, name)))
    try:
        yield seconds
    finally:
        for owner, name in methods:
            delattr(owner, name)  # its class's is seen again


class OurMatchedSubject(OurSubject):
    """As many transitions sampled for each step, in a quarter of the updates."""

    batch_size = MATCHED_BATCH_SIZE
    train_freq_steps = MATCHED_TRAIN_FREQ_STEPS


class OurOverlappedSubject(OurSubject):
    """The same number of updates, made while the emulators play."""

    overlap = True


class OurBfloat16Subject(OurSubject):
    """The same updates, the networks' arithmetic in bfloat16."""

    precision = "bfloat16"


class OurMatchedBfloat16Subject(OurMatchedSubject):
    """A quarter of the updates, in bfloat16."""

    precision = "bfloat16"


class Sb3SubjectOf1(Subject):
    """Stable-Baselines3's DQN with one environment, its default."""

    num_envs = 1

    def __init__(self, start: Start) -> None:
        """One update for each ``TRAIN_FREQ_STEPS`` agent steps."""
        # Its train_freq counts steps of all environments at once.
        vector_steps = max(1, TRAIN_FREQ_STEPS // self.num_envs)
        agent = DQN(
            "CnnPolicy",
            sb3_pong(self.num_envs, start.seed),
            buffer_size=BUFFER_SIZE,
            learning_starts=start.warm_up_steps,
            batch_size=BATCH_SIZE,
            train_freq=vector_steps,
            gradient_steps=vector_steps * self.num_envs // TRAIN_FREQ_STEPS,
            exploration_initial_eps=EPS,
            exploration_final_eps=EPS,
            optimize_memory_usage=False,
            seed=start.seed,
            device="cpu",
        )
        super().__init__(agent, start.warm_up_steps)


class Sb3SubjectOf8(Sb3SubjectOf1):
    """Stable-Baselines3's DQN with as many environments as ours."""

    num_envs = NUM_ENVS


class SubjectProcess:
    """A subject in a process of its own."""

    def __init__(self, make: Callable[[Start], Subject], start: Start) -> None:
        """Starts the process; its subject is ready when ``run`` first returns."""
        self._pool = ProcessPoolExecutor(
            1, get_context("spawn"), initializer=_start, initargs=(make, start)
        )
        self._pool.submit(_peak_kib)  # a pool waits for work before it starts

    def run(self, work: str, amount: int, threads: int) -> Any:
        """What the subject's method ``work`` returns for ``amount``, once done."""
        return self._pool.submit(_run, work, amount, threads).result()

    def peak_kib(self) -> int:
        """Resident memory of the process at its largest so far."""
        return self._pool.submit(_peak_kib).result()

    def close(self) -> None:
        """Ends the process, which takes a second."""
        self._pool.shutdown()


def our_agent(
    start: Start,
    *,
    batch_size: int = BATCH_SIZE,
    train_freq: int = TRAIN_FREQ_STEPS,
    precision: str = "float32",
    overlap: bool = False,
    num_envs: int = NUM_ENVS,
    device: str = "cpu",
) -> ContinualDQN:
    """ContinualDQN on Pong, its arithmetic chosen as ``clrl train`` chooses it."""
    return ContinualDQN(
        "CnnPolicy",
        pong(num_envs),
        policy_kwargs={
            "channels_last": True,
            "optimizer_kwargs": {"fused": True},
        },
        buffer_size=BUFFER_SIZE,
        learning_starts=start.warm_up_steps,
        batch_size=batch_size,
        train_freq=train_freq,
        exploration_initial_eps=EPS,
        exploration_final_eps=EPS,
        double_q=False,
        precision=precision,
        overlap=overlap,
        n_stack=4,
        seed=start.seed,
        device=device,
    )


def pong(num_envs: int = NUM_ENVS) -> GameSequence:
    """Pong without end through ale-py's vector environment."""
    return GameSequence(
        [Visit("pong", steps=10**12)],
        lambda game, num_envs: AtariGame(game, num_envs, PROTOCOLS["nature"]),
        num_envs=num_envs,
        clip_rewards=True,
    )


def sb3_pong(num_envs: int, seed: int) -> VecEnv:
    """The same game and rules through Stable-Baselines3's wrappers."""
    gymnasium.register_envs(ale_py)
    env = make_atari_env(
        "PongNoFrameskip-v4",
        n_envs=num_envs,
        seed=seed,
        env_kwargs={"full_action_space": True},
    )
    return VecFrameStack(env, n_stack=4)


_subject: Subject
"""Of this process."""


def _start(make: Callable[[Start], Subject], start: Start) -> None:
    global _subject  # noqa: PLW0603 - what a process pool's initialiser can set
    torch.manual_seed(start.seed)
    # All start at once: more threads than cores would wait for each other.
    torch.set_num_threads(1)
    _subject = make(start)


def _run(work: str, amount: int, threads: int) -> Any:
    torch.set_num_threads(threads)
    return getattr(_subject, work)(amount)


def _peak_kib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
