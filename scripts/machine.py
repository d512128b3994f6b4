"""What numbers that were measured depend on."""

import os
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import torch

import clrl
from clrl.run_directory import git_revision


def machine(packages: Sequence[str]) -> dict[str, object]:
    """Processor, threads, load, the versions of ``packages``, and the code's own."""
    cpu = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            cpu = line.partition(":")[2].strip()
            break
    return {
        "cpu": cpu,
        "cores": len(os.sched_getaffinity(0)),
        "torch_threads": torch.get_num_threads(),
        "load_average_at_start": os.getloadavg()[0],
        "python": platform.python_version(),
        "versions": {package: version(package) for package in packages},
        "revision": git_revision(Path(clrl.__file__).parent),
    }
