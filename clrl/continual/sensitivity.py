"""How much a change of each parameter would change what the network computes.

Source: Aljundi et al. (2018), Memory aware synapses: learning what (not) to forget.
Neither estimator looks at labels or rewards, so any inputs will do: those of a test, or
of a place the network is going to be used in, as well as those it was trained on.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, NamedTuple

import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor, nn

from clrl.continual.importance import (
    NO_EXAMPLES,
    BatchLimit,
    OneLabel,
    mean_over_examples,
)
from clrl.continual.layer_rules import RULES
from clrl.continual.network import MASKED, ContinualNetwork, eval_mode
from clrl.types import B, Parameters


@dataclass(frozen=True)
class SquaredNorm(OneLabel[B]):
    """``s = ||F(x)||^2``, the squared 2-norm of an example's outputs; needs no label.

    Attributes:
        shown: What the network is shown of a batch.
    """

    shown: Callable[[B], Tensor]

    def inputs(self, batch: B) -> Tensor:
        """What the network is shown of ``batch``, [B, ...]."""
        return self.shown(batch)

    def labels(
        self, network: ContinualNetwork, outputs: Float[Tensor, "B A"], batch: B
    ) -> Int64[Tensor, "B"]:
        """The tasks, which are not used."""
        del network, outputs
        return batch.task

    def __call__(
        self, outputs: Float[Tensor, "B A"], labels: Shaped[Tensor, "B"]
    ) -> Float[Tensor, "B"]:
        """The squared norm of each row."""
        del labels
        return outputs.square().sum(1)


@dataclass(frozen=True, kw_only=True)
class OutputSensitivity(BatchLimit, Generic[B]):
    """``Omega = 1/N sum_n |d ||F(x_n)||^2 / d theta|``, the global version.

    The absolute value is of each example's own gradient, as the paper has it; adding up
    a batch first, as its code does, lets examples cancel. A mean over all examples of
    at most ``max_batches`` batches, no factor 1/2.

    Attributes:
        inputs: What the network is shown of a batch.
    """

    inputs: Callable[[B], Tensor]

    def __call__(self, network: ContinualNetwork, batches: Iterable[B]) -> Parameters:
        """The sensitivity by parameter name; of shared parameters only.

        Raises:
            ValueError: If ``batches`` holds no example.
        """
        return mean_over_examples(
            network,
            self.drawn(batches),
            SquaredNorm(self.inputs),
            torch.abs,
            torch.Generator(),  # no label is drawn
        )


class _Activity(NamedTuple):
    """A call of a layer: what went in and what came out."""

    layer: nn.Module
    inputs: Tensor
    output: Tensor


@dataclass(frozen=True, kw_only=True)
class LocalSensitivity(BatchLimit, Generic[B]):
    """``Omega_ij = 1/N sum_n |y_i y_j|``: input times output activation of a weight.

    The local version: the sensitivity of each layer's own squared norm, which for a
    ReLU is ``2 y_i y_j``, without the 2. A convolution's products are summed over
    positions before the absolute value is taken; a bias has ``y_j`` 1. A mean over all
    examples of at most ``max_batches`` batches.

    A layer's output activation is taken to be the ReLU of what the layer computes, the
    last layer's what it computes, 0 for classes that the task cannot answer; gains that
    tasks own are not seen. Parameters outside linear and convolution layers get 0.

    Attributes:
        inputs: What the network is shown of a batch.
    """

    inputs: Callable[[B], Tensor]

    @torch.no_grad()
    def __call__(self, network: ContinualNetwork, batches: Iterable[B]) -> Parameters:
        """The correlation by parameter name; of shared parameters only.

        Raises:
            ValueError: If ``batches`` holds no example.
        """
        shared = network.shared_parameters()
        sums = {name: torch.zeros_like(p) for name, p in shared.items()}
        names = {id(parameter): name for name, parameter in shared.items()}
        examples = 0
        with eval_mode(network):
            for batch in self.drawn(batches):
                with _listening(network) as activities:
                    outputs = network(self.inputs(batch), batch.task)
                *hidden, last = activities
                for activity in hidden:
                    _add_products(sums, names, activity, activity.output.relu())
                answered = last.output.masked_fill(outputs == MASKED, 0)
                _add_products(sums, names, last, answered)
                examples += len(batch.task)
        if examples == 0:
            raise ValueError(NO_EXAMPLES)
        return {name: total / examples for name, total in sums.items()}


@contextmanager
def _listening(network: nn.Module) -> Iterator[list[_Activity]]:
    """Fills the yielded list with the calls of all layers that have a rule."""
    activities: list[_Activity] = []

    def record(layer: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        if RULES[type(layer)].applies(layer, args[0]):
            # Copies: an activation may work in place.
            activities.append(_Activity(layer, args[0].clone(), output.clone()))

    handles = [
        module.register_forward_hook(record)
        for module in network.modules()
        if type(module) in RULES
    ]
    try:
        yield activities
    finally:
        for handle in handles:
            handle.remove()


def _add_products(
    sums: Parameters, names: dict[int, str], activity: _Activity, after: Tensor
) -> None:
    layer, inputs, _ = activity
    rule = RULES[type(layer)]
    ones = torch.ones(len(inputs), dtype=after.dtype, device=after.device)
    weight, bias = rule.sums(rule.prepare(layer, inputs), after, ones, torch.abs)
    for parameter, products in ((layer.weight, weight), (layer.bias, bias)):
        name = names.get(id(parameter))
        if name is not None:
            sums[name] += products.view(sums[name].shape)
