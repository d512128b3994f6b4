"""What continual-learning methods are compared with."""

from dataclasses import dataclass

from clrl.continual.learner import Method
from clrl.continual.methods.base import Domain, MethodConfig
from clrl.types import B


@dataclass(frozen=True, kw_only=True)
class Finetune(MethodConfig):
    """Trains on, with no protection: the lower baseline.

    With dropout in the network this is the dropout SGD of Goodfellow et al. (2014),
    which Kirkpatrick et al. (2017) compare with in fig. 3B.
    """

    def build(self, domain: Domain[B]) -> Method[B]:
        """Null objects throughout."""
        del domain
        return Method()
