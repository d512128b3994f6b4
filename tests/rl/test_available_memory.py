from pathlib import Path

import pytest

from clrl.rl.available_memory import available_bytes, left_to_groups

MIB = 2**20


def group(folder: Path, v2: bool, limit: str, used: int, cache: int) -> None:
    """A control group's files, as the kernel writes them."""
    folder.mkdir(parents=True, exist_ok=True)
    names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    if v2:
        names = ("memory.max", "memory.current", "inactive_file")
    (folder / names[0]).write_text(f"{limit}\n")
    (folder / names[1]).write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 12\n{names[2]} {cache}\n")


def membership(root: Path, text: str) -> None:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(text)


def test_the_tightest_of_all_groups_above_counts(tmp_path: Path) -> None:
    membership(tmp_path, "0::/jobs/7\n")
    top = tmp_path / "sys/fs/cgroup"
    group(top / "jobs/7", True, "max", 3 * MIB, MIB)
    group(top / "jobs", True, str(10 * MIB), 7 * MIB, 2 * MIB)
    group(top, True, str(90 * MIB), 7 * MIB, 0)
    assert sorted(left_to_groups(tmp_path)) == [5 * MIB, 83 * MIB]


@pytest.mark.parametrize("v2", [False, True])
def test_a_container_sees_its_own_group_at_the_top(tmp_path: Path, v2: bool) -> None:
    line = "0::/docker/1f" if v2 else "5:cpu,memory:/docker/1f"
    membership(tmp_path, f"9:name=systemd:/\n{line}\n")
    top = tmp_path / "sys/fs/cgroup" / ("" if v2 else "memory")
    group(top, v2, str(10 * MIB), 12 * MIB, MIB)
    assert list(left_to_groups(tmp_path)) == [0]  # over its limit, but not below 0


def test_without_control_groups_there_is_no_limit(tmp_path: Path) -> None:
    assert not list(left_to_groups(tmp_path))
    membership(tmp_path, "0::/\n")
    assert not list(left_to_groups(tmp_path))


def test_some_memory_is_left_on_this_machine() -> None:
    assert available_bytes() > MIB
