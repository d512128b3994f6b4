"""Noise on the weights of a trained network, shaped by how much each weight matters.

Kirkpatrick et al. (2017), fig. 4C: if the importance is right, noise on the weights
that do not matter leaves the score alone, however large it is.

A *shape* gives the standard deviation of each shared parameter. All shapes have one
size: the mean square over all shared parameters is 1, so that noise of different shapes
has the same expected length, and differs in its direction only.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

from clrl.continual.network import ContinualNetwork
from clrl.types import Parameters


def uniform(importance: Parameters) -> Parameters:
    """Every parameter alike."""
    return _of_unit_size({n: torch.ones_like(x) for n, x in importance.items()})


def inverse_importance(importance: Parameters, damping: float) -> Parameters:
    """Variances in proportion to ``1 / (Omega_i + lambda)``: what EWC's penalty allows.

    The diagonal of ``(F + lambda I)^-1``. The paper does not give its lambda.

    Args:
        importance: ``Omega_i``, at least 0 and positive somewhere.
        damping: lambda in multiples of the mean importance, above 0. The larger it is,
            the more the shape is like ``uniform``; the smaller, like ``null_space``.
    """
    mean = torch.cat([x.flatten() for x in importance.values()]).mean()
    return _of_unit_size(
        {n: (x + damping * mean).rsqrt() for n, x in importance.items()}
    )


def null_space(importance: Parameters) -> Parameters:
    """Only the parameters whose importance is 0, all of them alike.

    Importance below the rounding of the largest one counts as 0. Zero for every
    parameter if there is none.
    """
    largest = torch.stack([x.max() for x in importance.values()]).max()
    is_null = {
        name: x <= torch.finfo(x.dtype).eps * largest for name, x in importance.items()
    }
    return _of_unit_size({n: x.to(largest.dtype) for n, x in is_null.items()})


def reached_share(shape: Parameters) -> float:
    """The share of the parameters that noise of this shape changes."""
    reached = sum(int(x.count_nonzero()) for x in shape.values())
    return reached / sum(x.numel() for x in shape.values())


@contextmanager
def perturbed(
    network: ContinualNetwork,
    shape: Mapping[str, Tensor],
    size: float,
    generator: torch.Generator,
) -> Iterator[None]:
    """Adds fresh Gaussian noise to the shared parameters in each forward pass.

    As in the paper, which draws a new perturbation at every time step. Afterwards the
    parameters are what they were.

    Args:
        network: Must not be trained meanwhile.
        shape: By shared parameter, see above.
        size: Root mean square of the noise over all shared parameters.
        generator: On the CPU, so that the noise is the same on every device.
    """
    parameters = network.shared_parameters()
    trained = {name: p.detach().clone() for name, p in parameters.items()}

    def draw(*_: object) -> None:
        with torch.no_grad():
            for name, parameter in parameters.items():
                noise = torch.randn(parameter.shape, generator=generator)
                deviation = size * shape[name].to(parameter.device)
                parameter.copy_(trained[name] + deviation * noise.to(parameter.device))

    hook = network.register_forward_pre_hook(draw)
    try:
        yield
    finally:
        hook.remove()
        with torch.no_grad():
            for name, parameter in parameters.items():
                parameter.copy_(trained[name])


def _of_unit_size(shape: Parameters) -> Parameters:
    squares = torch.cat([x.flatten() for x in shape.values()]).square()
    # In double precision: a network has millions of parameters.
    size = squares.double().mean().sqrt()
    if not bool(size):
        return shape
    return {name: (x / size).to(x.dtype) for name, x in shape.items()}
