"""A checkpoint: a directory of safetensors files, written whole or not at all."""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor

from clrl.errors import CheckpointError

MANIFEST = "manifest.json"


def write_checkpoint(
    directory: Path,
    parts: Mapping[str, Mapping[str, Tensor]],
    facts: Mapping[str, int | str],
) -> None:
    """Writes each part as ``<part>.safetensors``, then a manifest with their hashes.

    Everything is written to a directory beside ``directory`` and renamed at the end, so
    what was there before stays good until the new checkpoint is complete.

    Args:
        directory: Replaced if it exists.
        parts: Tensors by part and name.
        facts: What else to remember, such as the number of agent steps.
    """
    fresh = directory.with_name(f"{directory.name}.{os.getpid()}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    hashes = {}
    for part, tensors in parts.items():
        path = fresh / f"{part}.safetensors"
        # Safetensors refuses views of one storage; a checkpoint wants plain copies.
        save_file({n: t.detach().cpu().clone().contiguous() for n, t in tensors.items()}, path)
        hashes[part] = _sha256(path)
        _sync(path)
    manifest = fresh / MANIFEST
    manifest.write_text(json.dumps({"facts": dict(facts), "sha256": hashes}, indent=2))
    _sync(manifest)
    if directory.exists():
        old = directory.with_name(f"{directory.name}.{os.getpid()}.old")
        directory.rename(old)
        fresh.rename(directory)
        shutil.rmtree(old)
    else:
        fresh.rename(directory)
    _sync(directory.parent)


def read_checkpoint(directory: Path) -> dict[str, dict[str, Tensor]]:
    """The parts of a checkpoint, on the CPU.

    Raises:
        CheckpointError: It is missing, incomplete or altered.
    """
    manifest = directory / MANIFEST
    if not manifest.is_file():
        raise CheckpointError(
            f"expected a checkpoint in {directory}, found no {MANIFEST}; the run may have "
            "stopped before it saved one."
        )
    parts = {}
    for part, expected in json.loads(manifest.read_text())["sha256"].items():
        path = directory / f"{part}.safetensors"
        if not path.is_file() or _sha256(path) != expected:
            raise CheckpointError(
                f"{path} is missing or was altered since it was written (its hash differs "
                f"from {MANIFEST}); restore it or train again."
            )
        parts[part] = load_file(path)
    return parts


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
