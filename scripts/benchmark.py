"""Measures speed and memory, games beside Stable-Baselines3; table, JSON, figure."""

import argparse
import dataclasses
import os
import shlex
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from measurements import FULL, QUICK, Benchmark, Effort
from report import stamp, write_report
from rich.console import Console
from rich.table import Column, Table
from supervised_speed import draw_step_costs, supervised_measurements
from turns import Measurement

RESULTS = Path("docs/results")
PICTURES = Path("docs/pictures")
PACKAGES = ("clrl", "torch", "stable_baselines3", "ale_py", "gymnasium", "numpy")


def table(results: Mapping[str, Measurement]) -> Table:
    """The results for the eye, numbers behind them indented."""
    rows = Table(
        Column("measurement", no_wrap=True), Column("value", justify="right"), "unit"
    )
    for name, result in results.items():
        rows.add_row(f"[bold]{name}", f"[bold]{result.value:,.4g}", result.unit)
        for part, value in result.detail.items():
            rows.add_row(f"  {part}", f"{value:,.4g}", "", style="dim")
    return rows


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description="Measures speed and memory beside Stable-Baselines3."
    )
    parser.add_argument("--quick", action="store_true", help="two minutes, coarse")
    parser.add_argument(
        "--supervised", action="store_true", help="only what needs no games"
    )
    parser.add_argument(
        "--output",
        type=Path,
        help="JSON file to write; by default docs/results/benchmark.json, or "
        "supervised_speed.json there",
    )
    parser.add_argument(
        "--pictures",
        type=Path,
        help="folder of figures to write; by default docs/pictures, none with --quick",
    )
    parser.add_argument("--seed", type=int, default=0)
    for field in dataclasses.fields(Effort):
        name = field.name.replace("_", "-")
        parser.add_argument(f"--{name}", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Measures, prints a table, writes the JSON file."""
    arguments = parse_arguments()
    chosen = {
        field.name: value
        for field in dataclasses.fields(Effort)
        if (value := getattr(arguments, field.name)) is not None
    }
    effort = dataclasses.replace(QUICK if arguments.quick else FULL, **chosen)
    console = Console()
    report: dict[str, object] = {
        **stamp(PACKAGES),
        "command": shlex.join(["scripts/benchmark", *sys.argv[1:]]),
        "seed": arguments.seed,
        "effort": dataclasses.asdict(effort),
    }
    torch.manual_seed(arguments.seed)
    started, results = time.perf_counter(), {}
    with console.status("starting the agents and filling their memories") as status:
        for name, result in measurements(effort, arguments):
            results[name] = result
            status.update(f"{name}: {result.value:.4g} {result.unit}")
    report["seconds"] = round(time.perf_counter() - started)
    report["load_average_at_end"] = os.getloadavg()[0]
    report["results"] = {name: dataclasses.asdict(r) for name, r in results.items()}
    name = "supervised_speed.json" if arguments.supervised else "benchmark.json"
    output = arguments.output or RESULTS / name
    write_report(report, output)
    console.print(table(results))
    console.print(f"written to {output}")
    pictures = arguments.pictures or (None if arguments.quick else PICTURES)
    if pictures is not None:
        pictures.mkdir(parents=True, exist_ok=True)
        picture = pictures / "step_cost.png"
        draw_step_costs(results).savefig(picture, metadata={"Software": None})
        console.print(f"written to {picture}")


def measurements(
    effort: Effort, arguments: argparse.Namespace
) -> Iterator[tuple[str, Measurement]]:
    """What was asked for."""
    if not arguments.supervised:
        yield from Benchmark(effort, arguments.seed).measurements()
    yield from supervised_measurements(
        repetitions=effort.repetitions,
        calls=effort.calls,
        gem_tasks=effort.gem_tasks,
        seed=arguments.seed,
    )


if __name__ == "__main__":
    main()
