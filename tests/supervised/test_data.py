"""Reading data sets: the real files where they are, made-up ones for what fails."""

import gzip
import hashlib
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from clrl.errors import ConfigError, DataError
from clrl.supervised.data import (
    DATASETS,
    load_cifar100,
    load_mnist,
    load_small_digits,
    parse_cifar100,
    parse_idx,
)
from clrl.supervised.data_files import DATA_DIR_VARIABLE, DataFile, read_data_file

from .original_files import (
    MNIST_DIR,
    accept_cifar,
    cifar_records,
    needs_mnist,
    write_cifar,
)


def idx(array: np.ndarray) -> bytes:
    """``array`` as an IDX file."""
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.tobytes()


@needs_mnist
def test_mnist_is_read_from_its_original_files() -> None:
    mnist = load_mnist(MNIST_DIR.parent)
    assert mnist.train.images.shape == (60_000, 28, 28)
    assert mnist.test.images.shape == (10_000, 28, 28)
    # The published counts of the digits 0 and 1.
    assert torch.bincount(mnist.train.labels)[:2].tolist() == [5_923, 6_742]
    assert torch.bincount(mnist.test.labels)[:2].tolist() == [980, 1_135]
    # The first training image is a 5, with ink in the middle and none at the border.
    assert mnist.train.labels[0] == 5
    assert mnist.train.images[0, 14].sum() > 0
    assert mnist.train.images[0, 0].sum() == 0


@needs_mnist
def test_an_altered_file_of_mnist_is_refused_by_its_name(tmp_path: Path) -> None:
    for path in MNIST_DIR.glob("train*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    name = "train-labels-idx1-ubyte"
    altered = bytearray(gzip.decompress((tmp_path / f"{name}.gz").read_bytes()))
    altered[-1] ^= 1
    (tmp_path / f"{name}.gz").write_bytes(gzip.compress(bytes(altered), 1))
    with pytest.raises(DataError, match=rf"{name}\.gz must have the MD5"):
        load_mnist(tmp_path)


def test_a_missing_file_is_refused_with_where_to_put_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte.*--data-dir"):
        load_mnist(tmp_path)


def data_file(content: bytes) -> DataFile:
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    return DataFile("data", md5, ["http://localhost:1/data.gz"])


@pytest.mark.parametrize("place", ["data", "data.gz", "set/data", "set/data.gz"])
def test_a_file_may_be_packed_or_in_a_folder_of_its_data_set(
    tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / place
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(gzip.compress(b"abc") if place.endswith(".gz") else b"abc")
    assert read_data_file(data_file(b"abc"), "set", tmp_path) == b"abc"
    monkeypatch.setenv(DATA_DIR_VARIABLE, str(tmp_path))
    assert read_data_file(data_file(b"abc"), "set", None) == b"abc"


@pytest.mark.parametrize("how", ["cut off", "altered"])
def test_a_broken_gzip_file_is_refused(tmp_path: Path, how: str) -> None:
    packed = bytearray(gzip.compress(bytes(range(256))))
    if how == "altered":
        packed[20:60] = b"?" * 40
    else:
        packed = packed[:-4]
    (tmp_path / "data.gz").write_bytes(packed)
    with pytest.raises(DataError, match="whole gzip file"):
        read_data_file(data_file(b"abc"), "set", tmp_path)


def test_without_a_folder_a_mirror_that_gives_the_right_content_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(DATA_DIR_VARIABLE, raising=False)
    monkeypatch.setattr("pooch.os_cache", lambda _: tmp_path / "cache")
    contents = {"http://a/a.gz": b"wrong", "http://b/b.gz": b"abc"}

    def retrieve(url: str, known_hash: None, fname: str, path: Path) -> None:
        path.mkdir(exist_ok=True)
        (path / fname).write_bytes(gzip.compress(contents[url]))

    monkeypatch.setattr("pooch.retrieve", retrieve)
    file = data_file(b"abc")._replace(urls=list(contents))
    assert read_data_file(file, "set", None) == b"abc"
    # The altered download is not kept, so that it is not taken for good later.
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["b.gz"]


def test_a_file_that_no_mirror_gives_is_reported_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(DATA_DIR_VARIABLE, raising=False)
    monkeypatch.setattr("pooch.os_cache", lambda _: tmp_path)
    with pytest.raises(DataError, match=r"no mirror gives it.*--data-dir"):
        read_data_file(data_file(b"abc"), "set", None)


def test_an_idx_file_gives_the_array_it_was_made_from() -> None:
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    np.testing.assert_array_equal(parse_idx(idx(array)), array)


@pytest.mark.parametrize(
    "content", [b"", b"\0\0\x0d\1", idx(np.ones(5, np.uint8))[:-1]]
)
def test_what_is_no_whole_idx_file_is_refused(content: bytes) -> None:
    with pytest.raises(DataError, match="IDX"):
        parse_idx(content)


def test_cifar_is_read_from_the_authors_binary_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    md5 = write_cifar(tmp_path, train=3, test=2)
    with pytest.raises(DataError, match="MD5"):
        load_cifar100(tmp_path)
    accept_cifar(monkeypatch, md5)
    cifar = load_cifar100(tmp_path)
    record = np.frombuffer(cifar_records(3), np.uint8).reshape(3, 3074)[1]
    assert cifar.train.images.shape == (3, 3, 32, 32)
    assert len(cifar.test.labels) == 2
    assert cifar.train.labels[1] == record[1]  # the fine label is the second
    assert cifar.train.images[1, 2, 0, 1] == record[2 + 2 * 1024 + 1]


def test_a_file_of_cifar_that_was_cut_off_is_refused() -> None:
    with pytest.raises(DataError, match="multiple of 3074"):
        parse_cifar100(cifar_records(2)[:-1])


def test_the_digits_need_no_file_and_hold_every_class_in_both_parts() -> None:
    digits = DATASETS["digits"].load(None)
    assert len(digits.train.labels) + len(digits.test.labels) == 1_797
    for part in (digits.train, digits.test):
        assert part.images.shape[1:] == (8, 8)
        assert part.images.min() == 0
        assert part.images.max() == 255
        assert set(part.labels.tolist()) == set(range(10))
    share = len(digits.test.labels) / 1_797
    assert share == pytest.approx(0.2, abs=0.01)


def test_examples_that_are_held_out_are_scored_and_not_trained_on() -> None:
    whole = load_small_digits(None)
    part = whole.holding_out(100)
    assert torch.equal(torch.cat([part.train.images, part.test.images]), whole.train[0])
    assert torch.equal(torch.cat([part.train.labels, part.test.labels]), whole.train[1])
    assert len(part.test.labels) == 100


def test_holding_out_everything_is_refused() -> None:
    whole = load_small_digits(None)
    with pytest.raises(ConfigError, match="held_out_examples must be below"):
        whole.holding_out(len(whole.train.labels))
