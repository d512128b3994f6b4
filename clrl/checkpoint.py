"""A checkpoint: a directory of safetensors files, written whole or not at all."""

import hashlib
import json
import os
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
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
    """Writes each part as ``<part>-<hash>.safetensors``, then a manifest of them.

    The manifest is what makes files a checkpoint, and it is replaced in one step when
    they are complete, so a write that is cut off leaves the checkpoint of before. A
    second Ctrl-C does not cut it off.

    Args:
        directory: May hold an earlier checkpoint, which is replaced.
        parts: Tensors by part and name.
        facts: What else to remember, such as the number of agent steps.
    """
    with _undisturbed():
        directory.mkdir(parents=True, exist_ok=True)
        hashes = {part: _write(directory, part, parts[part]) for part in parts}
        manifest = directory / f"{MANIFEST}.new"
        content = {"facts": dict(facts), "sha256": hashes}
        manifest.write_text(json.dumps(content, indent=2))
        _sync(manifest)
        manifest.replace(directory / MANIFEST)
        _sync(directory)
        current = {MANIFEST, *(_file_name(*part) for part in hashes.items())}
        for path in directory.iterdir():
            if path.name not in current:
                path.unlink()


def read_checkpoint(directory: Path) -> dict[str, dict[str, Tensor]]:
    """The parts of a checkpoint, on the CPU.

    Raises:
        CheckpointError: It is missing, incomplete or altered.
    """
    manifest = directory / MANIFEST
    if not manifest.is_file():
        raise CheckpointError(
            f"expected a checkpoint in {directory}, found no {MANIFEST}; the run may "
            "have stopped before it saved one."
        )
    parts = {}
    for part, expected in _hashes(manifest).items():
        path = directory / _file_name(part, expected)
        if not path.is_file() or _sha256(path) != expected:
            raise CheckpointError(
                f"{path} is missing or was altered since it was written (its hash "
                f"differs from {MANIFEST}); restore it or train again."
            )
        parts[part] = load_file(path)
    return parts


@contextmanager
def restoring(directory: Path) -> Iterator[dict[str, dict[str, Tensor]]]:
    """The parts of a checkpoint, for as long as objects take their states from them.

    Raises:
        CheckpointError: As for ``read_checkpoint``, or an object misses a part of its
            state.
    """
    parts = read_checkpoint(directory)
    try:
        yield parts
    except KeyError as error:
        raise CheckpointError(
            f"the checkpoint in {directory} has no {error}; it was saved by another "
            "version of clrl, or with another config. Train again."
        ) from error
    except RuntimeError as error:  # torch's, of tensors that do not fit
        raise CheckpointError(
            f"the checkpoint in {directory} is of another network: {error}; it was "
            "saved by another version of clrl, or with another config, as of the size "
            "of frames."
        ) from error


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Ctrl-C and SIGTERM are not heard inside."""
    if threading.current_thread() is not threading.main_thread():
        yield  # which they do not reach
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, signal.SIG_IGN) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _write(directory: Path, part: str, tensors: Mapping[str, Tensor]) -> str:
    """Writes one part and returns its hash."""
    fresh = directory / f"{part}.new"
    # Safetensors refuses views of one storage; a checkpoint wants plain copies.
    copies = {n: t.detach().cpu().clone().contiguous() for n, t in tensors.items()}
    save_file(copies, fresh)
    _sync(fresh)
    sha256 = _sha256(fresh)
    fresh.replace(directory / _file_name(part, sha256))
    return sha256


def _file_name(part: str, sha256: str) -> str:
    return f"{part}-{sha256[:12]}.safetensors"


def _hashes(manifest: Path) -> dict[str, str]:
    try:
        hashes: dict[str, str] = json.loads(manifest.read_text())["sha256"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"expected the manifest of a checkpoint, got {manifest}, which is damaged: "
            f"{error}; restore it or train again."
        ) from error
    return hashes


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
