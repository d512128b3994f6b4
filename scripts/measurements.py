"""What the benchmark measures, side by side with Stable-Baselines3.

What is compared runs in turn (A B A B ...), so that a machine that slows down slows all
candidates; a ratio is the median of the ratios within each turn.
"""

import dataclasses
import functools
import resource
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3 import DQN
from stable_baselines3.common.env_util import make_atari_env
from stable_baselines3.common.vec_env import VecEnv, VecFrameStack

from clrl.continual.anchors import PerTaskAnchors
from clrl.continual.importance import FisherDiagonal
from clrl.continual.learner import ContinualLearner, Method
from clrl.continual.penalty import QuadraticPenalty
from clrl.recognition.recognisers import FlatForgetMeNotRecogniser
from clrl.rl.atari import PROTOCOLS, AtariGame
from clrl.rl.dqn import ContinualDQN
from clrl.rl.game_sequence import GameSequence, Visit
from clrl.rl.network import build_network
from clrl.rl.objective import QGaussian, QLearning
from clrl.rl.replay import ReplayBatch

NUM_ENVS = 8
BATCH_SIZE = 32
TRAIN_FREQ_STEPS = 4  # agent steps for each update
BUFFER_SIZE = 10_000
EPS = 0.05  # of ε-greedy, from the first update on
IMPORTANCE_EXAMPLES = 3_200  # of a task that is left: table S2 of Kirkpatrick et al.


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How long to measure.

    Attributes:
        repetitions: Turns, over which medians are taken.
        steps: Agent steps of training in each turn.
        warm_up_steps: Agent steps before learning starts; they fill the memories.
        calls: Calls of whatever takes less than a second, in each turn.
        importance_batches: Batches of the importance, scaled up to 3,200 examples.
    """

    repetitions: int
    steps: int
    warm_up_steps: int
    calls: int
    importance_batches: int


FULL = Effort(
    repetitions=5, steps=1_600, warm_up_steps=10_000, calls=50, importance_batches=100
)
QUICK = Effort(
    repetitions=3, steps=320, warm_up_steps=1_000, calls=10, importance_batches=10
)


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One number of the report.

    Attributes:
        value: The number.
        unit: Its unit; "times" for a ratio.
        detail: What it was computed from, units in the names.
    """

    value: float
    unit: str
    detail: Mapping[str, float] = dataclasses.field(default_factory=dict)


Turns = Mapping[str, list[float]]
"""Seconds that each candidate took, turn by turn."""


def alternate(candidates: Mapping[str, Callable[[], object]], turns: int) -> Turns:
    """Runs all candidates in turn, ``turns`` times after an unmeasured turn."""
    for run in candidates.values():
        run()
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(turns):
        for name, run in candidates.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def ratio(turns: Turns, numerator: str, denominator: str) -> float:
    """Median over the turns of how many times longer ``numerator`` took."""
    pairs = zip(turns[numerator], turns[denominator], strict=True)
    return statistics.median(a / b for a, b in pairs)


def fastest(turns: Turns, *, but: str) -> str:
    """The candidate other than ``but`` with the smallest median."""
    return min(turns.keys() - {but}, key=lambda name: statistics.median(turns[name]))


def speed_up(turns: Turns, work: float, unit: str) -> Measurement:
    """How many times faster ``clrl`` did the work than the fastest other candidate."""
    rates = {
        f"{name}_{unit}_per_second": work / statistics.median(seconds)
        for name, seconds in turns.items()
    }
    value = ratio(turns, fastest(turns, but="clrl"), "clrl")
    return Measurement(value=value, unit="times", detail=rates)


def repeat(run: Callable[[], object], times: int) -> Callable[[], None]:
    """A candidate that calls ``run`` several times."""

    def repeated() -> None:
        for _ in range(times):
            run()

    return repeated


def thread_counts(cores: int) -> list[int]:
    """1, 2, 4, ... up to ``cores``, and ``cores`` itself."""
    return sorted({min(2**i, cores) for i in range(cores.bit_length() + 1)})


def pong() -> GameSequence:
    """Pong without end through ale-py's vector environment."""
    return GameSequence(
        [Visit("pong", steps=10**12)],
        lambda game, num_envs: AtariGame(game, num_envs, PROTOCOLS["nature"]),
        num_envs=NUM_ENVS,
        clip_rewards=True,
    )


def sb3_pong(num_envs: int, seed: int) -> VecEnv:
    """The same game and rules through Stable-Baselines3's wrappers."""
    env = make_atari_env(
        "PongNoFrameskip-v4",
        n_envs=num_envs,
        seed=seed,
        env_kwargs={"full_action_space": True},
    )
    return VecFrameStack(env, n_stack=4)


