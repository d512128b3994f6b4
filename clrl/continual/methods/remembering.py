"""Methods that keep examples of earlier tasks.

Each keeps copies of the batches it is given: see ``clrl.continual.memories`` for what
that means on Atari.
"""

from dataclasses import dataclass

from clrl.continual import replay
from clrl.continual.adaptation import MemoryBasedAdaptation
from clrl.continual.embedded_memory import (
    EmbeddedMemory,
    HeldEmbedding,
    KeepEmbeddings,
)
from clrl.continual.episodic_memory import (
    AveragedGradientEpisodicMemory,
    GradientEpisodicMemory,
)
from clrl.continual.learner import Method
from clrl.continual.memories import OneMemory, TaskMemories
from clrl.continual.memory import latest, reservoir
from clrl.continual.methods.base import (
    Domain,
    MethodConfig,
    require_an_example_each,
)
from clrl.continual.random_memory import DilutedMean, RandomMemoryAdaptation
from clrl.types import B


@dataclass(frozen=True, kw_only=True)
class GEM(MethodConfig):
    """Gradient episodic memory: Lopez-Paz & Ranzato (2017)."""

    examples_per_task: int = 256
    """The last examples of each task that are kept (1 or more); the paper's value."""

    margin: float = 0.5
    """gamma: least weight of each past gradient once one is opposed, at least 0; the
    paper's value, and its code's meaning."""

    ridge: float = 1e-3
    """Added to the diagonal of the Gram matrix, more than 0; the authors' code."""

    memory_gib: float = 1.0
    """GiB that all memories together may take; our choice."""

    def build(self, domain: Domain[B]) -> Method[B]:
        """A constraint by the gradients of each earlier task's memory."""
        memories: TaskMemories[B] = domain.memories(
            TaskMemories,
            examples=self.examples_per_task,
            retention=latest,
            memory_gib=self.memory_gib,
        )
        return Method(
            rehearsal=replay.ExperienceReplay(memories, replay.nothing),
            constraint=GradientEpisodicMemory(
                memories, margin=self.margin, ridge=self.ridge
            ),
        )


@dataclass(frozen=True, kw_only=True)
class AGEM(MethodConfig):
    """Averaged gradient episodic memory: Chaudhry et al. (2019)."""

    examples_per_task: int = 250
    """Examples of each task that are kept (1 or more), a uniform sample of those seen;
    the paper's 25 of each of MNIST's ten classes."""

    reference_size: int = 256
    """Examples of the reference batch, drawn at each step; the authors' code."""

    memory_gib: float = 1.0
    """GiB that all memories together may take; our choice."""

    def build(self, domain: Domain[B]) -> Method[B]:
        """A constraint by the gradient of one batch from all earlier memories."""
        memories: TaskMemories[B] = domain.memories(
            TaskMemories,
            examples=self.examples_per_task,
            retention=reservoir,
            memory_gib=self.memory_gib,
        )
        return Method(
            rehearsal=replay.ExperienceReplay(memories, replay.nothing),
            constraint=AveragedGradientEpisodicMemory(
                memories, reference_size=self.reference_size
            ),
        )


@dataclass(frozen=True, kw_only=True)
class ExperienceReplay(MethodConfig):
    """Rehearsal from one reservoir: Chaudhry et al. (2019), On tiny episodic memories.

    Each step trains on the batch and on as many remembered examples.
    """

    examples: int = 5_000
    """Examples kept of all tasks together (1 or more), a uniform sample of those seen;
    our choice."""

    memory_gib: float = 1.0
    """GiB that the memory may take; our choice."""

    def check_tasks(self, tasks: int) -> None:
        """Raises ConfigError where there is not an example for each task."""
        require_an_example_each(self.examples, tasks)

    def build(self, domain: Domain[B]) -> Method[B]:
        """Rehearsal of examples drawn from everything that is remembered."""
        memories: OneMemory[B] = domain.memories(
            OneMemory,
            examples=self.examples,
            retention=reservoir,
            memory_gib=self.memory_gib,
        )
        return Method(rehearsal=replay.ExperienceReplay(memories, replay.from_all))


@dataclass(frozen=True, kw_only=True)
class Joint(MethodConfig):
    """Trains on all tasks met so far alike: the upper baseline.

    Each step minimises the mean loss over the batch and as many examples of every
    earlier task, so its cost grows with the number of tasks.
    """

    examples_per_task: int = 60_000
    """Examples of each task that are kept (1 or more): all of MNIST's. Of a task with
    more, a uniform sample; examples that arrive again count again."""

    memory_gib: float = 16.0
    """GiB that all memories together may take; our choice."""

    def build(self, domain: Domain[B]) -> Method[B]:
        """Rehearsal of as much from each earlier task as from the current one."""
        memories: TaskMemories[B] = domain.memories(
            TaskMemories,
            examples=self.examples_per_task,
            retention=reservoir,
            memory_gib=self.memory_gib,
        )
        return Method(
            rehearsal=replay.ExperienceReplay(memories, replay.from_each_earlier_task)
        )


