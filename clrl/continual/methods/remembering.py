"""Methods that keep examples of earlier tasks.

Each keeps copies of the batches it is given: see ``clrl.continual.memories`` for what
that means on Atari.
"""

from dataclasses import dataclass

from clrl.continual import replay
from clrl.continual.adaptation import MemoryBasedAdaptation
from clrl.continual.episodic_memory import (
    AveragedGradientEpisodicMemory,
    GradientEpisodicMemory,
)
from clrl.continual.learner import Method
from clrl.continual.memory import latest, reservoir
from clrl.continual.methods.base import Domain
from clrl.continual.methods.keeping import KeepsOfAllTasks, KeepsOfEachTask
from clrl.types import B


@dataclass(frozen=True, kw_only=True)
class GEM(KeepsOfEachTask):
    """Gradient episodic memory: Lopez-Paz & Ranzato (2017)."""

    examples_per_task: int = 256
    """The last examples of each task that are kept (1 or more); the paper's value."""

    margin: float = 0.5
    """gamma: least weight of each past gradient once one is opposed, at least 0; the
    paper's value, and its code's meaning."""

    ridge: float = 1e-3
    """Added to the diagonal of the Gram matrix, more than 0; the authors' code."""

    def build(self, domain: Domain[B]) -> Method[B]:
        """A constraint by the gradients of each earlier task's memory."""
        memories = self.memories(domain, latest)
        return Method(
            rehearsal=replay.ExperienceReplay(memories, replay.nothing),
            constraint=GradientEpisodicMemory(
                memories, margin=self.margin, ridge=self.ridge
            ),
        )


@dataclass(frozen=True, kw_only=True)
class AGEM(KeepsOfEachTask):
    """Averaged gradient episodic memory: Chaudhry et al. (2019)."""

    examples_per_task: int = 250
    """Examples of each task that are kept (1 or more), a uniform sample of those seen;
    the paper's 25 of each of MNIST's ten classes."""

    reference_size: int = 256
    """Examples of the reference batch, drawn at each step; the authors' code."""

    def build(self, domain: Domain[B]) -> Method[B]:
        """A constraint by the gradient of one batch from all earlier memories."""
        memories = self.memories(domain, reservoir)
        return Method(
            rehearsal=replay.ExperienceReplay(memories, replay.nothing),
            constraint=AveragedGradientEpisodicMemory(
                memories, reference_size=self.reference_size
            ),
        )


@dataclass(frozen=True, kw_only=True)
class ExperienceReplay(KeepsOfAllTasks):
    """Rehearsal from one reservoir: Chaudhry et al. (2019), On tiny episodic memories.

    Each step trains on the batch and on as many remembered examples.
    """

    examples: int = 5_000
    """Examples kept of all tasks together (1 or more), a uniform sample of those seen;
    our choice."""

    def build(self, domain: Domain[B]) -> Method[B]:
        """Rehearsal of examples drawn from everything that is remembered."""
        memories = self.memories(domain, reservoir)
        return Method(rehearsal=replay.ExperienceReplay(memories, replay.from_all))


@dataclass(frozen=True, kw_only=True)
class Joint(KeepsOfEachTask):
    """Trains on all tasks met so far alike.

    Each step minimises the mean loss over the batch and as many examples of every
    earlier task, so its cost grows with the number of tasks. Not the upper baseline of
    training on all tasks shuffled from the start: the last tasks get as few steps as
    with any method here.
    """

    examples_per_task: int = 60_000
    """Examples of each task that are kept (1 or more): all of MNIST's. Of a task with
    more, a uniform sample; examples that arrive again count again."""

    memory_gib: float = 16.0
    """GiB that all memories together may take; our choice."""

    def build(self, domain: Domain[B]) -> Method[B]:
        """Rehearsal of as much from each earlier task as from the current one."""
        memories = self.memories(domain, reservoir)
        return Method(
            rehearsal=replay.ExperienceReplay(memories, replay.from_each_earlier_task)
        )


@dataclass(frozen=True, kw_only=True)
class MbPA(KeepsOfEachTask):
    """Memory-based parameter adaptation: Sprechmann et al. (2018).

    Unlike the paper, whose memory is a ring, each task's is a uniform sample.

    Trains without protection; each prediction is made by a copy of the network fitted
    to the stored examples nearest to the input.
    """

    examples_per_task: int = 1_000
    """Examples of each task that are kept (1 or more), a uniform sample of those seen;
    the largest of the paper's memories for permuted MNIST."""

    neighbours: int = 10
    """K: stored examples that a copy is fitted to (1 or more); our choice, as the paper
    does not give its values."""

    adaptation_steps: int = 5
    """Updates of each copy (1 or more); our choice."""

    adaptation_rate: float = 0.1
    """alpha: learning rate of each copy, more than 0; our choice."""

    adaptation_pull: float = 0.0
    """beta: share of the way back to the network at each update, 0 to 1; our choice."""

    def build(self, domain: Domain[B]) -> Method[B]:
        """A memory for each task, and predictions that adapt to the nearest of all."""
        memories = self.memories(domain, reservoir)
        return Method(
            rehearsal=replay.ExperienceReplay(memories, replay.nothing),
            prediction=MemoryBasedAdaptation(
                memories,
                inputs=domain.inputs,
                neighbours=self.neighbours,
                steps=self.adaptation_steps,
                learning_rate=self.adaptation_rate,
                pull=self.adaptation_pull,
            ),
        )
