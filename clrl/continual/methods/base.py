"""What every method a config can name is given, and gives."""

import abc
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeAlias, TypeVar

import torch
from torch import Tensor

from clrl.continual.importance import (
    FisherDiagonal,
    Importance,
    SquaredBatchGradient,
    Statistic,
    UnitMean,
)
from clrl.continual.learner import Method
from clrl.continual.memories import ExampleMemories
from clrl.continual.memory import Retention
from clrl.continual.objective import Objective
from clrl.continual.penalty import nothing_shared
from clrl.errors import ConfigError, unknown_name
from clrl.types import B

M = TypeVar("M", bound=ExampleMemories[Any])

Scale: TypeAlias = Literal["raw", "unit_mean"]
"""``raw``: the importance as it is; ``unit_mean``: each task's divided by its mean."""

GradientsOf: TypeAlias = Literal["examples", "batches"]
"""Whose gradients are squared and then averaged."""


@dataclass(frozen=True, kw_only=True)
class Domain(Generic[B]):
    """What a method needs to know of the domain it is used in.

    Attributes:
        statistics: What parameters can matter for, by name; the first is the default.
        batch_type: The NamedTuple in which examples arrive.
        objective: The loss of each example.
        generator: Of all randomness in the methods.
    """

    statistics: Mapping[str, Statistic[B]]
    batch_type: Callable[..., B]
    objective: Objective[B]
    generator: torch.Generator

    def fisher_diagonal(
        self,
        importance: str | None,
        max_batches: int,
        scale: Scale,
        gradients_of: GradientsOf = "examples",
    ) -> Importance[B]:
        """The Fisher's diagonal of the named statistic, or of the domain's default.

        Of squared gradients of batches it is no Fisher: see ``SquaredBatchGradient``.

        Raises:
            ConfigError: If the domain has no statistic of that name.
        """
        name = next(iter(self.statistics)) if importance is None else importance
        if name not in self.statistics:
            raise unknown_name("importance", name, self.statistics)
        squared = FisherDiagonal if gradients_of == "examples" else SquaredBatchGradient
        fisher: Importance[B] = squared(
            statistic=self.statistics[name],
            max_batches=max_batches,
            generator=self.generator,
        )
        return scaled(fisher, scale)

    def inputs(self, batch: B) -> Tensor:
        """What the network is shown of ``batch``, [B, ...]."""
        return next(iter(self.statistics.values())).inputs(batch)

    def memories(
        self,
        kind: type[M],
        *,
        examples: int,
        retention: Retention,
        memory_gib: float,
    ) -> M:
        """Memories of examples, empty.

        Args:
            kind: One for each task, or one for all.
            examples: Of each memory.
            retention: Which examples are kept.
            memory_gib: GiB that all memories together may take.

        Raises:
            ConfigError: If ``examples`` or ``memory_gib`` is out of range.
        """
        if not (math.isfinite(memory_gib) and memory_gib > 0):
            raise ConfigError(
                f"memory_gib must be finite and more than 0, got {memory_gib}."
            )
        return kind(
            self.batch_type,
            capacity=examples,
            retention=retention,
            budget_bytes=int(memory_gib * 2**30),
            # Its own, so that it can be saved and what else is drawn does not matter.
            generator=torch.Generator().manual_seed(self.generator.initial_seed()),
        )


def scaled(importance: Importance[B], scale: Scale) -> Importance[B]:
    """``importance`` with each task's divided by its mean, or as it is."""
    return UnitMean(importance) if scale == "unit_mean" else importance


@dataclass(frozen=True, kw_only=True)
class MethodConfig(abc.ABC):
    """A method with its knobs, before it is fitted to a domain."""

    def check_tasks(self, tasks: int) -> None:
        """Checks the knobs against the number of tasks; any will do by default.

        Raises:
            ConfigError: If the method cannot serve so many.
        """
        del tasks

    def check_memory(self, tasks: int, example_bytes: int) -> None:
        """Checks that what is kept of so many tasks fits; by default nothing is.

        Args:
            tasks: Their number.
            example_bytes: Of one example.

        Raises:
            MemoryBudgetError: If it does not.
        """
        del tasks, example_bytes

    def check_network(self, *, shares_layers: bool, has_hidden_layers: bool) -> None:
        """Checks that the network has what the method works on; any will do by default.

        Args:
            shares_layers: Whether tasks share any layer.
            has_hidden_layers: Whether there are layers before the last.

        Raises:
            ConfigError: If the method cannot do anything with such a network.
        """
        del shares_layers, has_hidden_layers

    @abc.abstractmethod
    def build(self, domain: Domain[B]) -> Method[B]:
        """The method for ``domain``, fresh.

        Raises:
            ConfigError: If a knob is out of range, or unknown to the domain.
        """


@dataclass(frozen=True, kw_only=True)
class HoldsWhatIsShared(MethodConfig):
    """A method that holds parameters which tasks share."""

    def check_network(self, *, shares_layers: bool, has_hidden_layers: bool) -> None:
        """Raises ConfigError where tasks share no layer."""
        del has_hidden_layers
        if not shares_layers:
            raise nothing_shared()
