"""Adapting a copy of the network to the examples most like the one it is shown.

Source: Sprechmann et al. (2018), Memory-based parameter adaptation.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, Generic, NamedTuple

import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from clrl.continual.memories import ExampleMemories
from clrl.continual.memory import columns_of, concatenated
from clrl.continual.network import ContinualNetwork, eval_mode
from clrl.continual.objective import Objective
from clrl.errors import ConfigError
from clrl.types import B, Parameters

KERNEL_EPSILON = 1e-3
"""Bounds the weight of a stored example that equals the one that is shown."""

COPIED_PARAMETERS = 2**21
"""How many parameters the copies that are adapted at a time may have together: as many
as stay in a processor's cache."""


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
    identity, so all parameters are adapted, in a copy for each input: a prediction
    costs ``steps`` updates of ``neighbours`` examples for each input.

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
        loss: Objective[Any],
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
        at_a_time = max(1, COPIED_PARAMETERS // _count(network))
        with eval_mode(network):
            for n in torch.split(
                torch.arange(len(task), device=task.device), at_a_time
            ):
                columns = {name: c[rows[n]] for name, c in columns_of(stored).items()}
                theta = self._adapted(network, loss, type(stored), columns, weights[n])
                outputs.append(_outputs(network, theta, inputs[n], task[n]))
        return torch.cat(outputs)

    def _adapted(
        self,
        network: ContinualNetwork,
        loss: Objective[Any],
        batch: Callable[..., B],
        columns: Mapping[str, Shaped[Tensor, "B K ..."]],
        weights: Float[Tensor, "B K"],
    ) -> Parameters:
        """Each input's own parameters, [B, ...]."""
        objective = _WeightedLoss(network, loss)

        def value(
            theta: Parameters, columns: Mapping[str, Tensor], weights: Tensor
        ) -> Tensor:
            of_network = {f"network.{name}": p for name, p in theta.items()}
            arguments = (batch(**columns), weights)
            found: Tensor = functional_call(objective, of_network, arguments)
            return found

        gradient_of = _for_each(grad(value), network)
        start = {n: p.detach() for n, p in network.named_parameters()}
        theta = {n: p.expand(len(weights), *p.shape) for n, p in start.items()}
        for _ in range(self._steps):
            gradient = gradient_of(theta, columns, weights)
            theta = {
                name: g.mul_(-self._learning_rate)
                .add_(theta[name], alpha=1 - self._pull)
                .add_(start[name], alpha=self._pull)
                for name, g in gradient.items()
            }
        return theta


def _outputs(
    network: ContinualNetwork, theta: Parameters, inputs: Tensor, task: Tensor
) -> Tensor:
    """Of each input by its own parameters; without a graph."""

    def of_one(theta: Parameters, shown: Tensor, task: Tensor) -> Tensor:
        one: Tensor = functional_call(network, theta, (shown[None], task[None]))
        return one[0]

    with torch.no_grad():
        found: Tensor = _for_each(of_one, network)(theta, inputs, task)
    return found


def _for_each(
    function: Callable[..., Any], network: ContinualNetwork
) -> Callable[..., Any]:
    """``function`` of each row of its arguments, all rows at once where that can be.

    A network with parts that tasks own chooses them by the task's number, which cannot
    be done for many rows at once.
    """
    owned = len(network.shared_parameters()) < len(dict(network.named_parameters()))
    return _row_by_row(function) if owned else vmap(function)


def _row_by_row(function: Callable[..., Any]) -> Callable[..., Any]:
    """As ``vmap``, for functions of tensors and mappings to tensors."""

    def mapped(*arguments: Tensor | Mapping[str, Tensor]) -> Any:
        rows = range(len(arguments[-1]))
        found = [function(*(_row(a, n) for a in arguments)) for n in rows]
        if isinstance(found[0], Tensor):
            return torch.stack(found)
        return {name: torch.stack([row[name] for row in found]) for name in found[0]}

    return mapped


def _row(columns: Tensor | Mapping[str, Tensor], n: int) -> Any:
    if isinstance(columns, Tensor):
        return columns[n]
    return {name: column[n] for name, column in columns.items()}


def _count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


class _WeightedLoss(nn.Module):
    """The loss as a module, so that it can be called with other parameters."""

    def __init__(self, network: ContinualNetwork, loss: Objective[Any]) -> None:
        super().__init__()
        self.network = network
        self.loss = loss

    def forward(self, batch: object, weights: Tensor) -> Tensor:
        return weights @ self.loss(self.network, batch)
