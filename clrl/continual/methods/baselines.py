"""What continual-learning methods are compared with."""

from dataclasses import dataclass

from clrl.continual.learner import Method
from clrl.continual.methods.base import Domain, MethodConfig
from clrl.types import B


@dataclass(frozen=True, kw_only=True)
class Finetune(MethodConfig):
    """Trains on, with no protection: the lower baseline."""

    def build(self, domain: Domain[B]) -> Method[B]:
        """Null objects throughout."""
        del domain
        return Method()
