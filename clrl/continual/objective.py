"""What a domain asks of a network: the loss of each example."""

from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from clrl.continual.network import ContinualNetwork
from clrl.types import B_contra


@runtime_checkable
class Objective(Protocol[B_contra]):
    """A domain: the loss of each example."""

    def __call__(
        self, network: ContinualNetwork, batch: B_contra
    ) -> Float[Tensor, "B"]:
        """One loss for each example of ``batch``; the step minimises their mean."""
        ...
