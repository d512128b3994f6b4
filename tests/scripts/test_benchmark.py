"""The benchmark runs and reports every number it promises; no number is judged."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
MEASUREMENTS = {
    "full_loop_exact_vs_sb3",
    "full_loop_exact_vs_sb3_8_envs",
    "full_loop_exact_bfloat16_vs_sb3",
    "full_loop_matched_vs_sb3",
    "full_loop_matched_bfloat16_vs_sb3",
    "full_loop_overlapped_vs_sb3",
    "bfloat16_gradient_vs_float32",
    "bfloat16_gradient_error",
    "environment_vs_sb3",
    "acting_vs_sb3",
    "update_vs_sb3",
    "share_of_time_update",
    "share_of_time_acting",
    "share_of_time_environment",
    "share_of_time_replay",
    "ewc_overhead_1",
    "ewc_overhead_5",
    "ewc_overhead_20",
    "mas_overhead_1",
    "mas_overhead_5",
    "mas_overhead_20",
    "gem_overhead_1",
    "gem_overhead_5",
    "gem_overhead_20",
    "update_fraction_of_matmul_32",
    "update_fraction_of_matmul_128",
    "recognition_overhead_flat_fmn_1",
    "recognition_overhead_flat_fmn_5",
    "recognition_overhead_flat_fmn_20",
    "recognition_overhead_1",
    "recognition_overhead_5",
    "recognition_overhead_20",
    "recognition_bytes_per_context_flat_fmn",
    "recognition_bytes_per_context_fmn",
    "importance_at_a_switch",
    "replay_bytes_per_transition",
    "replay_bytes_per_transition_lz4",
    "replay_sampling_lz4_vs_raw",
    "peak_rss",
    "help_seconds",
    "first_step_seconds",
    "gem_step_against_tasks",
    "ewc_step_against_tasks",
}
OF_MNIST = {"gem_recipe_seconds"}
TINY = {
    "repetitions": 1,
    "steps": 16,
    "warm-up-steps": 64,
    "calls": 1,
    "importance-batches": 1,
    "starts": 1,
    "gem-tasks": 1,
}


def run(folder: Path, *more: str) -> dict[str, Any]:
    output = folder / "results" / "benchmark.json"
    options = [f"--{name}={value}" for name, value in TINY.items()]
    pictures = f"--pictures={folder / 'pictures'}"
    subprocess.run(
        [
            sys.executable,
            "scripts/benchmark.py",
            f"--output={output}",
            pictures,
            *options,
            *more,
        ],
        cwd=ROOT,
        check=True,
        timeout=600,  # a machine may be busy
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert (folder / "pictures" / "step_cost.png").stat().st_size > 0
    report: dict[str, Any] = json.loads(output.read_text())
    for result in report["results"].values():
        for value in [result["value"], *result["detail"].values()]:
            assert math.isfinite(value)
            assert value > 0
    return report


@pytest.mark.slow
def test_the_benchmark_writes_a_positive_finite_value_for_every_measurement(
    tmp_path: Path,
) -> None:
    report = run(tmp_path)
    assert report.keys() == {
        "date",
        "command",
        "seed",
        "effort",
        "machine",
        "seconds",
        "load_average_at_end",
        "results",
    }
    assert {"cpu", "cores", "versions"} <= report["machine"].keys()
    assert report["results"].keys() - OF_MNIST == MEASUREMENTS
    parts = ("update", "acting", "environment", "replay")
    values = (report["results"][f"share_of_time_{part}"]["value"] for part in parts)
    assert 0.5 < sum(values) < 1


@pytest.mark.slow
def test_what_needs_no_games_is_measured_alone(tmp_path: Path) -> None:
    results = run(tmp_path, "--supervised")["results"]
    of_steps = {"gem_step_against_tasks", "ewc_step_against_tasks"}
    assert results.keys() - OF_MNIST == of_steps
    for name in of_steps:
        assert results[name]["detail"].keys() == {
            f"{tasks}_tasks_seconds" for tasks in (1, 2, 5, 10, 15, 20)
        }
