"""How many examples a learner gets right, without learning from them."""

import torch
from jaxtyping import Int64
from torch import Tensor

from clrl.continual.learner import ContinualLearner
from clrl.continual.network import eval_mode
from clrl.supervised.stream import ExampleBatch

BATCH_SIZE = 1_000
"""Examples that go through the network at a time."""


def accuracy(learner: ContinualLearner[ExampleBatch], batch: ExampleBatch) -> float:
    """Share of the examples whose most probable class is their label; no dropout."""
    return float((_predicted(learner, batch) == batch.labels).double().mean())


def _predicted(
    learner: ContinualLearner[ExampleBatch], batch: ExampleBatch
) -> Int64[Tensor, "B"]:
    """The most probable class of each example."""
    pieces = zip(
        torch.split(batch.inputs, BATCH_SIZE),
        torch.split(batch.task, BATCH_SIZE),
        strict=True,
    )
    with eval_mode(learner.network), torch.no_grad():
        return torch.cat([learner.predict(*piece).argmax(1) for piece in pieces])
