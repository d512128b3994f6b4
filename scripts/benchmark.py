"""Measures speed and memory beside Stable-Baselines3, prints a table, writes JSON."""

import argparse
import dataclasses
import datetime
import json
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

import torch
from machine import machine
from measurements import FULL, QUICK, Benchmark, Effort
from rich.console import Console
from rich.table import Table
from turns import Measurement

OUTPUT = Path("docs/results/benchmark.json")
PACKAGES = ("clrl", "torch", "stable_baselines3", "ale_py", "gymnasium", "numpy")


def table(results: Mapping[str, Measurement]) -> Table:
    """The results for the eye, numbers behind them indented."""
    rows = Table("measurement", "value", "unit")
    for column in rows.columns[1:2]:
        column.justify = "right"
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
    parser.add_argument(
        "--quick", action="store_true", help="under two minutes, coarse"
    )
    parser.add_argument(
        "--output", type=Path, default=OUTPUT, help="JSON file to write"
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
    report = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "command": shlex.join(["scripts/benchmark", *sys.argv[1:]]),
        "seed": arguments.seed,
        "effort": dataclasses.asdict(effort),
        "machine": machine(PACKAGES),
    }
    torch.manual_seed(arguments.seed)
    results = {}
    with console.status("starting the agents and filling their memories") as status:
        for name, result in Benchmark(effort, arguments.seed).measurements():
            results[name] = result
            status.update(f"{name}: {result.value:.4g} {result.unit}")
    report["results"] = {name: dataclasses.asdict(r) for name, r in results.items()}
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(report, indent=2) + "\n")
    console.print(table(results))
    console.print(f"written to {arguments.output}")


if __name__ == "__main__":
    main()
