"""What every method a config can name is given, and gives."""

import abc
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, Literal, TypeAlias

import torch
from torch import Tensor

from clrl.continual.importance import (
    FisherDiagonal,
    Importance,
    Statistic,
    UnitMean,
)
from clrl.continual.learner import Method
from clrl.errors import unknown_name
from clrl.types import B

Scale: TypeAlias = Literal["raw", "unit_mean"]
"""``raw``: the importance as it is; ``unit_mean``: each task's divided by its mean."""


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
        return scaled(fisher, scale)

    def inputs(self, batch: B) -> Tensor:
        """What the network is shown of ``batch``, [B, ...]."""
        return next(iter(self.statistics.values())).inputs(batch)


def scaled(importance: Importance[B], scale: Scale) -> Importance[B]:
    """``importance`` with each task's divided by its mean, or as it is."""
    return UnitMean(importance) if scale == "unit_mean" else importance


@dataclass(frozen=True, kw_only=True)
class MethodConfig(abc.ABC):
    """A method with its knobs, before it is fitted to a domain."""

    @abc.abstractmethod
    def build(self, domain: Domain[B]) -> Method[B]:
        """The method for ``domain``, fresh.

        Raises:
            ConfigError: If a knob is out of range, or unknown to the domain.
        """
