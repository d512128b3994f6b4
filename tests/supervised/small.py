"""A small made-up data set, and streams of it."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from clrl.continual.task_layers import TaskLayers
from clrl.supervised.data import Dataset, Examples
from clrl.supervised.network import MLP
from clrl.supervised.stream import TaskStream
from clrl.supervised.streams import StreamConfig

CLASSES = 4


def examples(count: int, seed: int, size: int = 6) -> Examples:
    """Images that can all be told apart, and balanced labels."""
    g = torch.Generator().manual_seed(seed)
    images = torch.randint(256, (count, size, size), generator=g).to(torch.uint8)
    return Examples(images, torch.arange(count) % CLASSES)


def dataset(train: int = 24, test: int = 8, size: int = 6) -> Dataset:
    return Dataset(
        name="small",
        train=examples(train, seed=1, size=size),
        test=examples(test, seed=2, size=size),
        classes=CLASSES,
        md5s={},
    )


def mlp(
    shape: Sequence[int], outputs: int, hidden: Sequence[int], **changes: Any
) -> MLP:
    """A network; what tasks own is named among the changes."""
    own = {name: changes.pop(name) for name in list(changes) if "task_" in name}
    return MLP(shape, outputs, hidden, task_layers=TaskLayers(**own), **changes)


def stream(config: StreamConfig, data: Dataset | None = None, **changes: Any) -> Any:
    """A stream of ``dataset()``, each task visited once, 5 examples a batch."""
    data = data or dataset()
    shape = data.train.images.shape[1:]
    tasks = config.build(data.name, data.classes, shape, changes.get("seed", 0))
    values: dict[str, Any] = {
        "visits": tuple(range(len(tasks))),
        "batch_size": 5,
        "passes": 1,
        "examples_per_task": None,
        "seed": 0,
    }
    return TaskStream(dataset=data, tasks=tasks, **(values | changes))


def visit(stream: TaskStream, number: int) -> tuple[Tensor, Tensor]:
    """All images and labels of a visit, in the order in which they come."""
    arrivals = [arrival.examples for arrival in stream.batches(number)]
    return torch.cat([a.images for a in arrivals]), torch.cat(
        [a.labels for a in arrivals]
    )


def as_set(images: Tensor) -> set[tuple[int, ...]]:
    return {tuple(image.flatten().tolist()) for image in images}
