"""The methods a config can name: each is a choice for every seam of the learner."""

import abc
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Generic, Literal, TypeAlias

import torch

from clrl.continual.anchors import OnlineAnchor, PerTaskAnchors
from clrl.continual.consolidation import AnchorByImportance
from clrl.continual.importance import (
    FisherDiagonal,
    Importance,
    Statistic,
    UniformImportance,
    UnitMean,
)
from clrl.continual.learner import Method
from clrl.continual.penalty import QuadraticPenalty
from clrl.errors import unknown_name
from clrl.types import B

Scale: TypeAlias = Literal["raw", "unit_mean"]
"""``raw``: the Fisher as it is; ``unit_mean``: each task's divided by its mean."""


@dataclass(frozen=True, kw_only=True)
class Domain(Generic[B]):
    """What a method needs to know of the domain it is used in.

    Attributes:
        statistics: What parameters can matter for, by name; the first is the default.
        generator: Of all randomness in the methods.
    """

    statistics: Mapping[str, Statistic[B]]
    generator: torch.Generator

    def fisher_diagonal(
        self, importance: str | None, max_batches: int, scale: Scale
    ) -> Importance[B]:
        """The Fisher's diagonal of the named statistic, or of the domain's default.

        Raises:
            ConfigError: If the domain has no statistic of that name.
        """
        name = next(iter(self.statistics)) if importance is None else importance
        if name not in self.statistics:
            raise unknown_name("importance", name, self.statistics)
        fisher = FisherDiagonal(
            statistic=self.statistics[name],
            max_batches=max_batches,
            generator=self.generator,
        )
        return UnitMean(fisher) if scale == "unit_mean" else fisher


@dataclass(frozen=True, kw_only=True)
class MethodConfig(abc.ABC):
    """A method with its knobs, before it is fitted to a domain."""

    @abc.abstractmethod
    def build(self, domain: Domain[B]) -> Method[B]:
        """The method for ``domain``, fresh.

        Raises:
            ConfigError: If a knob is out of range, or unknown to the domain.
        """


@dataclass(frozen=True, kw_only=True)
class Finetune(MethodConfig):
    """Trains on, with no protection: the lower baseline."""

    def build(self, domain: Domain[B]) -> Method[B]:
        """Null objects throughout."""
        del domain
        return Method()


@dataclass(frozen=True, kw_only=True)
class L2(MethodConfig):
    """Pulls every shared parameter equally to the solution of the task left last.

    Kirkpatrick et al. (2017), fig. 3A: the penalty of EWC without the Fisher.
    """

    strength: float = 1.0
    """Weight of the penalty (with its 1/2) against the mean loss; none is published."""

    def build(self, domain: Domain[B]) -> Method[B]:
        """A quadratic penalty with importance 1, on the last solution alone."""
        del domain
        penalty = QuadraticPenalty(self.strength, OnlineAnchor(decay=0.0))
        return Method(
            penalty=penalty,
            consolidation=AnchorByImportance(UniformImportance(), penalty),
        )


@dataclass(frozen=True, kw_only=True)
class EWC(MethodConfig):
    """Elastic weight consolidation, one penalty per task: Kirkpatrick et al. (2017)."""

    strength: float = 400.0
    """lambda: weight of the penalty against the mean loss; the paper's table S2.

    The table's value belongs to the authors' own estimate of the Fisher, which they do
    not print: tune it.
    """

    importance: str | None = None
    """Statistic whose Fisher is used, by name; None is the domain's default."""

    importance_batches: int = 100
    """Batches the Fisher is averaged over when a task is left; ibid., table S2."""

    importance_scale: Scale = "raw"
    """``raw``, as the paper defines the penalty, or ``unit_mean``, which holds every
    task equally hard however large its outputs are; ``strength`` then compares with
    L2's."""

    own_task_active: bool = False
    """Whether a task that returns is also held by its own old anchor; our choice."""

    def build(self, domain: Domain[B]) -> Method[B]:
        """A quadratic penalty per task, weighted by the Fisher's diagonal."""
        fisher = domain.fisher_diagonal(
            self.importance, self.importance_batches, self.importance_scale
        )
        anchors = PerTaskAnchors(own_task_active=self.own_task_active)
        penalty = QuadraticPenalty(self.strength, anchors)
        return Method(
            penalty=penalty, consolidation=AnchorByImportance(fisher, penalty)
        )


@dataclass(frozen=True, kw_only=True)
class OnlineEWC(MethodConfig):
    """Elastic weight consolidation with one running penalty: Schwarz et al. (2018)."""

    strength: float = 175.0
    """lambda: weight of the penalty against the mean loss; CORA's value for Atari."""

    decay: float = 0.99
    """gamma: share of the old Fisher kept when a task is left, 0 to 1; CORA's value."""

    importance: str | None = None
    """Statistic whose Fisher is used, by name; None is the domain's default."""

    importance_batches: int = 100
    """Batches the Fisher is averaged over when a task is left; CORA's value."""

    importance_scale: Scale = "raw"
    """``raw``, as in CORA, or ``unit_mean``, as the paper normalises."""

    def build(self, domain: Domain[B]) -> Method[B]:
        """One quadratic penalty, weighted by a decaying sum of Fisher diagonals."""
        fisher = domain.fisher_diagonal(
            self.importance, self.importance_batches, self.importance_scale
        )
        penalty = QuadraticPenalty(self.strength, OnlineAnchor(self.decay))
        return Method(
            penalty=penalty, consolidation=AnchorByImportance(fisher, penalty)
        )


METHODS: Mapping[str, type[MethodConfig]] = MappingProxyType(
    {"finetune": Finetune, "l2": L2, "ewc": EWC, "online_ewc": OnlineEWC}
)
"""The methods by the name a config gives them."""
