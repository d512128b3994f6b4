"""Freed memory is kept, which shows in the page faults of updates."""

import subprocess
import sys
from pathlib import Path

COUNT_PAGE_FAULTS = """
import resource, sys
import torch
from torch import nn
from clrl import allocator

if sys.argv[1] == "keep":
    assert allocator.keep_freed_memory(), "this C library has no mallopt"
torch.set_num_threads(1)
network = nn.Sequential(
    nn.Conv2d(4, 32, 8, 4), nn.ReLU(), nn.Flatten(), nn.Linear(12_800, 256)
)
for i in range(25):
    if i == 5:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    network.zero_grad()
    network(torch.rand(32, 4, 84, 84)).sum().backward()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(how: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", COUNT_PAGE_FAULTS, how],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        check=False,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_updates_ask_the_kernel_for_memory_far_less_often() -> None:
    # Now and then the kernel takes pages back, or glibc keeps memory by itself.
    kept = min(page_faults("keep") for _ in range(3))
    assert kept < max(page_faults("default") for _ in range(3)) / 5
