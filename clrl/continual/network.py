"""What a network must offer so that continual-learning methods can work on it."""

import abc
from collections.abc import Iterator
from contextlib import contextmanager

from jaxtyping import Float, Int64
from torch import Tensor, nn

from clrl.types import TaskId

MASKED = -1e4
"""The output for an answer that a task does not have: its probability is exactly 0.

Finite, because an infinite one would turn 0 times its logarithm into NaN.
"""


class TaskOwned(nn.Module):
    """Base of modules whose parameters belong to single tasks: gains and biases, heads.

    Penalties leave these parameters alone, because a task's own part cannot be
    overwritten by another task.
    """


class ContinualNetwork(nn.Module, abc.ABC):
    """A network whose forward pass is told the task of each example."""

    @abc.abstractmethod
    def forward(self, inputs: Tensor, task: Int64[Tensor, "B"]) -> Float[Tensor, "B A"]:
        """The outputs for ``inputs`` [B, ...], each under its own task.

        Under ``NO_TASK`` they come from what all tasks share.
        """

    def activations(
        self, inputs: Tensor, task: Int64[Tensor, "B"]
    ) -> list[Float[Tensor, "B F ..."]]:
        """What each hidden layer puts out for ``inputs``, past its activation function.

        Networks that do not override this show none.
        """
        del inputs, task
        return []

    def readout(
        self, embedding: Float[Tensor, "B F"], task: Int64[Tensor, "B"]
    ) -> Float[Tensor, "B A"]:
        """The outputs for what the last hidden layer puts out, flattened.

        Networks that do not override this have no embedding.
        """
        raise NotImplementedError

    def readout_parameters(self) -> frozenset[str]:
        """The names of the parameters that ``readout`` uses; none: no embedding."""
        return frozenset()

    def begin(self, task: TaskId, after: TaskId) -> None:
        """Prepares for ``task``, never met before, which follows the task ``after``.

        Networks that do not override this need no preparation.
        """

    def shared_parameters(self) -> dict[str, nn.Parameter]:
        """The parameters that all tasks share: by name, all outside ``TaskOwned``."""
        owned = {
            id(parameter)
            for module in self.modules()
            if isinstance(module, TaskOwned)
            for parameter in module.parameters()
        }
        return {
            name: parameter
            for name, parameter in self.named_parameters()
            if id(parameter) not in owned
        }


@contextmanager
def eval_mode(network: nn.Module) -> Iterator[None]:
    """Puts every module into eval mode, then each back into the mode it had."""
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training
