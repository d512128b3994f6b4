"""What happens at test time."""

from typing import Any, Protocol, runtime_checkable

from jaxtyping import Float, Int64
from torch import Tensor

from clrl.continual.network import ContinualNetwork
from clrl.continual.objective import Objective


@runtime_checkable
class Prediction(Protocol):
    """Computes outputs at test time; may adapt to the inputs, and forget it again."""

    def __call__(
        self,
        network: ContinualNetwork,
        loss: Objective[Any],
        inputs: Tensor,
        task: Int64[Tensor, "B"],
    ) -> Float[Tensor, "B A"]:
        """The outputs for ``inputs`` [B, ...] under the tasks ``task``.

        Args:
            network: As it was trained; unchanged afterwards.
            loss: The domain's objective, to adapt by.
            inputs: What the network is shown.
            task: The task of each input.
        """
        ...


class ForwardPass:
    """Predicts with the network as it is."""

    def __call__(
        self,
        network: ContinualNetwork,
        loss: object,
        inputs: Tensor,
        task: Int64[Tensor, "B"],
    ) -> Float[Tensor, "B A"]:
        """The network's outputs."""
        del loss
        outputs: Tensor = network(inputs, task)
        return outputs
