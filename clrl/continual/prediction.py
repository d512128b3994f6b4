"""What happens at test time."""

from typing import Protocol, runtime_checkable

from jaxtyping import Float, Int64
from torch import Tensor

from clrl.continual.network import ContinualNetwork


@runtime_checkable
class Prediction(Protocol):
    """Computes outputs at test time; may adapt to the inputs, and forget it again."""

    def __call__(
        self, network: ContinualNetwork, inputs: Tensor, task: Int64[Tensor, "B"]
    ) -> Float[Tensor, "B A"]:
        """The outputs for ``inputs`` [B, ...] under the tasks ``task``."""
        ...


class ForwardPass:
    """Predicts with the network as it is."""

    def __call__(
        self, network: ContinualNetwork, inputs: Tensor, task: Int64[Tensor, "B"]
    ) -> Float[Tensor, "B A"]:
        """The network's outputs."""
        outputs: Tensor = network(inputs, task)
        return outputs
