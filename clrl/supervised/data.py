"""The data sets a config can name: images with labels, for training and testing."""

import io
import struct
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from clrl.errors import ConfigError, DataError
from clrl.supervised.data_files import DataFile, read_data_file


class Examples(NamedTuple):
    """Images with a class each.

    Attributes:
        images: Grey [N, H, W] or colour [N, channels, H, W], 0 to 255.
        labels: The class of each image.
    """

    images: UInt8[Tensor, "N *image"]
    labels: Int64[Tensor, "N"]


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A data set in memory.

    Attributes:
        name: As a config gives it.
        train: Examples to learn from.
        test: Examples to be scored on.
        classes: Number of classes; labels count from 0.
        md5s: Of the files it was read from, by name.
    """

    name: str
    train: Examples
    test: Examples
    classes: int
    md5s: Mapping[str, str]

    def to(self, device: torch.device | str) -> "Dataset":
        """The same on another device."""
        return replace(
            self,
            train=Examples(*(tensor.to(device) for tensor in self.train)),
            test=Examples(*(tensor.to(device) for tensor in self.test)),
        )

    def holding_out(self, count: int, key: str = "held_out_examples") -> "Dataset":
        """The same, with the last ``count`` training examples in place of the test set.

        Raises:
            ConfigError: There would be none left to train on; says so of ``key``.
        """
        if count >= len(self.train.labels):
            raise ConfigError(
                f"{key} must be below {len(self.train.labels)}, the training examples "
                f"of {self.name}, got {count}; lower it."
            )
        return replace(
            self,
            train=Examples(*(tensor[:-count] for tensor in self.train)),
            test=Examples(*(tensor[-count:] for tensor in self.train)),
        )


# ---- MNIST --------------------------------------------------------------------------

_MNIST_MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist",
    "https://storage.googleapis.com/cvdf-datasets/mnist",
)
_MNIST_MD5S = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
_IDX_UINT8 = 8


def load_mnist(data_dir: Path | None) -> Dataset:
    """MNIST from its original IDX files: 60,000 and 10,000 digits of 28x28 pixels.

    Raises:
        DataError: A file is missing, was altered, or cannot be fetched.
    """

    def read(name: str) -> Tensor:
        mirrors = [f"{mirror}/{name}.gz" for mirror in _MNIST_MIRRORS]
        file = DataFile(name, _MNIST_MD5S[name], mirrors)
        return torch.from_numpy(parse_idx(read_data_file(file, "mnist", data_dir)))

    def examples(prefix: str) -> Examples:
        return Examples(
            read(f"{prefix}-images-idx3-ubyte"),
            read(f"{prefix}-labels-idx1-ubyte").long(),
        )

    return Dataset(
        name="mnist",
        train=examples("train"),
        test=examples("t10k"),
        classes=10,
        md5s=_MNIST_MD5S,
    )


def parse_idx(content: bytes) -> UInt8[np.ndarray, "..."]:
    """The array in an IDX file of unsigned bytes.

    The format: two zero bytes, the type, the number of axes, each axis's length as a
    big-endian 32-bit integer, then the values, the last axis fastest.

    Raises:
        DataError: It is no such file, or is not whole.
    """
    header = 4
    if len(content) < header or content[:3] != bytes([0, 0, _IDX_UINT8]):
        raise DataError(
            "an IDX file of bytes must begin with 0, 0, 8, got "
            f"{list(content[:3])}; replace the file."
        )
    axes = content[3]
    start = header + 4 * axes
    shape = struct.unpack(f">{axes}I", content[header:start].ljust(4 * axes, b"\0"))
    if len(content) != start + prod(shape):
        raise DataError(
            f"an IDX file of shape {shape} must have {start + prod(shape)} bytes, got "
            f"{len(content)}; replace the file."
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape).copy()


# ---- digits -------------------------------------------------------------------------

_DIGITS_TEST_SHARE = 0.2
_DIGITS_LARGEST = 16  # grey levels count from 0 to 16


def load_small_digits(data_dir: Path | None) -> Dataset:
    """scikit-learn's digits, which need no file: 1,797 digits of 8x8 pixels.

    The last fifth of each class is for testing; the authors' own division is lost.
    """
    from sklearn.datasets import load_digits  # noqa: PLC0415 - takes a second

    del data_dir
    digits = load_digits()
    images = np.rint(digits.images * (255 / _DIGITS_LARGEST)).astype(np.uint8)
    labels = digits.target.astype(np.int64)
    is_test = np.zeros(len(labels), dtype=bool)
    for label in range(10):
        (rows,) = np.nonzero(labels == label)
        is_test[rows[round(len(rows) * (1 - _DIGITS_TEST_SHARE)) :]] = True

    def part(rows: np.ndarray) -> Examples:
        return Examples(torch.from_numpy(images[rows]), torch.from_numpy(labels[rows]))

    return Dataset(
        name="digits", train=part(~is_test), test=part(is_test), classes=10, md5s={}
    )


# ---- CIFAR-100 ----------------------------------------------------------------------

_CIFAR100 = DataFile(
    "cifar-100-binary.tar.gz",
    "03b5dce01913d631647c71ecec9e9cb8",
    ["https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz"],
)
_CIFAR_IMAGE = (3, 32, 32)
_CIFAR_LABELS = 2  # coarse, fine


def load_cifar100(data_dir: Path | None) -> Dataset:
    """CIFAR-100, fine labels: 50,000 and 10,000 colour images of 32x32 pixels.

    From the authors' binary version: their Python version is a pickle, and nothing that
    was downloaded is unpickled here.

    Raises:
        DataError: The file is missing, was altered, or cannot be fetched.
    """
    archive = read_data_file(_CIFAR100, "cifar100", data_dir)
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:

        def examples(name: str) -> Examples:
            member = tar.extractfile(f"cifar-100-binary/{name}.bin")
            assert member is not None
            return parse_cifar100(member.read())

        return Dataset(
            name="cifar100",
            train=examples("train"),
            test=examples("test"),
            classes=100,
            md5s={_CIFAR100.name: _CIFAR100.md5},
        )


def parse_cifar100(content: bytes) -> Examples:
    """The images and fine labels in a file of records: coarse, fine, 3,072 pixels.

    Raises:
        DataError: The file is not a whole number of records.
    """
    size = _CIFAR_LABELS + prod(_CIFAR_IMAGE)
    if len(content) % size:
        raise DataError(
            f"a file of CIFAR-100 must have a multiple of {size} bytes, got "
            f"{len(content)}; replace it."
        )
    rows = np.frombuffer(content, np.uint8).reshape(-1, size)
    return Examples(
        torch.from_numpy(rows[:, _CIFAR_LABELS:].reshape(-1, *_CIFAR_IMAGE).copy()),
        torch.from_numpy(rows[:, 1].astype(np.int64)),
    )


# ---- all ----------------------------------------------------------------------------


class DatasetEntry(NamedTuple):
    """What is known of a data set before it is read.

    Attributes:
        meaning: In a few words.
        classes: Number of classes.
        load: Reads it; the argument is the data directory.
    """

    meaning: str
    classes: int
    load: Callable[[Path | None], Dataset]


DATASETS: Mapping[str, DatasetEntry] = MappingProxyType(
    {
        "digits": DatasetEntry(
            "1,797 digits of 8x8 pixels, which come along", 10, load_small_digits
        ),
        "mnist": DatasetEntry("70,000 digits of 28x28 pixels", 10, load_mnist),
        "cifar100": DatasetEntry(
            "60,000 colour images of 32x32 pixels", 100, load_cifar100
        ),
    }
)
"""The data sets by the name a config gives them."""
