"""What is added to the loss so that earlier tasks are not overwritten."""

from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor, nn

from clrl.continual.network import ContinualNetwork
from clrl.types import B_contra, TaskId


class Penalty(Protocol[B_contra]):
    """A term added to the mean objective.

    A penalty has two parts, either of which may be zero: ``loss`` goes through autograd
    together with the objective (for penalties that look at the batch and the network's
    outputs, such as distillation), and ``add_gradient`` writes its gradient down (for
    penalties that look at the parameters alone, where autograd would be wasted work).
    """

    def loss(
        self, network: ContinualNetwork, batch: B_contra, task: TaskId
    ) -> Float[Tensor, ""]:
        """The part that autograd differentiates."""
        ...

    def add_gradient(
        self, parameters: dict[str, nn.Parameter], task: TaskId
    ) -> Float[Tensor, ""]:
        """Adds the written-down gradient to ``.grad`` of the shared parameters.

        Returns:
            The value of this part of the penalty.
        """
        ...


class NoPenalty:
    """Adds nothing."""

    def loss(
        self, network: ContinualNetwork, batch: object, task: TaskId
    ) -> Float[Tensor, ""]:
        """Zero."""
        del network, batch, task
        return torch.zeros(())

    def add_gradient(
        self, parameters: dict[str, nn.Parameter], task: TaskId
    ) -> Float[Tensor, ""]:
        """Zero; no gradient is touched."""
        del parameters, task
        return torch.zeros(())
