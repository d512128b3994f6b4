"""Small networks, batches and slow twins for the tests of the continual core."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from clrl.continual.importance import (
    LogLikelihood,
    OneLabel,
    Statistic,
    empirical,
    exact,
    sampled,
)
from clrl.continual.learner import ContinualLearner, Method
from clrl.continual.methods import Domain
from clrl.continual.network import ContinualNetwork, TaskOwned
from clrl.continual.objective import Objective
from clrl.continual.precision import arithmetic
from clrl.types import Parameters

TASKS = 3
CLASSES = 4


class ToyBatch(NamedTuple):
    inputs: Tensor
    labels: Tensor
    task: Int64[Tensor, "B"]


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def toy_batch(shape: tuple[int, ...], seed: int = 0) -> ToyBatch:
    """Random inputs of ``shape`` [B, ...], classes and tasks."""
    g = seeded(seed)
    return ToyBatch(
        inputs=torch.randn(shape, generator=g),
        labels=torch.randint(CLASSES, (shape[0],), generator=g),
        task=torch.randint(TASKS, (shape[0],), generator=g),
    )


def cross_entropy(network: ContinualNetwork, batch: ToyBatch) -> Float[Tensor, "B"]:
    outputs = network(batch.inputs, batch.task)
    return nn.functional.cross_entropy(outputs, batch.labels, reduction="none")


def cross_entropy_in(precision: torch.dtype) -> Objective[ToyBatch]:
    """``cross_entropy`` of outputs that were computed in ``precision``."""

    def rounded(network: ContinualNetwork, batch: ToyBatch) -> Tensor:
        with arithmetic(precision, batch.inputs.device):
            outputs = network(batch.inputs, batch.task)
        return nn.functional.cross_entropy(
            outputs.float(), batch.labels, reduction="none"
        )

    return rounded


def learner_of(
    network: ContinualNetwork, method: Method[ToyBatch], lr: float = 0.1
) -> ContinualLearner[ToyBatch]:
    return ContinualLearner(
        network=network,
        optimizer=torch.optim.SGD(network.parameters(), lr=lr),
        objective=cross_entropy,
        method=method,
    )


def domain() -> Domain[ToyBatch]:
    return Domain(
        statistics={
            "sampled": LogLikelihood(sampled),
            "exact": LogLikelihood(exact),
            "empirical": LogLikelihood(empirical),
        },
        batch_type=ToyBatch,
        objective=cross_entropy,
        generator=seeded(0),
    )


@dataclass(frozen=True)
class OfOutputs(OneLabel[ToyBatch]):
    """A statistic that looks at the outputs alone and needs no label."""

    scalar: Callable[[Tensor], Tensor]

    def inputs(self, batch: ToyBatch) -> Tensor:
        return batch.inputs

    def labels(
        self,
        network: ContinualNetwork,
        outputs: Float[Tensor, "B A"],
        batch: ToyBatch,
    ) -> Int64[Tensor, "B"]:
        return batch.labels

    def __call__(
        self, outputs: Float[Tensor, "B A"], labels: Int64[Tensor, "B"]
    ) -> Float[Tensor, "B"]:
        return self.scalar(outputs)


def cut(batch: ToyBatch, sizes: Iterable[int]) -> list[ToyBatch]:
    """``batch`` in pieces of ``sizes``."""
    pieces = (torch.split(tensor, list(sizes)) for tensor in batch)
    return [ToyBatch(*piece) for piece in zip(*pieces, strict=True)]


class TaskGains(TaskOwned):
    """``(x + b_c) g_c`` for each channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gains = nn.Parameter(1 + 0.3 * torch.randn(TASKS, channels))
        self.biases = nn.Parameter(0.3 * torch.randn(TASKS, channels))

    def forward(self, x: Tensor, task: Tensor) -> Tensor:
        shape = (len(task), -1) + (1,) * (x.dim() - 2)
        return (x + self.biases[task].view(shape)) * self.gains[task].view(shape)


