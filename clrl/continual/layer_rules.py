"""What one layer's inputs and output gradient tell of each example's own gradients.

With A what enters a layer and G what comes back to its output, for example n::

    linear   d s_n / d W = outer(G_n, A_n)
    conv     d s_n / d W = G_n unfold(A_n)^T, a sum over positions
"""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias, cast

import torch
from torch import Tensor, nn

Transform: TypeAlias = Callable[[Tensor], Tensor]
"""Elementwise, with ``phi(a b) = phi(a) phi(b)``: ``torch.square`` or ``torch.abs``."""


_LINEAR_AXES = 2  # [B, I]
_CONV2D_AXES = 4  # [B, I, H, W]


class LayerRule(NamedTuple):
    """How a kind of layer gets sums over its examples' gradients.

    Attributes:
        applies: Whether the rule holds for a layer and the inputs it was called with.
        prepare: ``A`` from a layer and the inputs it was called with.
        sums: ``sum_n w_n phi(d s_n / d W)`` and the same of the bias, from ``A``, ``G``
            (the gradient of the layer's outputs, [B, ...]), ``w`` [B] and ``phi``. The
            former may be flattened beyond its first axis.
        stacked: ``sum_n d s_n / d W`` and the same of the bias over each of K runs of
            equally many examples, [K, ...], from ``A``, ``G`` and K, in the dtype of
            ``G``; None where that would take too much memory.
    """

    applies: Callable[[nn.Module, Tensor], bool]
    prepare: Callable[[nn.Module, Tensor], Tensor]
    sums: Callable[[Tensor, Tensor, Tensor, Transform], tuple[Tensor, Tensor]]
    stacked: Callable[[Tensor, Tensor, int], tuple[Tensor, Tensor]] | None = None


def _linear_applies(module: nn.Module, inputs: Tensor) -> bool:
    return inputs.dim() == _LINEAR_AXES


def _linear_prepare(module: nn.Module, inputs: Tensor) -> Tensor:
    return inputs


def _linear_sums(
    A: Tensor, G: Tensor, weights: Tensor, phi: Transform
) -> tuple[Tensor, Tensor]:
    """For A [B, I] and G [B, O]: phi of an outer product is the product of the phis."""
    weighted = weights[:, None] * phi(G)
    return weighted.T @ phi(A), weighted.sum(0)


def _linear_stacked(A: Tensor, G: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """For A [K N, I] and G [K N, O]: a product for each of K runs."""
    A, G = (x.view(count, -1, x.shape[1]) for x in (A, G))
    return torch.bmm(G.transpose(1, 2), A.to(G.dtype)), G.sum(1)


def _conv2d_applies(module: nn.Module, inputs: Tensor) -> bool:
    conv = cast("nn.Conv2d", module)
    return (
        inputs.dim() == _CONV2D_AXES
        and conv.groups == 1
        and conv.padding_mode == "zeros"
        and conv.padding not in ("same", "valid")
    )


def _conv2d_prepare(module: nn.Module, inputs: Tensor) -> Tensor:
    conv = cast("nn.Conv2d", module)
    return nn.functional.unfold(
        inputs,
        conv.kernel_size,
        dilation=conv.dilation,
        padding=cast("tuple[int, int]", conv.padding),
        stride=conv.stride,
    )


def _conv2d_sums(
    A: Tensor, G: Tensor, weights: Tensor, phi: Transform
) -> tuple[Tensor, Tensor]:
    """For A [B, I, L] and G [B, O, H, W]: positions L = H W are summed before phi."""
    G = G.flatten(2)  # [B, O, L]
    per_example = torch.bmm(G, A.transpose(1, 2))  # [B, O, I]
    return (
        torch.tensordot(weights, phi(per_example), dims=1),
        torch.tensordot(weights, phi(G.sum(2)), dims=1),
    )


# By exact type: a subclass may compute something else, and takes the general path.
RULES: dict[type[nn.Module], LayerRule] = {
    nn.Linear: LayerRule(
        _linear_applies, _linear_prepare, _linear_sums, _linear_stacked
    ),
    nn.Conv2d: LayerRule(_conv2d_applies, _conv2d_prepare, _conv2d_sums),
}
