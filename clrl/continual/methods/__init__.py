"""The methods a config can name: each is a choice for every seam of the learner."""

from collections.abc import Mapping
from types import MappingProxyType

from clrl.continual.methods.base import Domain, MethodConfig, Scale
from clrl.continual.methods.baselines import Finetune
from clrl.continual.methods.quadratic import (
    EWC,
    L2,
    MAS,
    SI,
    LocalMAS,
    OnlineEWC,
)
from clrl.continual.methods.random_memory import (
    RMA,
    LearntEmbeddingRMA,
    PerTaskRMA,
    PublishedRMA,
)
from clrl.continual.methods.remembering import (
    AGEM,
    GEM,
    ExperienceReplay,
    Joint,
    MbPA,
)
from clrl.continual.methods.snapshots import LwF, MeanIMM, ModeIMM

__all__ = [
    "AGEM",
    "EWC",
    "GEM",
    "L2",
    "MAS",
    "METHODS",
    "OF_THE_NETWORK",
    "RMA",
    "SI",
    "Domain",
    "ExperienceReplay",
    "Finetune",
    "Joint",
    "LearntEmbeddingRMA",
    "LocalMAS",
    "LwF",
    "MbPA",
    "MeanIMM",
    "MethodConfig",
    "ModeIMM",
    "OnlineEWC",
    "PerTaskRMA",
    "PublishedRMA",
    "Scale",
]

METHODS: Mapping[str, type[MethodConfig]] = MappingProxyType(
    {
        "finetune": Finetune,
        "l2": L2,
        "ewc": EWC,
        "online_ewc": OnlineEWC,
        "si": SI,
        "mas": MAS,
        "mas_local": LocalMAS,
        "lwf": LwF,
        "imm_mean": MeanIMM,
        "imm_mode": ModeIMM,
        "gem": GEM,
        "agem": AGEM,
        "er": ExperienceReplay,
        "rma": RMA,
        "rma_as_published": PublishedRMA,
        "rma_per_task": PerTaskRMA,
        "rma_learnt_embedding": LearntEmbeddingRMA,
        "mbpa": MbPA,
        "joint": Joint,
    }
)
"""The methods by the name a config gives them."""

OF_THE_NETWORK: Mapping[str, str] = MappingProxyType(
    {
        "single": "finetune with no network.task_... true",
        "multimodal": "finetune with network.task_input true",
        "independent": "finetune with network.task_input, task_hidden and task_head "
        "true",
        "dropout": "finetune with network.input_dropout 0.2 and hidden_dropout 0.5",
    }
)
"""The papers' names of baselines that are no methods, and what they are instead."""
