"""How far two tasks need the same parameters: the overlap of their Fishers.

Kirkpatrick et al. (2017), supporting information: with both Fishers scaled to a trace
of 1, ``d^2 = 1/2 tr(F1 + F2 - 2 (F1 F2)^(1/2))`` and the overlap is ``1 - d^2``. Of
diagonals that is ``sum_i sqrt(f1_i f2_i)``, Bhattacharyya's coefficient. Unlike the
paper, whose norm lacks the square.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from clrl.errors import ConfigError


def overlap(first: Float[np.ndarray, "P"], second: Float[np.ndarray, "P"]) -> float:
    """The overlap of two diagonals, 0 (no parameter in common) to 1 (proportional).

    Raises:
        ConfigError: One of them is zero throughout, so it has no direction.
    """
    sums = first.sum(dtype=np.float64), second.sum(dtype=np.float64)
    if min(sums) <= 0:
        raise ConfigError(
            "a Fisher's diagonal must have a sum above 0 to be compared, got "
            f"{min(sums)}; train for longer, or average over more examples."
        )
    shares = np.sqrt(first / sums[0]) * np.sqrt(second / sums[1])
    return float(shares.sum(dtype=np.float64))


def overlap_by_layer(
    first: Mapping[str, Float[np.ndarray, "..."]],
    second: Mapping[str, Float[np.ndarray, "..."]],
) -> dict[str, float]:
    """The overlap of each layer, its weights and biases together, scaled by layer.

    Args:
        first: A Fisher's diagonal by parameter, ``<layer>.weight``, ``<layer>.bias``.
        second: Of the same parameters.

    Raises:
        ConfigError: A layer's diagonal is zero throughout.
    """
    layers: dict[str, list[str]] = {}
    for name in first:
        layers.setdefault(name.rpartition(".")[0], []).append(name)
    return {
        layer: overlap(_joined(first, names), _joined(second, names))
        for layer, names in layers.items()
    }


def _joined(
    diagonal: Mapping[str, Float[np.ndarray, "..."]], names: list[str]
) -> Float[np.ndarray, "P"]:
    return np.concatenate([diagonal[name].ravel() for name in names])
