"""What the benchmark measures, side by side with Stable-Baselines3."""

import functools
import statistics
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from gymnasium import spaces
from method_costs import learner_of, method_costs
from recognition_cost import newest_frames, recognition_costs
from replay_measurements import compressed_bytes, compressed_sampling
from start_times import start_times
from subjects import (
    BATCH_SIZE,
    MATCHED_BATCH_SIZE,
    N_ACTIONS,
    NUM_ENVS,
    OurBfloat16Subject,
    OurMatchedBfloat16Subject,
    OurMatchedSubject,
    OurOverlappedSubject,
    OurSubject,
    Sb3SubjectOf1,
    Sb3SubjectOf8,
    Start,
    SubjectProcess,
    our_agent,
)
from torch.utils.flop_counter import FlopCounterMode
from turns import Measurement, Turns, alternate, ratio, repeat, speed_up

from clrl import allocator
from clrl.continual.importance import FisherDiagonal
from clrl.continual.methods import Finetune
from clrl.continual.precision import try_precisions
from clrl.rl.network import build_network
from clrl.rl.objective import QGaussian, QLearning
from clrl.rl.replay import ReplayBatch
from clrl.threads import thread_counts

MATMUL_SIDE = 1_024  # two factors and a product of 4 MiB each
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
        starts: Processes whose start is timed.
        gem_tasks: Tasks of GEM's recipe, which has 20; 0: it is not measured.
    """

    repetitions: int
    steps: int
    warm_up_steps: int
    calls: int
    importance_batches: int
    starts: int
    gem_tasks: int


FULL = Effort(
    repetitions=5,
    steps=800,
    warm_up_steps=10_000,
    calls=50,
    importance_batches=100,
    starts=5,
    gem_tasks=20,
)
QUICK = Effort(
    repetitions=2,
    steps=64,
    warm_up_steps=1_000,
    calls=5,
    importance_batches=10,
    starts=1,
    gem_tasks=0,
)


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
        self._variants = {
            name: SubjectProcess(subject, start)
            for name, subject in (
                ("exact_bfloat16", OurBfloat16Subject),
                ("overlapped", OurOverlappedSubject),
                ("matched", OurMatchedSubject),
                ("matched_bfloat16", OurMatchedBfloat16Subject),
            )
        }
        self._theirs = {
            1: SubjectProcess(Sb3SubjectOf1, start),
            NUM_ENVS: SubjectProcess(Sb3SubjectOf8, start),
        }
        allocator.keep_freed_memory()
        self._agent = agent = our_agent(start)
        agent.learn(effort.warm_up_steps)
        self._network, self._objective = agent.policy.q_net, agent.learner.objective
        self._memory = agent.memories[0]
        self._batch = self._memory.sample(BATCH_SIZE, self._rng)

    def measurements(self) -> Iterator[tuple[str, Measurement]]:
        """Each measurement with its name, as soon as it is done."""
        # First, because what follows plays on in the agents' environments.
        yield from self.full_loops().items()
        yield from self.shares()
        yield "peak_rss", Measurement(value=self._ours.peak_kib() / 1024, unit="MiB")
        yield "update_vs_sb3", self.update()
        yield "acting_vs_sb3", self.acting()
        yield "environment_vs_sb3", self.environment()
        processes = [self._ours, *self._variants.values(), *self._theirs.values()]
        with ThreadPoolExecutor() as pool:
            list(pool.map(SubjectProcess.close, processes))
        yield from start_times(self._effort.starts)
        yield from method_costs(
            self._agent.policy,
            lambda count: self._memory.sample(count, self._rng),
            batch_size=BATCH_SIZE,
            repetitions=self._effort.repetitions,
            calls=self._effort.calls,
        )
        for size in (BATCH_SIZE, MATCHED_BATCH_SIZE):
            yield f"update_fraction_of_matmul_{size}", self.fraction_of_matmul(size)
        frames = list(newest_frames(4 * self._effort.calls, self._rng))
        yield from recognition_costs(
            self._agent, frames, self._effort.repetitions, self._rng
        )
        yield from self.precision().items()
        yield "importance_at_a_switch", self.importance()
        yield "replay_bytes_per_transition", self.replay_bytes()
        vector_steps = 16 * self._effort.calls
        yield (
            "replay_bytes_per_transition_lz4",
            compressed_bytes(vector_steps, self._seed),
        )
        yield (
            "replay_sampling_lz4_vs_raw",
            compressed_sampling(
                vector_steps, self._effort.calls, self._effort.repetitions, self._seed
            ),
        )

    def full_loops(self) -> dict[str, Measurement]:
        """Agent steps per second of acting, playing, storing and learning.

        Returns:
            One update of 32 for each 4 steps, as theirs, over Stable-Baselines3 with
            one environment, its default, and with eight; one update of 128 for each
            16 steps; updates while the emulators play; and the first and third in
            bfloat16. Theirs at its best number of threads.
        """
        steps = self._effort.steps
        turns = dict(self._compare("train", steps, self._variants))
        exact = {"clrl": turns.pop("clrl")}
        variants = {name: {"clrl": turns.pop(name)} for name in self._variants}
        of_one, of_eight = (
            {name: t for name, t in turns.items() if name.endswith(f"_{n}_envs")}
            for n in self._theirs
        )
        return {
            "full_loop_exact_vs_sb3": speed_up(exact | of_one, steps, "steps"),
            "full_loop_exact_vs_sb3_8_envs": speed_up(exact | of_eight, steps, "steps"),
        } | {
            f"full_loop_{name}_vs_sb3": speed_up(variant | of_one, steps, "steps")
            for name, variant in variants.items()
        }

    def shares(self) -> Iterator[tuple[str, Measurement]]:
        """How much of the full loop's time its parts take, medians over the turns.

        What is missing to 1 is counting, callbacks, the target network and recognition,
        of which the only task costs next to nothing.
        """
        turns = [
            self._ours.run("train_by_part", self._effort.steps, self._threads)
            for _ in range(self._effort.repetitions)
        ]
        for part in turns[0]:
            value = statistics.median(turn[part] for turn in turns)
            yield f"share_of_time_{part}", Measurement(value=value, unit="of the loop")

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

    def _compare(
        self, work: str, amount: int, more: Mapping[str, SubjectProcess] | None = None
    ) -> Turns:
        """Ours with torch's threads in turn with theirs with each number of threads."""
        ours = {"clrl": self._ours, **(more or {})}
        candidates: dict[str, Callable[[], object]] = {
            name: functools.partial(process.run, work, amount, self._threads)
            for name, process in ours.items()
        }
        for threads in thread_counts(self._threads):
            for num_envs, process in self._theirs.items():
                candidates[f"sb3_{threads}_threads_{num_envs}_envs"] = (
                    functools.partial(process.run, work, amount, threads)
                )
        return alternate(candidates, self._effort.repetitions)

    def fraction_of_matmul(self, batch_size: int) -> Measurement:
        """Floating-point rate of an update over that of a plain matrix product."""
        learner = learner_of(self._agent.policy, Finetune())
        batch = self._memory.sample(batch_size, self._rng)
        with FlopCounterMode(display=False) as counter:
            learner.step(batch, 0)
        update_gflop = counter.get_total_flops() / 1e9
        factor = torch.rand(MATMUL_SIDE, MATMUL_SIDE)
        product = torch.empty_like(factor)
        matmul_gflop = 2 * MATMUL_SIDE**3 / 1e9
        calls = self._effort.calls
        matmuls = calls * max(1, round(update_gflop / matmul_gflop))
        turns = alternate(
            {
                "update": repeat(lambda: learner.step(batch, 0), calls),
                "matmul": repeat(
                    lambda: torch.mm(factor, factor, out=product), matmuls
                ),
            },
            self._effort.repetitions,
        )
        gflop = {"update": calls * update_gflop, "matmul": matmuls * matmul_gflop}
        return Measurement(
            value=ratio(turns, "matmul", "update") * gflop["update"] / gflop["matmul"],
            unit="of the rate",
            detail={
                f"{name}_gflop_per_second": gflop[name] / statistics.median(seconds)
                for name, seconds in turns.items()
            },
        )

    def precision(self) -> dict[str, Measurement]:
        """What ``precision: auto`` would measure with the agent's own transitions."""
        batches = [self._memory.sample(BATCH_SIZE, self._rng) for _ in range(4)]
        assert isinstance(self._objective, QLearning)
        trial = try_precisions(self._network, self._objective.in_precision, batches)
        return {
            "bfloat16_gradient_vs_float32": Measurement(
                value=trial.speed_up, unit="times"
            ),
            "bfloat16_gradient_error": Measurement(
                value=trial.error, unit="of a difference between minibatches"
            ),
        }

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
            {"fisher": lambda: fisher(network, [self._batch] * batches)},
            self._effort.repetitions,
        )
        scale = IMPORTANCE_EXAMPLES / (batches * BATCH_SIZE)
        return Measurement(
            value=statistics.median(turns["fisher"]) * scale,
            unit="s",
            detail={"examples_measured": batches * BATCH_SIZE},
        )

    def replay_bytes(self) -> Measurement:
        """Bytes that a stored transition takes, all of them counted."""
        size = float(self._memory.bytes_per_transition)
        return Measurement(value=size, unit="bytes")
