"""What the benchmark measures, side by side with Stable-Baselines3.

What is compared runs in turn (A B A B ...), so that a machine that slows down slows all
candidates; a ratio is the median of the ratios within each turn.
"""

import dataclasses
import functools
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import torch
from gymnasium import spaces
from subjects import (
    BATCH_SIZE,
    N_ACTIONS,
    NUM_ENVS,
    OurSubject,
    Sb3SubjectOf1,
    Sb3SubjectOf8,
    Start,
    SubjectProcess,
    our_agent,
    pong,
)

from clrl import allocator
from clrl.continual.anchors import PerTaskAnchors
from clrl.continual.importance import FisherDiagonal
from clrl.continual.learner import ContinualLearner, Method
from clrl.continual.penalty import QuadraticPenalty
from clrl.recognition.recognisers import FlatForgetMeNotRecogniser
from clrl.rl.network import build_network
from clrl.rl.objective import QGaussian, QLearning
from clrl.rl.replay import ReplayBatch

FRAMES = spaces.Box(0, 255, (4, 84, 84), np.uint8)
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


class Benchmark:
    """The agents, and what is measured of them."""

    def __init__(self, effort: Effort, seed: int) -> None:
        """Starts the agents' processes.

        Args:
            effort: How long to measure.
            seed: Of everything random.
        """
        self._effort = effort
        self._seed = seed
        self._rng = np.random.default_rng(seed)
        self._threads = torch.get_num_threads()
        start = Start(warm_up_steps=effort.warm_up_steps, seed=seed)
        self._ours = SubjectProcess(OurSubject, start)
        self._theirs = {
            1: SubjectProcess(Sb3SubjectOf1, start),
            NUM_ENVS: SubjectProcess(Sb3SubjectOf8, start),
        }
        allocator.keep_freed_memory()
        agent = our_agent(start)
        agent.learn(effort.warm_up_steps)
        self._memory = agent.memories[0]
        self._batch = self._memory.sample(BATCH_SIZE, self._rng)

    def measurements(self) -> Iterator[tuple[str, Measurement]]:
        """Each measurement with its name, as soon as it is done."""
        # First, because what follows plays on in the agents' environments.
        full_loop, full_loop_of_8 = self.full_loops()
        yield "full_loop_exact_vs_sb3", full_loop
        yield "full_loop_exact_vs_sb3_8_envs", full_loop_of_8
        yield "update_vs_sb3", self.update()
        yield "acting_vs_sb3", self.acting()
        yield "environment_vs_sb3", self.environment()
        yield "peak_rss", Measurement(value=self._ours.peak_kib() / 1024, unit="MiB")
        for process in (self._ours, *self._theirs.values()):
            process.close()
        ewc = self.ewc_overhead((1, 20))
        yield "ewc_overhead_1", ewc[1]
        yield "ewc_overhead_20", ewc[20]
        steps_per_second = full_loop.detail["clrl_steps_per_second"]
        yield "recognition_overhead", self.recognition(NUM_ENVS / steps_per_second)
        yield "importance_at_a_switch", self.importance()
        yield "replay_bytes_per_transition", self.replay_bytes()

    def full_loops(self) -> tuple[Measurement, Measurement]:
        """Agent steps per second of acting, playing, storing and learning.

        Returns:
            Over Stable-Baselines3 with one environment, its default, and with eight;
            each at its best number of threads.
        """
        steps = self._effort.steps
        turns = self._compare("train", steps)
        of_one, of_eight = (
            {n: t for n, t in turns.items() if n == "clrl" or n.endswith(f"_{k}_envs")}
            for k in self._theirs
        )
        return speed_up(of_one, steps, "steps"), speed_up(of_eight, steps, "steps")

    def update(self) -> Measurement:
        """Updates per second, sampling included."""
        calls = self._effort.calls
        return speed_up(self._compare("update", calls), calls, "updates")

    def acting(self) -> Measurement:
        """Greedy actions per second for eight observations at a time."""
        calls = 4 * self._effort.calls
        return speed_up(self._compare("act", calls), calls * NUM_ENVS, "actions")

    def environment(self) -> Measurement:
        """Agent steps per second of the environments alone, with random actions."""
        steps = 4 * self._effort.calls * NUM_ENVS
        return speed_up(self._compare("play", steps), steps, "steps")

    def _compare(self, work: str, amount: int) -> Turns:
        """Ours with torch's threads in turn with theirs with each number of threads."""
        candidates: dict[str, Callable[[], object]] = {
            "clrl": lambda: self._ours.run(work, amount, self._threads)
        }
        for threads in thread_counts(self._threads):
            for num_envs, process in self._theirs.items():
                candidates[f"sb3_{threads}_threads_{num_envs}_envs"] = (
                    functools.partial(process.run, work, amount, threads)
                )
        return alternate(candidates, self._effort.repetitions)

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
        frames = list(self._frames(16 * self._effort.calls))

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
        network = build_network("kirkpatrick2017", FRAMES, N_ACTIONS, task_gains=True)
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

    def _frames(self, vector_steps: int) -> Iterator[np.ndarray]:
        """The newest frame of each game, [N, H, W], in each step of random play."""
        with closing(pong()) as games:
            games.reset()
            for _ in range(vector_steps):
                actions = self._rng.integers(N_ACTIONS, size=NUM_ENVS)
                observations = games.step(actions)[0]
                assert isinstance(observations, np.ndarray)
                yield observations[:, -1]

    def _learner(self, anchors: int) -> ContinualLearner[ReplayBatch]:
        network, target = (build_network("nature", FRAMES, N_ACTIONS) for _ in range(2))
        for one in (network, target):
            one.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
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
