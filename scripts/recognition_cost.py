"""What recognition costs: its share of an agent's step, and a context's memory.

A part of ``scripts/benchmark``, and a command of its own:

    python scripts/recognition_cost.py
"""

import argparse
import dataclasses
import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
from report import stamp, write_report
from subjects import N_ACTIONS, NUM_ENVS, Start, our_agent, pong
from turns import Measurement, alternate, ratio

from clrl import allocator
from clrl.recognition.protocol import TaskRecogniser
from clrl.recognition.recognisers import RECOGNISERS
from clrl.rl.dqn import ContinualDQN

OUTPUT = Path("docs/results/recognition/cost.json")
PACKAGES = ("clrl", "torch", "numpy")

MEASURED = {"flat_fmn": "recognition_overhead_flat_fmn", "fmn": "recognition_overhead"}
"""Names of recognisers, and what their measurements' names begin with."""

CONTEXTS = (1, 5, 20)
STEPS_IN_A_CONTEXT = 64  # vector steps until a new context is sure to be open


def recognition_costs(
    agent: ContinualDQN,
    frames: Sequence[np.ndarray],
    repetitions: int,
    rng: np.random.Generator,
) -> Iterator[tuple[str, Measurement]]:
    """Time and memory of each recogniser with few and with many contexts.

    Args:
        agent: Acts, plays, stores and learns, in turn with the recognisers.
        frames: Of its game, the newest of each environment [N, H, W] in each step.
        repetitions: Turns, over which medians are taken.
        rng: Of the pictures that the other contexts are of.
    """
    recognisers = {
        (name, contexts): _with_contexts(name, contexts, frames[0], rng)
        for name in MEASURED
        for contexts in CONTEXTS
    }
    found = {
        key: (recogniser.contexts, _bytes(recogniser))
        for key, recogniser in recognisers.items()
    }
    agent_steps = sum(len(frame) for frame in frames)
    candidates: dict[str, Callable[[], object]] = {
        f"{name}_{contexts}": _watching(recogniser, frames)
        for (name, contexts), recogniser in recognisers.items()
    }
    candidates["agent"] = lambda: agent.learn(agent_steps, reset_num_timesteps=False)
    turns = alternate(candidates, repetitions)
    for (name, contexts), (known, _) in found.items():
        yield (
            f"{MEASURED[name]}_{contexts}",
            Measurement(
                value=ratio(turns, f"{name}_{contexts}", "agent"),
                unit="of a step",
                detail={
                    "contexts": known,
                    **{
                        f"{what}_seconds": statistics.median(turns[which]) / len(frames)
                        for what, which in (
                            ("observe", f"{name}_{contexts}"),
                            ("step", "agent"),
                        )
                    },
                },
            ),
        )
    few, *_, many = CONTEXTS
    for name in MEASURED:
        (fewer, small), (more, large) = found[name, few], found[name, many]
        yield (
            f"recognition_bytes_per_context_{name}",
            Measurement(
                value=(large - small) / (more - fewer),
                unit="bytes",
                detail={f"bytes_with_{more}": large, f"bytes_with_{fewer}": small},
            ),
        )


def _with_contexts(
    name: str, contexts: int, frame: np.ndarray, rng: np.random.Generator
) -> TaskRecogniser:
    """A recogniser whose contexts are still pictures of noise, then the game."""
    recogniser = RECOGNISERS[name]().build(lambda: 0)
    for _ in range(contexts - 1):
        picture = rng.integers(256, size=frame.shape[1:], dtype=np.uint8)
        for _ in range(STEPS_IN_A_CONTEXT):
            recogniser.observe(np.broadcast_to(picture, frame.shape))
    for _ in range(STEPS_IN_A_CONTEXT):
        recogniser.observe(frame)
    if recogniser.contexts != contexts:
        raise RuntimeError(
            f"expected {contexts} contexts of {name}, got {recogniser.contexts}; "
            "raise STEPS_IN_A_CONTEXT."
        )
    return recogniser


def _watching(
    recogniser: TaskRecogniser, frames: Sequence[np.ndarray]
) -> Callable[[], None]:
    def watch() -> None:
        for frame in frames:
            recogniser.observe(frame)

    return watch


def _bytes(recogniser: TaskRecogniser) -> int:
    """All that the recogniser holds; what models share is counted once."""
    return sum(array.nbytes for array in recogniser.state_dict().values())


def newest_frames(vector_steps: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """The newest frame of each game, [N, H, W], in each step of random play."""
    with closing(pong()) as games:
        games.reset()
        for _ in range(vector_steps):
            observations = games.step(rng.integers(N_ACTIONS, size=NUM_ENVS))[0]
            assert isinstance(observations, np.ndarray)
            yield observations[:, -1].copy()


def main() -> None:
    """Measures, prints and writes a JSON file."""
    parser = argparse.ArgumentParser(description="What recognition costs.")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="JSON to write")
    parser.add_argument("--vector-steps", type=int, default=200, help="in each turn")
    parser.add_argument("--repetitions", type=int, default=5, help="turns")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    report = {**stamp(PACKAGES), "seed": options.seed}
    rng = np.random.default_rng(options.seed)
    allocator.keep_freed_memory()
    warm_up_steps = 1_000
    agent = our_agent(Start(warm_up_steps=warm_up_steps, seed=options.seed))
    agent.learn(warm_up_steps)
    frames = list(newest_frames(options.vector_steps, rng))
    results = {}
    for name, result in recognition_costs(agent, frames, options.repetitions, rng):
        results[name] = dataclasses.asdict(result)
        print(f"{name}: {result.value:.4g} {result.unit}", flush=True)
    write_report({**report, "results": results}, options.output)


if __name__ == "__main__":
    main()
