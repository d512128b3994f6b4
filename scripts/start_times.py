"""How long a user waits before anything happens."""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

from turns import Measurement

FIRST_STEP = (
    *("train", "atari/quickstart", "--games=pong"),
    # The untrained agent is scored first; one step will do.
    *("--evaluation.episodes=1", "--evaluation.max_episode_steps=1"),
    "--evaluation.random_policy_episodes=0",
)


def start_times(repetitions: int) -> Iterator[tuple[str, Measurement]]:
    """Seconds of ``clrl --help``, and of ``clrl train`` up to its first agent step.

    That step is the untrained agent's, which is scored before it learns.

    Args:
        repetitions: Processes of each, over which medians are taken.
    """
    for name, seconds in (("help", help_seconds), ("first_step", first_step_seconds)):
        value = statistics.median(seconds() for _ in range(repetitions))
        yield f"{name}_seconds", Measurement(value=value, unit="s")


def help_seconds() -> float:
    """Of one process, from its start to its end."""
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "clrl", "--help"],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return time.perf_counter() - start


def first_step_seconds() -> float:
    """From the start of a process to its first score, of one agent step.

    Raises:
        RuntimeError: The process ended without one.
    """
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        with subprocess.Popen(
            [sys.executable, "-u", "-m", "clrl", *FIRST_STEP, f"--runs_dir={folder}"],
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            try:
                for line in process.stdout:
                    if line.startswith("stage 0"):
                        return time.perf_counter() - start
            finally:
                process.kill()
    raise RuntimeError("clrl train ended before its first step.")
