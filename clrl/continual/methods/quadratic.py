"""Methods whose quadratic penalty holds parameters near what earlier tasks found."""

from dataclasses import dataclass

from clrl.continual.anchors import OnlineAnchor, PerTaskAnchors
from clrl.continual.consolidation import AnchorByImportance
from clrl.continual.importance import UniformImportance
from clrl.continual.learner import Method
from clrl.continual.methods.base import (
    Domain,
    GradientsOf,
    HoldsWhatIsShared,
    Scale,
    scaled,
)
from clrl.continual.path_integral import PathIntegral
from clrl.continual.penalty import QuadraticPenalty
from clrl.continual.sensitivity import LocalSensitivity, OutputSensitivity
from clrl.types import B


@dataclass(frozen=True, kw_only=True)
class L2(HoldsWhatIsShared):
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
class EWC(HoldsWhatIsShared):
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

    importance_of: GradientsOf = "examples"
    """``examples``: the mean of squared gradients of single examples, the Fisher.
    ``batches``: the mean of squared gradients of batches, which is smaller and not the
    Fisher, but what Lopez-Paz and Ranzato (2017) compare with (their code)."""

    importance_scale: Scale = "raw"
    """``raw``, as the paper defines the penalty, or ``unit_mean``, which holds every
    task equally hard however large its outputs are; ``strength`` then compares with
    L2's."""

    own_task_active: bool = False
    """Whether a task that returns is also held by its own old anchor; our choice."""

    def build(self, domain: Domain[B]) -> Method[B]:
        """A quadratic penalty per task, weighted by the Fisher's diagonal."""
        fisher = domain.fisher_diagonal(
            self.importance,
            self.importance_batches,
            self.importance_scale,
            self.importance_of,
        )
        anchors = PerTaskAnchors(own_task_active=self.own_task_active)
        penalty = QuadraticPenalty(self.strength, anchors)
        return Method(
            penalty=penalty, consolidation=AnchorByImportance(fisher, penalty)
        )


@dataclass(frozen=True, kw_only=True)
class OnlineEWC(HoldsWhatIsShared):
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


@dataclass(frozen=True, kw_only=True)
class SI(HoldsWhatIsShared):
    """Synaptic intelligence: Zenke, Poole & Ganguli (2017)."""

    strength: float = 0.2
    """Twice the paper's c, as its penalty has no 1/2; its authors use c = 0.1 for
    permuted MNIST."""

    damping: float = 0.1
    """xi of eq. 5, in squared units of the parameters; its authors' value for
    permuted MNIST."""

    def build(self, domain: Domain[B]) -> Method[B]:
        """A quadratic penalty about the last solution, weighted by path integrals."""
        del domain
        penalty = QuadraticPenalty(self.strength, OnlineAnchor(decay=1.0))
        return Method(
            penalty=penalty, consolidation=PathIntegral(penalty, damping=self.damping)
        )


@dataclass(frozen=True, kw_only=True)
class MAS(HoldsWhatIsShared):
    """Memory aware synapses: Aljundi et al. (2018). Needs no labels and no rewards."""

    strength: float = 2.0
    """Twice the paper's lambda, as its penalty has no 1/2; 1 in its code."""

    importance_batches: int = 100
    """Batches that the sensitivity is averaged over when a task is left; our choice."""

    importance_scale: Scale = "raw"
    """``raw``, as in the paper, or ``unit_mean``, which holds every task equally hard
    however large its outputs are."""

    def build(self, domain: Domain[B]) -> Method[B]:
        """A quadratic penalty, weighted by the outputs' summed sensitivity."""
        sensitivity = OutputSensitivity(
            inputs=domain.inputs,
            max_batches=self.importance_batches,
        )
        penalty = QuadraticPenalty(self.strength, OnlineAnchor(decay=1.0))
        importance = scaled(sensitivity, self.importance_scale)
        return Method(
            penalty=penalty, consolidation=AnchorByImportance(importance, penalty)
        )


@dataclass(frozen=True, kw_only=True)
class LocalMAS(HoldsWhatIsShared):
    """Memory aware synapses, local version: a Hebbian rule for each layer.

    Aljundi et al. (2018). One forward pass, no gradient.
    """

    strength: float = 4.0
    """Four times the paper's lambda: its penalty has no 1/2, our Hebbian rule no 2."""

    importance_batches: int = 100
    """Batches that the correlations are averaged over when a task is left; our
    choice."""

    importance_scale: Scale = "raw"
    """``raw``, as in the paper, or ``unit_mean``, which holds every task equally hard
    however large its activations are."""

    def build(self, domain: Domain[B]) -> Method[B]:
        """A quadratic penalty, weighted by summed correlations of activations."""
        correlation = LocalSensitivity(
            inputs=domain.inputs, max_batches=self.importance_batches
        )
        penalty = QuadraticPenalty(self.strength, OnlineAnchor(decay=1.0))
        importance = scaled(correlation, self.importance_scale)
        return Method(
            penalty=penalty, consolidation=AnchorByImportance(importance, penalty)
        )
