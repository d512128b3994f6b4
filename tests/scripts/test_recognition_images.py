"""Cases of recognition on images run, and leave their measures."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_a_case_leaves_its_measures(tmp_path: Path) -> None:
    command = [sys.executable, "scripts/recognition_images.py", "permutations_return"]
    command += ["--seeds", "3", "--recognisers", "fmn", "--results", str(tmp_path)]
    command += ["--dataset=digits", "--stream.tasks=3"]
    command += ["--training.examples_per_task=40"]
    subprocess.run(command, cwd=ROOT, check=True)
    (path,) = tmp_path.iterdir()
    assert path.name == "permutations_return-fmn-seed3.json"
    result = json.loads(path.read_text())
    assert result["examples"] == 3 * 3 * 40
    assert result["measures"]["adjusted_rand_index"] == 1
    assert result["measures"]["contexts"] == 3
    shown = result["examples_by_task_and_label"]
    assert sorted(sum(row) for row in shown) == [120] * 3
