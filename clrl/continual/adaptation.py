"""Adapting a copy of the network to the examples most like the one it is shown.

Source: Sprechmann et al. (2018), Memory-based parameter adaptation.
"""

import math
from collections.abc import Callable
from typing import Generic, NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from clrl.continual.memories import ExampleMemories
from clrl.continual.memory import columns_of, concatenated
from clrl.continual.network import ContinualNetwork, eval_mode
from clrl.continual.prediction import Loss
from clrl.errors import ConfigError
from clrl.types import B, Parameters

KERNEL_EPSILON = 1e-3
"""Bounds the weight of a stored example that equals the one that is shown."""


class Neighbours(NamedTuple):
    """The K stored examples nearest to each of B inputs.

    Attributes:
        rows: Among the stored examples.
        weights: Summing to 1 for each input.
    """

    rows: Int64[Tensor, "B K"]
    weights: Float[Tensor, "B K"]


def nearest_neighbours(
    queries: Float[Tensor, "B D"], keys: Float[Tensor, "N D"], count: int
) -> Neighbours:
    """The nearest keys of each query, weighted by ``1 / (epsilon + ||h - q||^2)``.

    All keys if there are fewer than ``count``.
    """
    squared = torch.cdist(queries, keys).square()
    nearest = squared.topk(min(count, len(keys)), dim=1, largest=False)
    kernel = 1 / (KERNEL_EPSILON + nearest.values)
    return Neighbours(nearest.indices, kernel / kernel.sum(1, keepdim=True))


class MemoryBasedAdaptation(Generic[B]):
    """MbPA: predicts with parameters fitted to the neighbours of each input.

    From theta, ``steps`` times ``theta_x <- theta_x - alpha grad sum_k w_k loss_k -
    beta (theta_x - theta)``, on a copy that is thrown away. The embedding is the
    identity, so all parameters are adapted, one input after the other: a prediction
    costs ``steps`` updates for each input.

    Args:
        memories: Filled and saved elsewhere.
        inputs: What the network is shown of a batch.
        neighbours: K, at least 1.
        steps: At least 1.
        learning_rate: alpha, more than 0.
        pull: beta, the share of the way back to theta at each step, 0 to 1.

    Raises:
        ConfigError: If one of them is out of range.
    """

    def __init__(
        self,
        memories: ExampleMemories[B],
        *,
        inputs: Callable[[B], Tensor],
        neighbours: int,
        steps: int,
        learning_rate: float,
        pull: float,
    ) -> None:
        for name, count in (("neighbours", neighbours), ("adaptation_steps", steps)):
            if count < 1:
                raise ConfigError(f"{name} must be at least 1, got {count}.")
        if not (math.isfinite(learning_rate) and learning_rate > 0):
            raise ConfigError(
                f"adaptation_rate must be finite and more than 0, got {learning_rate}."
            )
        if not 0 <= pull <= 1:
            raise ConfigError(f"adaptation_pull must be between 0 and 1, got {pull}.")
        self._memories = memories
        self._inputs = inputs
        self._neighbours = neighbours
        self._steps = steps
        self._learning_rate = learning_rate
        self._pull = pull

    def __call__(
        self,
        network: ContinualNetwork,
        loss: Loss,
        inputs: Tensor,
        task: Int64[Tensor, "B"],
    ) -> Float[Tensor, "B A"]:
        """The outputs of a network adapted to each input; without a graph."""
        if not self._memories.tasks:
            with torch.no_grad():
                plain: Tensor = network(inputs, task)
            return plain
        self._memories.to(inputs.device)
        stored = concatenated([self._memories.of(k) for k in self._memories.tasks])
        keys = self._inputs(stored)
        rows, weights = nearest_neighbours(
            inputs.flatten(1).float(), keys.flatten(1).float(), self._neighbours
        )
        outputs = []
        with eval_mode(network):
            for n in range(len(task)):
                columns = {name: c[rows[n]] for name, c in columns_of(stored).items()}
                theta = self._adapted(
                    network, loss, type(stored)(**columns), weights[n]
                )
                one = (inputs[n : n + 1], task[n : n + 1])
                with torch.no_grad():
                    outputs.append(torch.func.functional_call(network, theta, one))
        return torch.cat(outputs)

    @torch.enable_grad()
    def _adapted(
        self,
        network: ContinualNetwork,
        loss: Loss,
        neighbours: B,
        weights: Float[Tensor, "K"],
    ) -> Parameters:
        start = {n: p.detach() for n, p in network.named_parameters()}
        objective = _WeightedLoss(network, loss)
        theta = start
        for _ in range(self._steps):
            theta = {n: p.detach().requires_grad_() for n, p in theta.items()}
            value = torch.func.functional_call(
                objective,
                {f"network.{n}": p for n, p in theta.items()},
                (neighbours, weights),
            )
            gradient = torch.autograd.grad(
                value, list(theta.values()), allow_unused=True, materialize_grads=True
            )
            theta = {
                name: p - self._learning_rate * g - self._pull * (p - start[name])
                for (name, p), g in zip(theta.items(), gradient, strict=True)
            }
        return {name: p.detach() for name, p in theta.items()}


class _WeightedLoss(nn.Module):
    """The loss as a module, so that it can be called with other parameters."""

    def __init__(self, network: ContinualNetwork, loss: Loss) -> None:
        super().__init__()
        self.network = network
        self.loss = loss

    def forward(self, batch: object, weights: Tensor) -> Tensor:
        return weights @ self.loss(self.network, batch)
