"""Random memory adaptation (github.com/Zeta36/random-memory-adaptation), and variants.

The code is its only description. As published it draws rows that were never written to;
its author proposes a memory for each task, and a learnt embedding.
"""

from dataclasses import dataclass

from clrl.continual import replay
from clrl.continual.embedded_memory import (
    EmbeddedMemory,
    HeldEmbedding,
    KeepEmbeddings,
    no_embedding,
)
from clrl.continual.learner import Method
from clrl.continual.memory import latest, reservoir
from clrl.continual.methods.base import Domain
from clrl.continual.methods.keeping import KeepsOfAllTasks, KeepsOfEachTask
from clrl.continual.random_memory import DilutedMean, RandomMemoryAdaptation
from clrl.types import B


@dataclass(frozen=True, kw_only=True)
class RandomMemoryConfig(KeepsOfAllTasks):
    """Random memory adaptation from one memory of all tasks, and what it keeps."""

    examples: int = 15_000
    """Rows of the one memory for all tasks (1 or more); the code's value."""

    draws: int = 32
    """Rows drawn at each update (1 or more); the code's value."""

    write_every_updates: int = 1_000
    """Updates after which the current batch is kept (1 or more); the code's value."""

    def rehearsal(
        self, domain: Domain[B], *, draws_empty_rows: bool
    ) -> RandomMemoryAdaptation[B]:
        """What draws from the memory, and writes to it now and then."""
        memories = self.memories(domain, latest)
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
class PerTaskRMA(KeepsOfEachTask):
    """Random memory adaptation with a memory for each task, as its author proposes.

    Each step trains on the batch and on as many examples from all memories, which hold
    as much of each task once they are full.
    """

    examples_per_task: int = 1_000
    """Examples of each task that are kept (1 or more), a uniform sample of those seen;
    the largest memory of Sprechmann et al. (2018), with whom it is compared."""

    def build(self, domain: Domain[B]) -> Method[B]:
        """Rehearsal of examples drawn from all tasks' memories."""
        memories = self.memories(domain, reservoir)
        return Method(rehearsal=replay.ExperienceReplay(memories, replay.from_all))


@dataclass(frozen=True, kw_only=True)
class LearntEmbeddingRMA(KeepsOfEachTask):
    """Random memory adaptation whose memories hold what the network has learnt to see.

    The author proposes a learnt embedding and no more; this is our reading. The layers
    below the last are learnt on the first task and held from then on. When a task is
    left, what they put out for its examples is kept in place of the examples; each step
    trains the last layer on the batch and on as many of these.
    """

    examples_per_task: int = 1_000
    """Examples of each task whose embeddings are kept (1 or more); as in PerTaskRMA."""

    def check_memory(self, tasks: int, example_bytes: int) -> None:
        """Nothing: an embedding, kept in place of what was seen, is the network's."""
        del tasks, example_bytes

    def check_network(self, *, shares_layers: bool, has_hidden_layers: bool) -> None:
        """Raises ConfigError where there are no layers to embed with."""
        del shares_layers
        if not has_hidden_layers:
            raise no_embedding()

    def build(self, domain: Domain[B]) -> Method[B]:
        """A penalty that rehearses embeddings, and an embedding that is held."""
        memories = self.memories(domain, latest)
        memory = EmbeddedMemory(
            memories, inputs=domain.inputs, objective=domain.objective
        )
        return Method(
            penalty=memory,
            constraint=HeldEmbedding(memory),
            consolidation=KeepEmbeddings(memory),
        )
