"""What every file of measurements has in common."""

import datetime
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from machine import machine


def stamp(packages: Sequence[str]) -> dict[str, object]:
    """Today's date and this machine; to be asked for before anything is measured."""
    today = datetime.datetime.now(datetime.UTC).date()
    return {"date": today.isoformat(), "machine": machine(packages)}


def write_report(report: Mapping[str, object], path: Path) -> None:
    """Writes ``report`` as JSON; folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
