"""How well recognisers tell games apart: cases and seeds, one small JSON file each.

Run from the repository's root; cases take from minutes to hours:

    python scripts/recognition.py hard --seeds 0
    python scripts/recognition.py one_environment eight_environments sticky

What else stands there overrides the config, as for ``clrl recognise``.
"""

import argparse
import json
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from clrl import config_file
from clrl.config_library import find_config
from clrl.progress import SilentListener
from clrl.recognise import recognise

RESULTS = Path("docs/results/recognition")

HARD = "riverraid,krull,enduro,star_gunner,demon_attack"
"""Games that split, and two that look alike."""

CASES = {
    "one_environment": [],
    "eight_environments": [
        *("--sequence.num_envs", "8", "--sequence.visit_steps", "48_000")
    ],
    "sticky": ["--sequence.protocol", "machado"],
    "hard": ["--games", HARD, "--sequence.visit_steps", "3_000"],
}
"""What each case changes in the config ``atari/games19``."""

RECOGNISERS = {
    "flat_fmn": [],
    "flat_fmn_without_visits": ["--recogniser.min_visit_steps", "0"],
    "fmn": ["--recogniser", "fmn", "--recogniser.min_visit_steps", "2_000"],
}


def run_case(
    case: str, recogniser: str, seed: int, further: Sequence[str], results: Path
) -> Path:
    """Runs one case under a random policy and writes its measures."""
    overrides = [*CASES[case], *RECOGNISERS[recogniser], *further, "--seed", str(seed)]
    config = config_file.read_game_config(find_config("atari/games19"), overrides)
    stream = recognise(config, None, SilentListener())
    result = {
        "config": "atari/games19",
        "overrides": overrides,
        "policy": stream.policy,
        "agent_steps": stream.total_steps,
        "date": datetime.now(UTC).date().isoformat(),
        "machine": platform.machine(),
        "measures": stream.measures()._asdict(),
        "steps_by_game_and_label": dict(
            zip(stream.games, stream.contingency().tolist(), strict=True)
        ),
    }
    results.mkdir(parents=True, exist_ok=True)
    path = results / f"{case}-{recogniser}-seed{seed}.json"
    path.write_text(json.dumps(result) + "\n", encoding="utf-8")
    return path


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the cases that are named, for each recogniser and seed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cases", nargs="+", choices=list(CASES))
    parser.add_argument(
        "--recognisers", nargs="+", choices=list(RECOGNISERS), default=list(RECOGNISERS)
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--results", type=Path, default=RESULTS)
    options, further = parser.parse_known_args(arguments)
    for case in options.cases:
        for seed in options.seeds:
            for recogniser in options.recognisers:
                path = run_case(case, recogniser, seed, further, options.results)
                print(path, flush=True)


if __name__ == "__main__":
    main()
