"""Classification as a domain: the loss of an example, and what its Fisher is of."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from clrl.continual.importance import LogLikelihood, empirical, exact, sampled
from clrl.continual.network import ContinualNetwork
from clrl.continual.precision import arithmetic
from clrl.supervised.stream import ExampleBatch


@dataclass(frozen=True, kw_only=True)
class CrossEntropy:
    """``-log p(label | image)``; classes that a task does not have cannot compete.

    Attributes:
        precision: Of the network's arithmetic, bfloat16 by autocasting; parameters,
            their gradients and the loss itself are float32.
    """

    precision: torch.dtype = torch.float32

    def __call__(
        self, network: ContinualNetwork, batch: ExampleBatch
    ) -> Float[Tensor, "B"]:
        """The loss of each example."""
        with arithmetic(self.precision, batch.inputs.device):
            logits = network(batch.inputs, batch.task)
        return functional.cross_entropy(logits.float(), batch.labels, reduction="none")


STATISTICS: Mapping[str, LogLikelihood] = MappingProxyType(
    {
        "log_likelihood": LogLikelihood(exact),
        "log_likelihood_sampled": LogLikelihood(sampled),
        "log_likelihood_empirical": LogLikelihood(empirical),
    }
)
"""What parameters can matter for, by name; the first is the default."""