@dataclass(frozen=True, kw_only=True)
class RandomMemoryConfig(MethodConfig):
    """Random memory adaptation from one memory of all tasks, and what it keeps."""

    examples: int = 15_000
    """Rows of the one memory for all tasks (1 or more); the code's value."""

    draws: int = 32
    """Rows drawn at each update (1 or more); the code's value."""

    write_every_updates: int = 1_000
    """Updates after which the current batch is kept (1 or more); the code's value."""

    memory_gib: float = 1.0
    """GiB that the memory may take; our choice."""

    def check_tasks(self, tasks: int) -> None:
        """Raises ConfigError where there is not an example for each task."""
        require_an_example_each(self.examples, tasks)

    def rehearsal(
        self, domain: Domain[B], *, draws_empty_rows: bool
    ) -> RandomMemoryAdaptation[B]:
        """What draws from the memory, and writes to it now and then."""
        memories: OneMemory[B] = domain.memories(
            OneMemory,
            examples=self.examples,
            retention=latest,
            memory_gib=self.memory_gib,
        )
        return RandomMemoryAdaptation(
            memories,
            draws=self.draws,
            write_every_updates=self.write_every_updates,
            draws_empty_rows=draws_empty_rows,
        )


@dataclass(frozen=True, kw_only=True)
class RMA(RandomMemoryConfig):
    """Random memory adaptation: random rows of one memory are rehearsed at each update.

    As its code does it, but that only rows that hold an example are drawn.
    """

    def build(self, domain: Domain[B]) -> Method[B]:
        """Rehearsal of written rows."""
        return Method(rehearsal=self.rehearsal(domain, draws_empty_rows=False))


@dataclass(frozen=True, kw_only=True)
class PublishedRMA(RandomMemoryConfig):
    """Random memory adaptation as its published code does it, empty rows included.

    Rows that were never written to are drawn too and count in the mean, so that little
    is rehearsed while the memory is empty.
    """

    def build(self, domain: Domain[B]) -> Method[B]:
        """Rehearsal of the written rows drawn, and a mean over all rows drawn."""
        rehearsal = self.rehearsal(domain, draws_empty_rows=True)
        return Method(rehearsal=rehearsal, constraint=DilutedMean(rehearsal))


@dataclass(frozen=True, kw_only=True)
class PerTaskRMA(MethodConfig):
    """Random memory adaptation with a memory for each task, as its author proposes.

    Each step trains on the batch and on as many examples from all memories, which hold
    as much of each task once they are full.
    """

    examples_per_task: int = 1_000
    """Examples of each task that are kept (1 or more), a uniform sample of those seen;
    the largest memory of Sprechmann et al. (2018), with whom it is compared."""

    memory_gib: float = 1.0
    """GiB that all memories together may take; our choice."""

    def build(self, domain: Domain[B]) -> Method[B]:
        """Rehearsal of examples drawn from all tasks' memories."""
        memories: TaskMemories[B] = domain.memories(
            TaskMemories,
            examples=self.examples_per_task,
            retention=reservoir,
            memory_gib=self.memory_gib,
        )
        return Method(rehearsal=replay.ExperienceReplay(memories, replay.from_all))


@dataclass(frozen=True, kw_only=True)
class LearntEmbeddingRMA(MethodConfig):
    """Random memory adaptation whose memories hold what the network has learnt to see.

    The author proposes a learnt embedding and no more; this is our reading. The layers
    below the last are learnt on the first task and held from then on. When a task is
    left, what they put out for its examples is kept in place of the examples; each step
    trains the last layer on the batch and on as many of these.
    """

    examples_per_task: int = 1_000
    """Examples of each task whose embeddings are kept (1 or more); as in PerTaskRMA."""

    memory_gib: float = 1.0
    """GiB that all memories together may take; our choice."""

    def build(self, domain: Domain[B]) -> Method[B]:
        """A penalty that rehearses embeddings, and an embedding that is held."""
        memories: TaskMemories[B] = domain.memories(
            TaskMemories,
            examples=self.examples_per_task,
            retention=latest,
            memory_gib=self.memory_gib,
        )
        memory = EmbeddedMemory(
            memories, inputs=domain.inputs, objective=domain.objective
        )
        return Method(
            penalty=memory,
            constraint=HeldEmbedding(memory),
            consolidation=KeepEmbeddings(memory),
        )


@dataclass(frozen=True, kw_only=True)
class MbPA(MethodConfig):
    """Memory-based parameter adaptation: Sprechmann et al. (2018).

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

    memory_gib: float = 1.0
    """GiB that all memories together may take; our choice."""

    def build(self, domain: Domain[B]) -> Method[B]:
        """A memory for each task, and predictions that adapt to the nearest of all."""
        memories: TaskMemories[B] = domain.memories(
            TaskMemories,
            examples=self.examples_per_task,
            retention=reservoir,
            memory_gib=self.memory_gib,
        )
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
