"""Sums over examples of a function of each example's own gradient.

A diagonal Fisher needs ``sum_n (d s_n / d theta)^2``, MAS ``sum_n |d s_n / d theta|``.
Neither can be had from the gradient of a batch, where the examples are added up.

One forward pass records what enters each layer, one backward pass per outcome gives
what comes back to the layer's output; the rules of ``layer_rules.py`` do the rest. All
other parameters (norms, bare ones, layers called twice, tied weights) go through
``torch.func``, a chunk of examples at a time. The examples of a batch must not look at
each other: put networks with batch normalisation into eval mode.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor

from clrl.continual.layer_rules import Transform
from clrl.continual.network import ContinualNetwork
from clrl.continual.recording import RuledLayer, recording, ruled_layers
from clrl.types import Parameters

FALLBACK_EXAMPLES = 32
"""How many examples' gradients the ``torch.func`` path holds in memory at a time."""


@runtime_checkable
class Scalar(Protocol):
    """A scalar ``s`` of each example's outputs and label."""

    def __call__(
        self, outputs: Float[Tensor, "B A"], labels: Shaped[Tensor, "B *event"]
    ) -> Float[Tensor, "B"]:
        """``s`` of each example."""
        ...


@dataclass(frozen=True, kw_only=True)
class RecordedForward:
    """A forward pass from which sums over examples can be taken.

    Attributes:
        outputs: The network's outputs, attached to the graph, [B, A].
    """

    outputs: Tensor
    _network: ContinualNetwork
    _inputs: Tensor
    _task: Tensor
    _layers: Sequence[RuledLayer]

    def sum_over_examples(
        self,
        scalar: Scalar,
        weights: Float[Tensor, "K B"],
        labels: Shaped[Tensor, "K B *event"],
        phi: Transform,
    ) -> Parameters:
        """``sum_n sum_k w_kn phi(d s_kn / d theta)`` of every shared parameter.

        A sum over the examples, not a mean, accumulated in the parameters' own dtype.
        The weight multiplies ``phi`` of the gradient. ``.grad`` is not touched.

        Args:
            scalar: ``s``, whose gradient is taken.
            weights: Weight of each of K outcomes per example.
            labels: Label of each outcome, handed to ``scalar``.
            phi: Square for a Fisher, absolute value for MAS.
        """
        shared = self._network.shared_parameters()
        sums = {name: torch.zeros_like(p) for name, p in shared.items()}
        for outcome_weights, outcome_labels in zip(weights, labels, strict=True):
            self._add_recorded(sums, scalar, outcome_weights, outcome_labels, phi)
            self._add_others(sums, scalar, outcome_weights, outcome_labels, phi)
        return sums

    def _add_recorded(
        self,
        sums: Parameters,
        scalar: Scalar,
        weights: Tensor,
        labels: Tensor,
        phi: Transform,
    ) -> None:
        if not self._layers:
            return
        with torch.enable_grad():
            total = scalar(self.outputs, labels).sum()
        # Examples do not mix, so the gradient of the sum holds every example's own row.
        gradients = torch.autograd.grad(
            total,
            [layer.output for layer in self._layers],
            retain_graph=True,
            allow_unused=True,
        )
        for layer, gradient in zip(self._layers, gradients, strict=True):
            if gradient is None:
                continue
            weight, bias = layer.rule.sums(layer.prepared, gradient, weights, phi)
            sums[layer.weight] += weight.view(layer.shape)
            if layer.bias is not None:
                sums[layer.bias] += bias

    def _add_others(
        self,
        sums: Parameters,
        scalar: Scalar,
        weights: Tensor,
        labels: Tensor,
        phi: Transform,
    ) -> None:
        recorded = {layer.weight for layer in self._layers}
        recorded |= {layer.bias for layer in self._layers if layer.bias is not None}
        fixed = {name: p.detach() for name, p in self._network.named_parameters()}
        others = {name: fixed.pop(name) for name in sums if name not in recorded}
        if not others:
            return

        def scalar_of_one(
            others: Parameters, inputs: Tensor, task: Tensor, label: Tensor
        ) -> Tensor:
            outputs = torch.func.functional_call(
                self._network, {**fixed, **others}, (inputs[None], task[None])
            )
            return scalar(outputs, label[None])[0]

        gradients_of = torch.func.vmap(
            torch.func.grad(scalar_of_one), in_dims=(None, 0, 0, 0)
        )
        chunks = (
            torch.split(x, FALLBACK_EXAMPLES)
            for x in (self._inputs, self._task, labels, weights)
        )
        for inputs, task, label, weight in zip(*chunks, strict=True):
            for name, gradient in gradients_of(others, inputs, task, label).items():
                sums[name] += torch.tensordot(weight, phi(gradient), dims=1)


def record_forward(
    network: ContinualNetwork, inputs: Tensor, task: Int64[Tensor, "B"]
) -> RecordedForward:
    """The outputs for ``inputs`` [B, ...], with what sums over examples will need.

    A parameter of a linear or convolution layer must be used through that layer's call
    only; a use past it, as in ``functional.linear(x, layer.weight)``, is not seen.
    """
    with torch.enable_grad(), recording(network) as calls:
        outputs: Tensor = network(inputs, task)
    layers = ruled_layers(network, calls, batch_size=len(task))
    return RecordedForward(
        outputs=outputs,
        _network=network,
        _inputs=inputs,
        _task=task,
        _layers=layers,
    )
