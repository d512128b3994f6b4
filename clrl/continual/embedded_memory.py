"""Rehearsal of embeddings that the network has learnt, in place of its inputs.

What a memory holds keeps its meaning only while the layers that embedded it stay as
they are: they learn from the first task alone, and the last layer from all of them.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Generic

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from clrl.continual.consolidation import OnlyWhenLeft
from clrl.continual.memories import TaskMemories
from clrl.continual.memory import columns_of
from clrl.continual.network import ContinualNetwork, eval_mode
from clrl.continual.objective import Objective
from clrl.continual.state import Stateless
from clrl.errors import ConfigError
from clrl.types import B, Parameters, TaskId


class FromEmbedding(ContinualNetwork):
    """A network that is shown one tensor of embeddings among its usual inputs.

    Args:
        network: Computes the outputs.
        embedding: Goes to the network's readout; all other tensors are inputs, such as
            the next observations of a transition.
    """

    def __init__(
        self, network: ContinualNetwork, embedding: Float[Tensor, "B F"]
    ) -> None:
        super().__init__()
        self._network = network
        self._embedding = embedding

    def forward(self, inputs: Tensor, task: Int64[Tensor, "B"]) -> Float[Tensor, "B A"]:
        """The outputs for ``inputs``, or for the embeddings if they are those."""
        if inputs is self._embedding:
            return self._network.readout(inputs, task)
        outputs: Tensor = self._network(inputs, task)
        return outputs


class EmbeddedMemory(Generic[B]):
    """Penalty: the mean loss of as many embeddings as examples arrived, from memory.

    A memory is filled when its task is left; examples of all other tasks are drawn
    alike. Only the readout's parameters have a gradient here.

    Args:
        memories: Of each task; their batches hold embeddings in place of inputs.
        inputs: What the network is shown of a batch: one of its fields.
        objective: The loss of each example.
    """

    def __init__(
        self,
        memories: TaskMemories[B],
        *,
        inputs: Callable[[B], Tensor],
        objective: Objective[B],
    ) -> None:
        self._memories = memories
        self._inputs = inputs
        self._objective = objective
        self._held: frozenset[str] = frozenset()

    def loss(
        self, network: ContinualNetwork, batch: B, task: TaskId
    ) -> Float[Tensor, ""]:
        """The mean loss of embeddings of other tasks; 0 while there are none.

        Raises:
            ConfigError: If the network has no embedding.
        """
        readout = network.readout_parameters()
        if not readout:
            raise no_embedding()
        self._held = frozenset(network.shared_parameters()) - readout
        others = [other for other in self._memories.tasks if other != task]
        if not others:
            return torch.zeros((), device=batch.task.device)
        self._memories.to(batch.task.device)
        drawn = self._memories.sample(len(batch.task), others)
        view = FromEmbedding(network, self._inputs(drawn))
        return self._objective(view, drawn).mean()

    def add_gradient(self, parameters: object, task: TaskId) -> Float[Tensor, ""]:
        """Zero: ``loss`` is all of it."""
        del parameters, task
        return torch.zeros(())

    @torch.no_grad()
    def keep(
        self, network: ContinualNetwork, task: TaskId, batches: Iterable[B]
    ) -> None:
        """Fills the memory of ``task`` with embeddings of as many examples as it holds.

        Raises:
            MemoryBudgetError: If there is no room for them.
        """
        room = self._memories.capacity
        with eval_mode(network):
            for batch in batches:
                self._memories.add(self._embedded(network, batch), task)
                room -= len(batch.task)
                if room <= 0:
                    return

    def held(self, gradient: Parameters) -> Parameters:
        """``gradient``, once a task was left without what the embedding shares."""
        if not self._memories.tasks:
            return gradient
        return {name: g for name, g in gradient.items() if name not in self._held}

    def state_dict(self) -> dict[str, Tensor]:
        """The memories'."""
        return self._memories.state_dict()

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Replaces the memories.

        Raises:
            ValueError: If ``state`` was not saved from such memories.
        """
        self._memories.load_state_dict(state)

    def _embedded(self, network: ContinualNetwork, batch: B) -> B:
        inputs = self._inputs(batch)
        columns = columns_of(batch)
        (field,) = [name for name, column in columns.items() if column is inputs]
        hidden = network.activations(inputs, batch.task)[-1]
        columns[field] = hidden.flatten(start_dim=1)
        return type(batch)(**columns)


def no_embedding() -> ConfigError:
    """What is said of a network without hidden layers."""
    return ConfigError(
        "a learnt embedding is what the last hidden layer puts out, got a network that "
        "shows none; give it a hidden layer, or use rma_per_task."
    )


class KeepEmbeddings(OnlyWhenLeft, Stateless, Generic[B]):
    """Embeds examples of a task when it is left."""

    def __init__(self, memory: EmbeddedMemory[B]) -> None:
        self._memory = memory

    def leave(
        self, network: ContinualNetwork, task: TaskId, batches: Iterable[B]
    ) -> dict[str, Tensor]:
        """Fills the memory of ``task``."""
        self._memory.keep(network, task, batches)
        return {}


class HeldEmbedding(Stateless, Generic[B]):
    """Leaves what tasks share below the readout as the first task has made it.

    What a task owns there goes on learning: the embeddings that are kept are those of
    tasks that were left.
    """

    def __init__(self, memory: EmbeddedMemory[B]) -> None:
        self._memory = memory

    def __call__(
        self, gradient: Parameters, gradients_of: object, task: TaskId
    ) -> Parameters:
        """``gradient``, once a task was left without what is shared below."""
        del gradients_of, task
        return self._memory.held(gradient)
