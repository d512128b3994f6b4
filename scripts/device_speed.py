"""How fast the agent trains on a device, how busy a GPU is, and where the time goes.

    python scripts/device_speed.py --device cuda --num-envs 32

The agent is that of ``scripts/benchmark``: Pong, all 18 actions, ``nature`` network.
"""

import argparse
import cProfile
import json
import pstats
import shlex
import statistics
import sys
import time
from pathlib import Path

import torch
from report import stamp, write_report
from subjects import BATCH_SIZE, NUM_ENVS, TRAIN_FREQ_STEPS, Start, our_agent
from torch.profiler import ProfilerActivity, profile

from clrl import allocator
from clrl.continual.precision import PRECISIONS
from clrl.rl.atari import PROTOCOLS
from clrl.rl.dqn import ContinualDQN

PACKAGES = ("clrl", "torch", "stable_baselines3", "ale_py", "numpy")
NAMED_FUNCTIONS = 8


def steps_per_second(agent: ContinualDQN, steps: int, turns: int) -> float:
    """Agent steps of the full loop: the median turn's."""
    rates = []
    for _ in range(turns):
        start = time.perf_counter()
        agent.learn(steps, reset_num_timesteps=False)
        if agent.device.type == "cuda":
            torch.cuda.synchronize()
        rates.append(steps / (time.perf_counter() - start))
    return statistics.median(rates)


def gpu_utilisation(agent: ContinualDQN, steps: int) -> float:
    """The share of time in which the GPU computes or copies."""
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        start = time.perf_counter()
        agent.learn(steps, reset_num_timesteps=False)
        torch.cuda.synchronize()
        seconds = time.perf_counter() - start
    busy: float = sum(event.self_device_time_total for event in profiler.key_averages())
    return busy / 1e6 / seconds


def longest_functions(agent: ContinualDQN, steps: int) -> dict[str, float]:
    """Where the process spends its time: share of each function's own time."""
    profiler = cProfile.Profile()
    profiler.runcall(agent.learn, steps, reset_num_timesteps=False)
    stats = pstats.Stats(profiler).get_stats_profile()
    own = {
        f"{Path(f.file_name).name}:{f.line_number} {name}": f.tottime
        for name, f in stats.func_profiles.items()
    }
    longest = sorted(own, key=lambda name: -own[name])[:NAMED_FUNCTIONS]
    return {name: own[name] / stats.total_tt for name in longest}


def main() -> None:
    """Measures, prints, and writes a JSON file if asked to."""
    parser = argparse.ArgumentParser(description="Speed of training on a device.")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--num-envs", type=int, default=NUM_ENVS)
    parser.add_argument("--batch-size", type=int, default=BATCH_SIZE)
    parser.add_argument("--train-freq", type=int, default=TRAIN_FREQ_STEPS)
    parser.add_argument("--precision", choices=tuple(PRECISIONS), default="float32")
    parser.add_argument("--overlap", action="store_true", help="as --agent.overlap")
    parser.add_argument("--steps", type=int, default=20_000, help="in each turn")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--output", type=Path, help="JSON to write")
    options = parser.parse_args()
    if options.device != "cpu" and not torch.cuda.is_available():
        parser.error(f"there is no {options.device} here; try --device cpu.")
    report: dict[str, object] = {
        **stamp(PACKAGES),
        "command": shlex.join(["scripts/device_speed.py", *sys.argv[1:]]),
    }
    allocator.keep_freed_memory()
    warm_up_steps = 1_000
    agent = our_agent(
        Start(warm_up_steps=warm_up_steps, seed=0),
        batch_size=options.batch_size,
        train_freq=options.train_freq,
        precision=options.precision,
        overlap=options.overlap,
        num_envs=options.num_envs,
        device=options.device,
    )
    agent.learn(warm_up_steps + options.steps)
    rate = steps_per_second(agent, options.steps, options.turns)
    found: dict[str, object] = {
        "agent_steps_per_second": rate,
        "frames_per_second": PROTOCOLS["nature"].frame_skip * rate,
    }
    if agent.device.type == "cuda":
        found["recorded_as_cuda_graphs"] = agent.captured.is_capturing
        found["gpu"] = torch.cuda.get_device_name()
        found["gpu_utilisation"] = gpu_utilisation(agent, options.steps)
    found["share_of_time_by_function"] = longest_functions(agent, options.steps)
    report["results"] = found
    print(json.dumps(report, indent=2))
    if options.output is not None:
        write_report(report, options.output)


if __name__ == "__main__":
    main()
