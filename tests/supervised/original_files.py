"""Data sets as their authors publish them: real where they are, else small archives."""

import hashlib
import io
import tarfile
from pathlib import Path

import numpy as np
import pytest

from clrl.supervised import data

MNIST_DIR = Path(__file__).parents[3] / "shared" / "data" / "mnist"

needs_mnist = pytest.mark.skipif(
    not MNIST_DIR.is_dir(), reason="MNIST's files are not at ../shared/data/mnist"
)


def cifar_records(count: int) -> bytes:
    """Images of random classes, in the format of CIFAR-100's binary version."""
    rng = np.random.default_rng(0)
    return rng.integers(0, 100, (count, 3074), dtype=np.uint8).tobytes()


def write_cifar(folder: Path, train: int, test: int) -> str:
    """A small archive in place of CIFAR-100's; its MD5."""
    path = folder / "cifar-100-binary.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        for name, count in (("train", train), ("test", test)):
            member = tarfile.TarInfo(f"cifar-100-binary/{name}.bin")
            member.size = len(cifar_records(count))
            tar.addfile(member, io.BytesIO(cifar_records(count)))
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def accept_cifar(monkeypatch: pytest.MonkeyPatch, md5: str) -> None:
    """Lets an archive with another content than the original's be read."""
    monkeypatch.setattr(data, "_CIFAR100", data._CIFAR100._replace(md5=md5))