def our_agent(effort: Effort, seed: int) -> ContinualDQN:
    """ContinualDQN, without whatever Stable-Baselines3's DQN does not have."""
    return ContinualDQN(
        "CnnPolicy",
        pong(),
        # As clrl train sets it.
        policy_kwargs={"optimizer_kwargs": {"fused": True}},
        buffer_size=BUFFER_SIZE,
        learning_starts=effort.warm_up_steps,
        batch_size=BATCH_SIZE,
        train_freq=TRAIN_FREQ_STEPS,
        exploration_initial_eps=EPS,
        exploration_final_eps=EPS,
        double_q=False,
        n_stack=4,
        seed=seed,
        device="cpu",
    )


def sb3_agent(num_envs: int, effort: Effort, seed: int) -> DQN:
    """DQN with one update for each ``TRAIN_FREQ_STEPS`` agent steps.

    Its ``train_freq`` counts steps of all environments at once.
    """
    vector_steps = max(1, TRAIN_FREQ_STEPS // num_envs)
    return DQN(
        "CnnPolicy",
        sb3_pong(num_envs, seed),
        buffer_size=BUFFER_SIZE,
        learning_starts=effort.warm_up_steps,
        batch_size=BATCH_SIZE,
        train_freq=vector_steps,
        gradient_steps=vector_steps * num_envs // TRAIN_FREQ_STEPS,
        exploration_initial_eps=EPS,
        exploration_final_eps=EPS,
        optimize_memory_usage=False,
        seed=seed,
        device="cpu",
    )


class Benchmark:
    """The agents, and what is measured of them."""

    def __init__(self, effort: Effort, seed: int) -> None:
        """Makes the agents and fills their memories.

        Args:
            effort: How long to measure.
            seed: Of everything random.
        """
        self._effort = effort
        self._seed = seed
        self._rng = np.random.default_rng(seed)
        self._threads = torch.get_num_threads()
        self._ours = our_agent(effort, seed)
        self._train(self._ours, effort.warm_up_steps + NUM_ENVS)
        # Before Stable-Baselines3's replay buffers, eight times the size, are filled.
        self._peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        self._theirs = {n: sb3_agent(n, effort, seed) for n in (1, NUM_ENVS)}
        for agent in self._theirs.values():
            self._train(agent, effort.warm_up_steps + NUM_ENVS)
        self._memory = self._ours.memories[0]
        self._batch = self._memory.sample(BATCH_SIZE, self._rng)

    def measurements(self) -> Iterator[tuple[str, Measurement]]:
        """Each measurement with its name, as soon as it is done."""
        # First, because what follows plays on in the agents' environments.
        full_loop, full_loop_of_8 = self.full_loops()
        yield "full_loop_exact_vs_sb3", full_loop
        yield "full_loop_exact_vs_sb3_8_envs", full_loop_of_8
        yield "environment_vs_sb3", self.environment()
        yield "acting_vs_sb3", self.acting()
        yield "update_vs_sb3", self.update()
        ewc = self.ewc_overhead((1, 20))
        yield "ewc_overhead_1", ewc[1]
        yield "ewc_overhead_20", ewc[20]
        steps_per_second = full_loop.detail["clrl_steps_per_second"]
        yield "recognition_overhead", self.recognition(NUM_ENVS / steps_per_second)
        yield "importance_at_a_switch", self.importance()
        yield "replay_bytes_per_transition", self.replay_bytes()
        yield "peak_rss", Measurement(value=self._peak_kib / 1024, unit="MiB")

    def full_loops(self) -> tuple[Measurement, Measurement]:
        """Agent steps per second of acting, playing, storing and learning.

        Returns:
            Over Stable-Baselines3 with one environment, its default, and with eight;
            each at its best number of threads.
        """
        steps = self._effort.steps
        candidates = {"clrl": functools.partial(self._train, self._ours, steps)}
        for threads in thread_counts(self._threads):
            for num_envs, agent in self._theirs.items():
                candidates[f"sb3_{threads}_threads_{num_envs}_envs"] = (
                    functools.partial(self._train, agent, steps, threads)
                )
        turns = alternate(candidates, self._effort.repetitions)
        of_one, of_eight = (
            {n: t for n, t in turns.items() if n == "clrl" or n.endswith(f"_{k}_envs")}
            for k in (1, NUM_ENVS)
        )
        return speed_up(of_one, steps, "steps"), speed_up(of_eight, steps, "steps")

    def environment(self) -> Measurement:
        """Agent steps per second of the environments alone, with random actions."""
        env_steps = 4 * self._effort.calls * NUM_ENVS
        agents = {f"sb3_{n}_envs": agent for n, agent in self._theirs.items()}
        candidates: dict[str, Callable[[], object]] = {
            name: functools.partial(self._play, agent, env_steps)
            for name, agent in {"clrl": self._ours, **agents}.items()
        }
        turns = alternate(candidates, self._effort.repetitions)
        return speed_up(turns, env_steps, "steps")

    def acting(self) -> Measurement:
        """Greedy actions per second for eight observations at a time."""
        observations = self._batch.observations[:NUM_ENVS].numpy()
        theirs = self._theirs[NUM_ENVS]
        calls = self._effort.calls
        candidates = {
            "clrl": repeat(lambda: self._ours.act(observations, 0.0, self._rng), calls),
            "sb3": repeat(
                lambda: theirs.predict(observations, deterministic=True), calls
            ),
        }
        turns = alternate(candidates, self._effort.repetitions)
        return speed_up(turns, calls * NUM_ENVS, "actions")

    def update(self) -> Measurement:
        """Updates per second, sampling included."""
        calls = self._effort.calls

        def ours() -> None:
            self._ours._steps_owed = calls * TRAIN_FREQ_STEPS
            self._ours.train(1, BATCH_SIZE)

        theirs = functools.partial(self._theirs[NUM_ENVS].train, calls, BATCH_SIZE)
        candidates: dict[str, Callable[[], object]] = {"clrl": ours, "sb3": theirs}
        turns = alternate(candidates, self._effort.repetitions)
        return speed_up(turns, calls, "updates")

    def ewc_overhead(self, tasks: tuple[int, ...]) -> dict[int, Measurement]:
        """Time of an update with EWC's penalty on ``tasks`` tasks over one without."""
        calls = self._effort.calls
        learners = {"plain": self._learner(anchors=0)}
        learners |= {f"ewc_{n}": self._learner(anchors=n) for n in tasks}
        candidates: dict[str, Callable[[], object]] = {
            name: repeat(functools.partial(learner.step, self._batch, 0), calls)
            for name, learner in learners.items()
        }
        turns = alternate(candidates, self._effort.repetitions)
        plain = statistics.median(turns["plain"]) / calls
        return {
            n: Measurement(
                value=ratio(turns, f"ewc_{n}", "plain"),
                unit="times",
                detail={"plain_update_seconds": plain},
            )
            for n in tasks
        }

    def recognition(self, vector_step_seconds: float) -> Measurement:
        """Time of flat forget-me-not over that of a step of all environments."""
        recogniser = FlatForgetMeNotRecogniser().build(lambda: 0)
        frames = self._play(self._ours, 128 * self._effort.calls)

        def watch() -> None:
            for frame in frames:
                recogniser.observe(frame)

        turns = alternate({"watch": watch}, self._effort.repetitions)
        seconds = statistics.median(turns["watch"]) / len(frames)
        return Measurement(
            value=seconds / vector_step_seconds,
            unit="of a step",
            detail={"observe_seconds": seconds, "step_seconds": vector_step_seconds},
        )

    def importance(self) -> Measurement:
        """Seconds of the Fisher of 3,200 examples for the EWC paper's network."""
        space = self._ours.observation_space
        assert isinstance(space, spaces.Box)
        network = build_network("kirkpatrick2017", space, 18, task_gains=True)
        batches = self._effort.importance_batches
        fisher = FisherDiagonal[ReplayBatch](
            statistic=QGaussian(),
            max_batches=batches,
            generator=torch.Generator().manual_seed(self._seed),
        )
        turns = alternate(
            {"fisher": lambda: fisher(network, [self._batch] * batches)}, 1
        )
        scale = IMPORTANCE_EXAMPLES / (batches * BATCH_SIZE)
        return Measurement(
            value=turns["fisher"][0] * scale,
            unit="s",
            detail={"examples_measured": batches * BATCH_SIZE},
        )

    def replay_bytes(self) -> Measurement:
        """Bytes that a stored transition takes, all of them counted."""
        size = float(self._memory.bytes_per_transition)
        return Measurement(value=size, unit="bytes")

    def _train(self, agent: DQN, steps: int, threads: int | None = None) -> None:
        torch.set_num_threads(threads or self._threads)
        agent.learn(steps, reset_num_timesteps=False)
        torch.set_num_threads(self._threads)

    def _play(self, agent: DQN, steps: int) -> list[np.ndarray]:
        """Plays at random; the agent must not learn from its environment afterwards.

        Returns:
            The newest frame of each observation, [N, H, W] for each vector step.
        """
        assert agent.env is not None
        frames = []
        for _ in range(steps // agent.env.num_envs):
            actions = self._rng.integers(18, size=agent.env.num_envs)
            observations = agent.env.step(actions)[0]
            assert isinstance(observations, np.ndarray)
            frames.append(observations[:, -1])
        return frames

    def _learner(self, anchors: int) -> ContinualLearner[ReplayBatch]:
        space = self._ours.observation_space
        assert isinstance(space, spaces.Box)
        network, target = (build_network("nature", space, 18) for _ in range(2))
        penalty = QuadraticPenalty(1e-3, PerTaskAnchors())
        parameters = {
            name: parameter.detach()
            for name, parameter in network.shared_parameters().items()
        }
        for task in range(1, anchors + 1):
            importance = {n: torch.rand_like(p) for n, p in parameters.items()}
            penalty.consolidate(task, parameters, importance)
        return ContinualLearner(
            network=network,
            optimizer=torch.optim.Adam(network.parameters(), lr=1e-4, fused=True),
            objective=QLearning(target_network=target, gamma=0.99, double_q=False),
            method=Method(penalty=penalty) if anchors else Method(),
            max_grad_norm=10,
        )
