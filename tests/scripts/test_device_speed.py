"""The speed on a device is measured; no number is judged."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "scripts/device_speed.py", *options],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        timeout=240,
        env=os.environ | {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""},
    )


@pytest.mark.slow
def test_frames_per_second_and_the_longest_functions_are_written(
    tmp_path: Path,
) -> None:
    output = tmp_path / "results" / "speed.json"
    options = ("--steps=16", "--turns=1", "--num-envs=2", f"--output={output}")
    done = run("--device=cpu", *options)
    assert done.returncode == 0, done.stderr
    results = json.loads(output.read_text())["results"]
    steps = results["agent_steps_per_second"]
    assert results["frames_per_second"] == pytest.approx(4 * steps)
    shares = list(results["share_of_time_by_function"].values())
    assert 0 < sum(shares) <= 1
    assert shares == sorted(shares, reverse=True)


def test_a_gpu_that_is_not_there_is_refused() -> None:
    done = run("--device=cuda")
    assert done.returncode != 0
    assert "no cuda here" in done.stderr