class GainNetwork(ContinualNetwork):
    """Bias-free layers with task gains, in-place activations, one layer with a bias."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.conv1 = nn.Conv2d(2, 3, 3, stride=2, padding=1, bias=False)
            self.gains1 = TaskGains(3)
            self.conv2 = nn.Conv2d(3, 4, (2, 3), dilation=(2, 1))
            self.fc1 = nn.Linear(16, 6, bias=False)
            self.gains2 = TaskGains(6)
            self.fc2 = nn.Linear(6, CLASSES)
        self.dropout = nn.Dropout(0.5)
        self.activation = nn.ReLU(inplace=True)

    def forward(self, inputs: Tensor, task: Int64[Tensor, "B"]) -> Float[Tensor, "B A"]:
        x = self.activation(self.gains1(self.conv1(inputs), task))
        x = self.activation(self.conv2(x)).flatten(1)
        x = self.dropout(self.activation(self.gains2(self.fc1(x), task)))
        outputs: Tensor = self.fc2(x)
        return outputs


class OddNetwork(ContinualNetwork):
    """Parameters that the layers' rules must leave to the general path."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.grouped = nn.Conv2d(2, 4, 2, groups=2)
            self.circular = nn.Conv2d(4, 4, 2, padding=1, padding_mode="circular")
            self.rows = nn.Linear(5, 6)
            self.norm = nn.LayerNorm(6)
            self.twice = nn.Linear(6, 6)
            self.encode = nn.Linear(6, 3)
            self.decode = nn.Linear(6, 3)
            self.head = nn.Linear(3, CLASSES)
            self.bare = nn.Parameter(torch.randn(6))
            self.frozen = nn.Linear(6, 6)
            self.never_used = nn.Linear(3, 3)
        self.decode.weight = self.encode.weight
        self.frozen.requires_grad_(False)

    def forward(self, inputs: Tensor, task: Int64[Tensor, "B"]) -> Float[Tensor, "B A"]:
        x = torch.tanh(self.circular(torch.tanh(self.grouped(inputs))))
        x = self.norm(self.rows(x.flatten(1, 2))).mean(1)
        x = torch.tanh(self.twice(torch.tanh(self.twice(x)))) * self.bare
        x = torch.tanh(self.frozen(x))
        x = torch.tanh(self.encode(x) * self.decode(x))
        outputs: Tensor = self.head(x)
        return outputs


class LinearNetwork(ContinualNetwork):
    """One linear layer."""

    def __init__(self, inputs: int, outputs: int, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.fc = nn.Linear(inputs, outputs)

    def forward(self, inputs: Tensor, task: Int64[Tensor, "B"]) -> Float[Tensor, "B A"]:
        outputs: Tensor = self.fc(inputs)
        return outputs


class HiddenLayer(ContinualNetwork):
    """Three inputs, a hidden layer of five units, and a readout."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.first = nn.Linear(3, 5)
            self.last = nn.Linear(5, CLASSES)

    def forward(self, inputs: Tensor, task: Int64[Tensor, "B"]) -> Float[Tensor, "B A"]:
        return self.readout(self.activations(inputs, task)[-1], task)

    def activations(self, inputs: Tensor, task: Int64[Tensor, "B"]) -> list[Tensor]:
        return [torch.relu(self.first(inputs))]

    def readout(
        self, embedding: Float[Tensor, "B F"], task: Int64[Tensor, "B"]
    ) -> Float[Tensor, "B A"]:
        outputs: Tensor = self.last(embedding)
        return outputs

    def readout_parameters(self) -> frozenset[str]:
        return frozenset({"last.weight", "last.bias"})


def one_backward_pass_per_example(
    network: ContinualNetwork,
    batches: Iterable[ToyBatch],
    statistic: Statistic[ToyBatch],
    phi: Callable[[Tensor], Tensor],
    generator: torch.Generator,
) -> Parameters:
    """The slow twin of ``mean_over_examples``."""
    network.eval()
    shared: Parameters = {
        name: p.requires_grad_() for name, p in network.shared_parameters().items()
    }
    total = {name: torch.zeros_like(p) for name, p in shared.items()}
    examples = 0
    for batch in batches:
        outputs = network(batch.inputs, batch.task)
        weights, labels = statistic.outcomes(
            network, outputs.detach(), batch, generator
        )
        for n in range(len(batch.task)):
            examples += 1
            for w, y in zip(weights, labels, strict=True):
                one = network(batch.inputs[n : n + 1], batch.task[n : n + 1])
                gradients = torch.autograd.grad(
                    statistic(one, y[n : n + 1]).sum(),
                    list(shared.values()),
                    allow_unused=True,
                )
                for name, gradient in zip(shared, gradients, strict=True):
                    if gradient is not None:
                        total[name] += w[n] * phi(gradient)
    return {name: t / examples for name, t in total.items()}
