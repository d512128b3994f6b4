"""Cases of recognition run, leave their measures, and a page with them."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import recognition_page as page

ROOT = Path(__file__).parents[2]


def result(**changes: Any) -> dict[str, Any]:
    """What a case leaves of two games of which the second has two contexts."""
    measures = {
        "adjusted_rand_index": 0.91234,
        "tasks": 2,
        "contexts_of_at_least_1_percent": 3,
        "median_delay_steps": 28.0,
        "max_delay_steps": 44.0,
        "false_switches": 1,
        "wrong_label_share": 0.05,
        "contaminated_share": 0.001,
    }
    return {
        "case": "noise",
        "recogniser": "fmn",
        "seed": 3,
        "agent_steps": 2000,
        "measures": measures,
        "false_switches_by_game": {"krull": 1},
        "steps_by_game_and_label": {
            "pong": {"0": 1000},
            "krull": {"0": 10, "1": 890, "2": 100},
        },
        "date": "2026-11-21",
        "machine": "x86_64",
    } | changes


def written(tmp_path: Path, *results: dict[str, Any]) -> str:
    for number, each in enumerate(results):
        (tmp_path / f"{number}-seed0.json").write_text(json.dumps(each))
    path = tmp_path / "page.md"
    path.write_text(f"before\n{page.BEGIN}\nold\n{page.END}\nafter\n")
    page.write_page(tmp_path, path)
    page.write_page(tmp_path, path)  # again over what it wrote
    return path.read_text()


def test_the_page_has_a_line_for_each_result(tmp_path: Path) -> None:
    text = written(tmp_path, result(), result(seed=4, false_switches_by_game={}))
    assert text.startswith(f"before\n{page.BEGIN}\n")
    assert text.endswith(f"{page.END}\nafter\n")
    assert "old" not in text
    assert text.count("| `noise` | `fmn` |") == 2
    assert (
        "| `noise` | `fmn` | 3 | 2,000 | 0.9123 | 3 | 2 | 28, 44 | 1 | 5.00% | 0.10% |"
        in text
    )


def test_the_page_names_the_games_that_fail(tmp_path: Path) -> None:
    text = written(tmp_path, result())
    assert "`noise`, `fmn`, seed 3: false switches in krull 1\n" in text
    assert "krull has 2 contexts (89%, 10% of its steps)\n" in text
    assert "one context for" not in text
    alike = {"pong": {"0": 9}, "krull": {"0": 3, "1": 6}}
    merged = written(tmp_path, result(steps_by_game_and_label=alike))
    assert "one context for krull, pong\n" in merged


def test_a_stream_that_never_switches_has_no_delay(tmp_path: Path) -> None:
    still = result()["measures"] | {
        "median_delay_steps": None,
        "max_delay_steps": None,
    }
    assert "| 2 | - | 1 |" in written(tmp_path, result(measures=still))


def test_the_agents_scores_stand_beside_those_of_chance(tmp_path: Path) -> None:
    scores = {"pong": {"agent": -3.0, "random": -20.26}}
    agent = {"conditions": "4 episodes", "games": scores}
    (tmp_path / page.AGENT).write_text(json.dumps(agent))
    assert "| pong | -3.0 | -20.3 |" in written(tmp_path, result())


def test_cases_leave_their_measures(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "scripts/recognition.py",
        "one_environment",
        "without_visits",
    ]
    command += ["--seeds", "3", "--recognisers", "flat_fmn", "fmn"]
    command += ["--results", str(tmp_path), "--games=pong,breakout"]
    command += ["--sequence.visit_steps=100", "--recogniser.min_visit_steps=50"]
    subprocess.run(command, cwd=ROOT, check=True)
    assert {path.name for path in tmp_path.iterdir()} == {
        f"{case}-{recogniser}-seed3.json"
        for case in ("one_environment", "without_visits")
        for recogniser in ("flat_fmn", "fmn")
    }
    found = json.loads((tmp_path / "one_environment-flat_fmn-seed3.json").read_text())
    assert found["agent_steps"] == 600
    assert found["measures"]["contexts"] == 2
    assert found["false_switches_by_game"] == {}
    assert set(found["steps_by_game_and_label"]) == {"pong", "breakout"}


def test_an_unknown_case_is_refused() -> None:
    command = [sys.executable, "scripts/recognition.py", "easy"]
    failed = subprocess.run(command, cwd=ROOT, check=False, capture_output=True)
    assert failed.returncode == 2
    assert b"unknown cases ['easy']; known are one_environment" in failed.stderr


def test_the_results_in_the_repository_make_the_page(tmp_path: Path) -> None:
    ours = (ROOT / page.PAGE).read_text(encoding="utf-8")
    anew = tmp_path / "page.md"
    anew.write_text(ours, encoding="utf-8")
    page.write_page(ROOT / "docs" / "results" / "recognition", anew)
    assert anew.read_text(encoding="utf-8") == ours
