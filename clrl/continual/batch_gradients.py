"""The gradient of the mean loss on each of several batches.

Where all parameters belong to linear layers, one forward and one backward pass serve
all batches: with A what entered a layer and G what came back to its output, batch k of
N examples has ``d mean / d W = G_k^T A_k / N``, a product of stacked matrices. Other
networks take a backward pass for each batch. The examples of a batch must not look at
each other: batch normalisation in training mode would.
"""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from clrl.continual.layer_rules import RULES
from clrl.continual.memory import concatenated
from clrl.continual.network import ContinualNetwork
from clrl.continual.recording import RuledLayer, recording, ruled_layers
from clrl.types import B, Parameters


def batch_gradients(
    network: ContinualNetwork,
    objective: Callable[[ContinualNetwork, B], Float[Tensor, "B"]],
    batches: Sequence[B],
) -> Parameters:
    """The gradient of the mean objective on each of K batches.

    ``.grad`` is not touched.

    Returns:
        By parameter name, [K, ...]; without parameters that no batch reaches.
    """
    if _can_be_stacked(network, batches):
        joined = concatenated(batches)
        with recording(network) as calls:
            losses = objective(network, joined)
        layers = ruled_layers(network, calls, batch_size=len(losses))
        trained = _trained(network)
        if _parameters_of(layers) == trained.keys():
            return _stacked(trained, losses, layers, len(batches))
    return _one_by_one(network, objective, batches)


def _can_be_stacked(network: ContinualNetwork, batches: Sequence[B]) -> bool:
    """Whether it is worth a forward pass to see if all layers have been recorded."""
    if len(batches) == 1 or len({len(batch.task) for batch in batches}) > 1:
        return False
    owners = [m for m in network.modules() if any(True for _ in m.parameters(False))]
    return all(type(m) in RULES and RULES[type(m)].stacked for m in owners) and len(
        network.shared_parameters()
    ) == len(list(network.parameters()))


def _trained(network: ContinualNetwork) -> Parameters:
    return {name: p for name, p in network.named_parameters() if p.requires_grad}


def _parameters_of(layers: Sequence[RuledLayer]) -> set[str]:
    names = {layer.weight for layer in layers}
    return names | {layer.bias for layer in layers if layer.bias is not None}


def _stacked(
    parameters: Parameters,
    losses: Float[Tensor, "B"],
    layers: Sequence[RuledLayer],
    count: int,
) -> Parameters:
    """``parameters``' gradients on ``count`` batches, whose ``losses`` follow on."""
    total = losses.sum() * (count / len(losses))
    outputs = torch.autograd.grad(total, [layer.output for layer in layers])
    gradients: Parameters = {}
    for layer, G in zip(layers, outputs, strict=True):
        assert layer.rule.stacked is not None
        weight, bias = layer.rule.stacked(layer.prepared, G, count)
        gradients[layer.weight] = weight.to(parameters[layer.weight].dtype)
        if layer.bias is not None:
            gradients[layer.bias] = bias.to(parameters[layer.bias].dtype)
    return gradients


def _one_by_one(
    network: ContinualNetwork,
    objective: Callable[[ContinualNetwork, B], Float[Tensor, "B"]],
    batches: Sequence[B],
) -> Parameters:
    parameters = _trained(network)
    found = [
        torch.autograd.grad(
            objective(network, batch).mean(),
            list(parameters.values()),
            allow_unused=True,
        )
        for batch in batches
    ]
    columns = zip(parameters.items(), zip(*found, strict=True), strict=True)
    return {
        name: torch.stack([torch.zeros_like(p) if g is None else g for g in column])
        for (name, p), column in columns
        if any(g is not None for g in column)
    }
