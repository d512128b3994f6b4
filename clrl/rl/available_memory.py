"""How much memory there is: the machine's, within what a container or job may use."""

import os
from collections.abc import Iterator
from pathlib import Path

import torch

_V2 = ("memory.max", "memory.current", "inactive_file")
_V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


def available_bytes(gpu: torch.device | None = None) -> int:
    """Memory that can be taken without swapping or being killed, as the kernel says.

    Args:
        gpu: Whose memory is meant; None is the host's.
    """
    if gpu is not None and gpu.type == "cuda":
        return torch.cuda.mem_get_info(gpu)[0]
    return min([_free_on_host(), *left_to_groups()])


def left_to_groups(root: Path = Path("/")) -> Iterator[int]:
    """What each control group this process is in has left; Docker, Slurm and such.

    Those with a limit only. File caches count as left, as the kernel gives them up.

    Args:
        root: Where ``/proc`` and ``/sys`` are.
    """
    listed = root / "proc/self/cgroup"
    if not listed.is_file():
        return
    mounts = root / "sys/fs/cgroup"
    for line in listed.read_text().splitlines():
        number, controllers, path = line.split(":", 2)
        if number == "0":
            top, names = mounts, _V2
        elif "memory" in controllers.split(","):
            top, names = mounts / "memory", _V1
        else:
            continue
        # A container may see its own group as the top, under the host's path for it.
        group = top / path.strip("/")
        for folder in {top, group, *group.parents}:
            if folder.is_relative_to(top):
                yield from _left_to(folder, *names)


def _left_to(folder: Path, limit: str, usage: str, cache: str) -> Iterator[int]:
    try:
        allowed = (folder / limit).read_text().strip()
        used = int((folder / usage).read_text())
        counts = dict(
            line.split() for line in (folder / "memory.stat").read_text().splitlines()
        )
    except OSError:
        return
    if allowed != "max":
        yield max(0, int(allowed) - used + int(counts.get(cache, 0)))


def _free_on_host() -> int:
    # Free pages alone leave out the file cache, which the kernel gives up on demand.
    meminfo = Path("/proc/meminfo")
    if meminfo.is_file():
        for line in meminfo.read_text().splitlines():
            name, _, amount = line.partition(":")
            if name == "MemAvailable":
                return int(amount.split()[0]) * 1024
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
