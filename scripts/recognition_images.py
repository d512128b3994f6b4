"""How well recognisers tell supervised tasks apart: one small JSON file each.

Run from the repository's root; cases take from seconds to minutes:

    python scripts/recognition_images.py permutations rotations --seeds 0

What else stands there overrides the config, as for ``clrl recognise``.
"""

import argparse
import json
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from clrl.config import config_file
from clrl.config.library import find_config
from clrl.progress import SilentListener
from clrl.recognise.supervised import recognise

RESULTS = Path("docs/results/recognition_images")
CONFIG = "mnist/gem_inferred"

ROTATIONS = ["--stream", "rotations", "--stream.tasks", "20"]
ALL_EXAMPLES = ["--training.examples_per_task=60000", "--training.batch_size=100"]
CASES = {
    "permutations": [],
    "permutations_return": [
        *("--training.visits_per_task", "3", "--training.order", "random")
    ],
    "permutations_full_size": ALL_EXAMPLES,
    "rotations": ROTATIONS,
    "rotations_window_100": [*ROTATIONS, "--recogniser.window_images", "100"],
    "rotations_window_500": [*ROTATIONS, "--recogniser.window_images", "500"],
    "rotations_full_size": [
        *(*ROTATIONS, *ALL_EXAMPLES),
        *("--recogniser.window_images", "10_000"),
    ],
    "turn": [*ROTATIONS, "--stream.turning", "true"],
    "turn_window_500": [
        *(*ROTATIONS, "--stream.turning", "true"),
        *("--recogniser.window_images", "500"),
    ],
}
"""What each case changes in the config."""


def run_case(
    case: str, recogniser: str, seed: int, further: Sequence[str], results: Path
) -> Path:
    """Runs one case and writes its measures."""
    overrides = ["--recogniser", recogniser, *CASES[case], *further]
    overrides += ["--seed", str(seed)]
    config = config_file.read_supervised_config(find_config(CONFIG), overrides)
    stream = recognise(config, SilentListener())
    result = {
        "config": CONFIG,
        "overrides": overrides,
        "examples": stream.total_steps,
        "milliseconds_per_minibatch": (
            stream.milliseconds_per_step() * config.training.batch_size
        ),
        "date": datetime.now(UTC).date().isoformat(),
        "machine": platform.machine(),
        "measures": stream.measures()._asdict(),
        "examples_by_task_and_label": stream.contingency().tolist(),
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
    parser.add_argument("--recognisers", nargs="+", default=["flat_fmn", "fmn"])
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
