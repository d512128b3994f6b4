"""A short run from a fixed seed, and what of it must stay as it is.

``PYTHONPATH=scripts python -m tests.golden.golden_run`` writes the reference anew,
which is for changes that are meant to change results or what a checkpoint holds.
"""

import hashlib
import json
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from machine import machine

from clrl.config.games import (
    AgentConfig,
    EvaluationConfig,
    NetworkConfig,
    RunConfig,
    SequenceConfig,
)
from clrl.continual.methods import EWC
from clrl.progress import SilentListener
from clrl.recognition.recognisers import FlatForgetMeNotRecogniser
from clrl.records import Record, Train, read_records, to_line
from clrl.run import games as run
from clrl.run_directory import RunDirectory

REFERENCE = Path(__file__).with_name("reference.json")

PLAYED = ("visit", "label", "episode", "random_policy")
"""Records that hold nothing but whole numbers where all play is random."""

# Play is random throughout, so that what rounding does to weights, which differs from
# processor to processor, cannot change what is played and stored.
CONFIG = RunConfig(
    games=("pong", "breakout"),
    seed=3,
    device="cpu",
    threads=1,
    sequence=SequenceConfig(
        visit_steps=800, visits_per_game=2, num_envs=4, frame_size=42
    ),
    agent=AgentConfig(
        learning_starts=200,
        buffer_size=1_000,
        train_freq=16,
        target_update_interval=400,
        exploration_final_eps=1.0,
        replay_gib=0.1,
    ),
    network=NetworkConfig(name="small", max_tasks=8),
    method=EWC(strength=100.0, importance_batches=4),
    recogniser=FlatForgetMeNotRecogniser(),
    evaluation=EvaluationConfig(
        episodes=1, max_episode_steps=30, random_policy_episodes=1
    ),
)


class Golden(NamedTuple):
    """What a run must leave as it was.

    Attributes:
        arithmetic: What the bits of a float depend on besides the code.
        bits: SHA-256 of all records, and of each part of the checkpoint.
        played: SHA-256 of the records of kinds ``PLAYED``.
        numbers: Losses, penalties and gradient norms, in the order of the records.
    """

    arithmetic: Mapping[str, str]
    bits: Mapping[str, str]
    played: str
    numbers: list[list[float]]


def golden_of(folder: Path) -> Golden:
    """Runs ``CONFIG`` in ``folder``."""
    directory = RunDirectory.create(folder, "golden")
    run.train(CONFIG, directory, SilentListener())
    records = list(read_records(directory.records))
    manifest = json.loads((directory.checkpoint / "manifest.json").read_text())
    return Golden(
        arithmetic=arithmetic(),
        bits={"records": _sha256_of(records), **manifest["sha256"]},
        played=_sha256_of(r for r in records if r.kind in PLAYED),
        numbers=[
            [r.loss, r.penalty, r.gradient_norm]
            for r in records
            if isinstance(r, Train)
        ],
    )


def arithmetic() -> dict[str, str]:
    """Processor and library: with the same ones, floats are the same to the bit."""
    flags = next(
        line.partition(":")[2]
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith(("flags", "Features"))
    )
    return {
        "cpu": str(machine(())["cpu"]),
        "instructions": hashlib.sha256(flags.encode()).hexdigest()[:16],
        "torch": torch.__version__,
    }


def read_reference() -> Golden:
    """What the run left when the reference was written."""
    return Golden(**json.loads(REFERENCE.read_text()))


def _sha256_of(records: Iterable[Record]) -> str:
    lines = "\n".join(to_line(record) for record in records)
    return hashlib.sha256(lines.encode()).hexdigest()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        golden = golden_of(Path(folder))
    REFERENCE.write_text(json.dumps(golden._asdict(), indent=2) + "\n")
    print(f"written to {REFERENCE}")
