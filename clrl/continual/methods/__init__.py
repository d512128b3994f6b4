"""The methods a config can name: each is a choice for every seam of the learner."""

from collections.abc import Mapping
from types import MappingProxyType

from clrl.continual.methods.base import Domain, MethodConfig, Scale
from clrl.continual.methods.baselines import Finetune
from clrl.continual.methods.quadratic import EWC, L2, SI, OnlineEWC

__all__ = [
    "EWC",
    "L2",
    "METHODS",
    "SI",
    "Domain",
    "Finetune",
    "MethodConfig",
    "OnlineEWC",
    "Scale",
]

METHODS: Mapping[str, type[MethodConfig]] = MappingProxyType(
    {
        "finetune": Finetune,
        "l2": L2,
        "ewc": EWC,
        "online_ewc": OnlineEWC,
        "si": SI,
    }
)
"""The methods by the name a config gives them."""
