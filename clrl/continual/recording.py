"""What entered each layer in a forward pass, and where its output is in the graph.

Whatever a layer's weights do to a loss follows from these two and a backward pass to
the layer's output: see ``layer_rules.py``.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple, TypeAlias, cast

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge

from clrl.continual.layer_rules import RULES, LayerRule
from clrl.continual.network import ContinualNetwork


class Call(NamedTuple):
    """One call of a module: what went in, and where in the graph its output is."""

    inputs: Tensor
    output: GradientEdge


Calls: TypeAlias = dict[nn.Module, list[Call | None]]
"""The calls of each module that had a part in the graph; None: of an unknown kind."""


class RuledLayer(NamedTuple):
    """A call whose gradients follow from a rule; ``prepared`` is ``A``, unfolded."""

    weight: str
    bias: str | None
    shape: torch.Size
    prepared: Tensor
    output: GradientEdge
    rule: LayerRule


@contextmanager
def recording(network: nn.Module) -> Iterator[Calls]:
    """Fills the yielded dict with the calls of all layers that have a rule."""
    calls: Calls = {}

    def record(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        if not output.requires_grad:
            return
        # The edge, not the output: an in-place activation would replace the latter.
        call = Call(args[0].detach(), get_gradient_edge(output)) if args else None
        calls.setdefault(module, []).append(call)

    handles = [
        module.register_forward_hook(record)
        for module in network.modules()
        if type(module) in RULES
    ]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


def ruled_layers(
    network: ContinualNetwork,
    calls: Calls,
    batch_size: int,
) -> list[RuledLayer]:
    """The calls to which a rule applies and whose parameters nothing else uses."""
    owners = Counter(
        id(parameter)
        for module in network.modules()
        for parameter in module.parameters(recurse=False)
    )
    names = {
        id(parameter): name
        for name, parameter in network.shared_parameters().items()
        if parameter.requires_grad and owners[id(parameter)] == 1
    }
    layers = []
    for module, (call, *more) in calls.items():
        if call is None or more or len(call.inputs) != batch_size:
            continue
        rule = RULES[type(module)]
        own = {id(parameter) for parameter in module.parameters(recurse=False)}
        if own <= names.keys() and rule.applies(module, call.inputs):
            layers.append(_ruled(module, call, rule, names))
    return layers


def _ruled(
    module: nn.Module, call: Call, rule: LayerRule, names: dict[int, str]
) -> RuledLayer:
    weight = cast("Tensor", module.weight)
    return RuledLayer(
        weight=names[id(weight)],
        bias=names.get(id(module.bias)),
        shape=weight.shape,
        prepared=rule.prepare(module, call.inputs),
        output=call.output,
        rule=rule,
    )
