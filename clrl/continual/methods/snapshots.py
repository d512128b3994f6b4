"""Methods that keep what the network was when it left earlier tasks."""

from dataclasses import dataclass

from clrl.continual.anchors import OnlineAnchor
from clrl.continual.distillation import Distillation, KeepTeacher
from clrl.continual.importance import UniformImportance
from clrl.continual.learner import Method
from clrl.continual.merging import IncrementalMomentMatching
from clrl.continual.methods.base import (
    Domain,
    HoldsWhatIsShared,
    MethodConfig,
    Scale,
)
from clrl.continual.penalty import QuadraticPenalty
from clrl.types import B


@dataclass(frozen=True, kw_only=True)
class LwF(MethodConfig):
    """Learning without forgetting: Li & Hoiem (2016).

    Unlike the paper, a new task's head is not trained alone first.
    """

    strength: float = 1.0
    """lambda_o: weight of each earlier task's distillation against the mean loss; the
    paper's value."""

    temperature: float = 2.0
    """T, by which outputs are divided before the softmax, more than 0; the paper's
    value for classifiers. Q-values want far less: 0.01 in Rusu et al. (2016)."""

    def build(self, domain: Domain[B]) -> Method[B]:
        """A penalty on the outputs, with the network left last as the teacher."""
        penalty = Distillation(
            strength=self.strength,
            temperature=self.temperature,
            inputs=domain.inputs,
        )
        return Method(penalty=penalty, consolidation=KeepTeacher(penalty))


@dataclass(frozen=True, kw_only=True)
class MeanIMM(HoldsWhatIsShared):
    """Incremental moment matching, mean: Lee et al. (2017).

    When a task is left, the network becomes the mean of the solutions so far.
    """

    transfer_strength: float = 0.0
    """Weight of the pull to the merged solution while a task is learnt (with its 1/2);
    0 is like the paper's weight transfer, more like its L2 transfer, which start from
    and pull to the solution before merging."""

    def build(self, domain: Domain[B]) -> Method[B]:
        """Merging with importance 1, and an L2 penalty about the result."""
        del domain
        penalty = QuadraticPenalty(self.transfer_strength, OnlineAnchor(decay=0.0))
        return Method(
            penalty=penalty,
            consolidation=IncrementalMomentMatching(UniformImportance(), penalty),
        )


@dataclass(frozen=True, kw_only=True)
class ModeIMM(HoldsWhatIsShared):
    """Incremental moment matching, mode: Lee et al. (2017).

    When a task is left, the network becomes the mean of the solutions so far, weighted
    by the diagonals of their Fishers.
    """

    transfer_strength: float = 0.0
    """Weight of the pull to the merged solution while a task is learnt (with its 1/2);
    0 is weight transfer alone, more is the paper's L2 transfer."""

    importance: str | None = None
    """Statistic whose Fisher is used, by name; None is the domain's default."""

    importance_batches: int = 100
    """Batches the Fisher is averaged over when a task is left; our choice."""

    importance_scale: Scale = "raw"
    """``raw``, as in the paper, or ``unit_mean``, which weighs every task alike however
    large its outputs are."""

    def build(self, domain: Domain[B]) -> Method[B]:
        """Merging by the Fisher's diagonal, and an L2 penalty about the result."""
        fisher = domain.fisher_diagonal(
            self.importance, self.importance_batches, self.importance_scale
        )
        penalty = QuadraticPenalty(self.transfer_strength, OnlineAnchor(decay=0.0))
        return Method(
            penalty=penalty, consolidation=IncrementalMomentMatching(fisher, penalty)
        )
