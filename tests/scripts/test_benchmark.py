"""The benchmark runs and reports every number it promises; no number is judged."""

import json
import math
import subprocess
import sys
from pathlib import Path

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
    "ewc_overhead_1",
    "ewc_overhead_20",
    "update_fraction_of_matmul_32",
    "update_fraction_of_matmul_128",
    "recognition_overhead_1",
    "recognition_overhead_20",
    "importance_at_a_switch",
    "replay_bytes_per_transition",
    "replay_bytes_per_transition_lz4",
    "replay_sampling_lz4_vs_raw",
    "peak_rss",
}
TINY = {
    "repetitions": 1,
    "steps": 16,
    "warm-up-steps": 64,
    "calls": 1,
    "importance-batches": 1,
}


@pytest.mark.slow
def test_the_benchmark_writes_a_positive_finite_value_for_every_measurement(
    tmp_path: Path,
) -> None:
    output = tmp_path / "results" / "benchmark.json"
    options = [f"--{name}={value}" for name, value in TINY.items()]
    subprocess.run(
        [sys.executable, "scripts/benchmark.py", f"--output={output}", *options],
        cwd=ROOT,
        check=True,
        capture_output=True,
        timeout=240,
    )

    report = json.loads(output.read_text())
    assert report.keys() == {
        "date",
        "command",
        "seed",
        "effort",
        "machine",
        "results",
    }
    assert {"cpu", "cores", "versions"} <= report["machine"].keys()
    assert report["results"].keys() == MEASUREMENTS
    for result in report["results"].values():
        for value in [result["value"], *result["detail"].values()]:
            assert math.isfinite(value)
            assert value > 0
