"""A checkpoint is there whole, or the one before is."""

import json
import os
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor

from clrl.checkpoint import MANIFEST, read_checkpoint, restoring, write_checkpoint
from clrl.errors import CheckpointError


def parts(value: float) -> dict[str, dict[str, Tensor]]:
    weights = torch.full((3, 2), value)
    return {
        "policy": {"weight": weights, "a view of it": weights[0], "turned": weights.T},
        "continual": {
            "task": torch.tensor(3),
            "counts": torch.tensor([1, 2**40]),
            "mask": torch.tensor([True, False]),
        },
        "empty": {},
    }


def assert_same(
    a: Mapping[str, Mapping[str, Tensor]], b: Mapping[str, Mapping[str, Tensor]]
) -> None:
    assert a.keys() == b.keys()
    for part in a:
        assert a[part].keys() == b[part].keys()
        for name in a[part]:
            assert a[part][name].dtype == b[part][name].dtype
            assert torch.equal(a[part][name], b[part][name])


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    directory = tmp_path / "run" / "checkpoint"
    write_checkpoint(directory, parts(0.1), {"agent_steps": 7, "note": "x"})
    assert_same(read_checkpoint(directory), parts(0.1))
    manifest = json.loads((directory / MANIFEST).read_text())
    assert manifest["facts"] == {"agent_steps": 7, "note": "x"}


def test_a_new_checkpoint_replaces_the_old_one(tmp_path: Path) -> None:
    directory = tmp_path / "checkpoint"
    write_checkpoint(directory, parts(1.0) | {"gone": {"x": torch.zeros(1)}}, {})
    write_checkpoint(directory, parts(2.0), {})
    assert_same(read_checkpoint(directory), parts(2.0))
    assert len(list(directory.iterdir())) == 1 + len(parts(2.0))
    assert list(tmp_path.iterdir()) == [directory]


def test_an_altered_byte_is_noticed_in_every_part(tmp_path: Path) -> None:
    directory = tmp_path / "checkpoint"
    write_checkpoint(directory, parts(1.0), {})
    for path in directory.glob("*.safetensors"):
        whole = path.read_bytes()
        altered = bytearray(whole)
        altered[-1] ^= 1
        path.write_bytes(altered)
        with pytest.raises(CheckpointError, match=f"{path.name} is missing or was"):
            read_checkpoint(directory)
        path.write_bytes(whole)
    assert_same(read_checkpoint(directory), parts(1.0))


def test_a_missing_part_is_noticed(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, parts(1.0), {})
    next(tmp_path.glob("policy*")).unlink()
    with pytest.raises(CheckpointError, match="is missing"):
        read_checkpoint(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"sha256": '])
def test_a_damaged_manifest_is_noticed(tmp_path: Path, text: str) -> None:
    write_checkpoint(tmp_path, parts(1.0), {})
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(CheckpointError, match="damaged"):
        read_checkpoint(tmp_path)


def test_a_checkpoint_that_is_not_there_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=f"found no {MANIFEST}"):
        read_checkpoint(tmp_path / "checkpoint")


class Interrupted(Mapping[str, Mapping[str, Tensor]]):
    """Parts whose reading is interrupted after some of them."""

    def __init__(self, whole: Mapping[str, Mapping[str, Tensor]], after: int) -> None:
        self._whole = whole
        self._left = after

    def __getitem__(self, part: str) -> Mapping[str, Tensor]:
        self._left -= 1
        if self._left < 0:
            raise KeyboardInterrupt
        return self._whole[part]

    def __iter__(self) -> Iterator[str]:
        return iter(self._whole)

    def __len__(self) -> int:
        return len(self._whole)


@pytest.mark.parametrize("after", [0, 1, 2])
def test_an_interrupted_write_leaves_the_checkpoint_before_it_good(
    tmp_path: Path, after: int
) -> None:
    write_checkpoint(tmp_path, parts(1.0), {})
    with pytest.raises(KeyboardInterrupt):
        write_checkpoint(tmp_path, Interrupted(parts(2.0), after), {})
    assert_same(read_checkpoint(tmp_path), parts(1.0))
    write_checkpoint(tmp_path, parts(3.0), {})
    assert_same(read_checkpoint(tmp_path), parts(3.0))
    assert len(list(tmp_path.iterdir())) == 1 + len(parts(3.0))


def test_ctrl_c_does_not_cut_a_write_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = (signal.SIGINT, signal.SIGTERM)
    handlers = [signal.getsignal(number) for number in numbers]
    pressed = []

    def pressing(path: Path) -> None:
        for number in numbers:
            os.kill(os.getpid(), number)
        pressed.append(path)

    monkeypatch.setattr("clrl.checkpoint._sync", pressing)
    write_checkpoint(tmp_path, parts(2.0), {})
    assert pressed
    assert_same(read_checkpoint(tmp_path), parts(2.0))
    assert [signal.getsignal(number) for number in numbers] == handlers


def test_what_does_not_fit_is_said_to_be_of_another_network(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, {"policy": torch.nn.Linear(2, 3).state_dict()}, {})
    wider = torch.nn.Linear(2, 4)
    said = pytest.raises(CheckpointError, match="is of another network")
    with said, restoring(tmp_path) as saved:
        wider.load_state_dict(saved["policy"])


@pytest.mark.parametrize("name", ["policy.new", f"{MANIFEST}.new"])
def test_a_disk_that_cannot_be_written_leaves_the_checkpoint_before_it_good(
    tmp_path: Path, name: str
) -> None:
    write_checkpoint(tmp_path, parts(1.0), {})
    # A directory where the file should go stands for a full disk.
    (tmp_path / name).mkdir()
    with pytest.raises(Exception, match="directory"):
        write_checkpoint(tmp_path, parts(2.0), {})
    assert_same(read_checkpoint(tmp_path), parts(1.0))


def test_a_first_write_that_is_interrupted_leaves_no_checkpoint(
    tmp_path: Path,
) -> None:
    with pytest.raises(KeyboardInterrupt):
        write_checkpoint(tmp_path, Interrupted(parts(2.0), after=2), {})
    with pytest.raises(CheckpointError):
        read_checkpoint(tmp_path)


def test_what_a_checkpoint_misses_is_said_where_states_are_taken(
    tmp_path: Path,
) -> None:
    write_checkpoint(tmp_path, parts(1.0), {})
    with restoring(tmp_path) as loaded:
        assert_same(loaded, parts(1.0))
    with (
        pytest.raises(CheckpointError, match=r"no 'gone'; .* another version"),
        restoring(tmp_path) as loaded,
    ):
        loaded["gone"]
