"""Cases of recognition run, and leave their measures."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_a_case_leaves_its_measures(tmp_path: Path) -> None:
    command = [sys.executable, "scripts/recognition.py", "hard", "--seeds", "3"]
    command += ["--recognisers", "flat_fmn_without_visits", "--results", str(tmp_path)]
    command += ["--games=pong,breakout", "--sequence.visit_steps=100"]
    subprocess.run(command, cwd=ROOT, check=True)
    (path,) = tmp_path.iterdir()
    assert path.name == "hard-flat_fmn_without_visits-seed3.json"
    result = json.loads(path.read_text())
    assert result["agent_steps"] == 600
    assert result["measures"]["contexts"] == 2
    assert set(result["steps_by_game_and_label"]) == {"pong", "breakout"}
