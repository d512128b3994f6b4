"""Holding the outputs, not the parameters, near what an earlier network computed.

Source: Li & Hoiem (2016), Learning without forgetting.
"""

import math
from collections.abc import Callable, Mapping
from typing import Generic

import torch
from jaxtyping import Float
from torch import Tensor

from clrl.continual.consolidation import OnlyWhenLeft
from clrl.continual.network import ContinualNetwork, eval_mode
from clrl.continual.penalty import require_strength
from clrl.continual.state import Stateless
from clrl.errors import ConfigError
from clrl.types import B, Parameters, TaskId


def distillation(
    outputs: Float[Tensor, "B A"], teacher: Float[Tensor, "B A"], temperature: float
) -> Float[Tensor, "B"]:
    """``KL(softmax(teacher / T) || softmax(outputs / T))`` of each example.

    Unlike the paper, the divergence and not the cross-entropy, which differs by the
    entropy of the teacher: its gradient is the same, and it is 0 at the teacher. No
    factor T^2. Outputs of minus infinity, as of masked classes, take no part.
    """
    p = (teacher / temperature).softmax(1)
    log_q = (outputs / temperature).log_softmax(1)
    cross_entropy = -(p * log_q.masked_fill(p == 0, 0)).sum(1)
    entropy: Tensor = torch.special.entr(p).sum(1)
    return cross_entropy - entropy


class Distillation(Generic[B]):
    """Penalty on outputs that differ from those of the network when it left a task.

    For each earlier task, the current batch is shown as if it belonged to that task
    (with heads: to its head), and ``strength`` times the mean divergence is added: a
    sum over earlier tasks, as in the paper, a mean over examples. The task that is
    trained has no such term, even if it was met before. Where tasks differ neither in
    heads nor masks nor gains these terms are all the same one, and ``strength`` in
    effect grows with the number of earlier tasks.

    On Atari the outputs are Q-values, read as logits; a temperature far below 1 is
    usual there (0.01 in Rusu et al., 2016, Policy distillation).

    Args:
        strength: Weight of each earlier task against the mean objective, at least 0.
        temperature: By which outputs are divided, more than 0.
        inputs: What the network is shown of a batch.

    Raises:
        ConfigError: If ``strength`` or ``temperature`` is out of range.
    """

    def __init__(
        self, *, strength: float, temperature: float, inputs: Callable[[B], Tensor]
    ) -> None:
        require_strength(strength)
        if not (math.isfinite(temperature) and temperature > 0):
            raise ConfigError(
                f"temperature must be finite and more than 0, got {temperature}."
            )
        self._strength = strength
        self._temperature = temperature
        self._inputs = inputs
        self._teacher: Parameters = {}
        self._tasks: list[TaskId] = []

    def loss(
        self, network: ContinualNetwork, batch: B, task: TaskId
    ) -> Float[Tensor, ""]:
        """The divergence from the teacher, summed over the earlier tasks."""
        earlier = [other for other in self._tasks if other != task]
        if not earlier:
            return torch.zeros((), device=batch.task.device)
        inputs = torch.cat([self._inputs(batch)] * len(earlier))
        tasks = torch.cat([torch.full_like(batch.task, other) for other in earlier])
        teacher = self._taught(network, inputs, tasks)
        each = distillation(network(inputs, tasks), teacher, self._temperature)
        return self._strength * len(earlier) * each.mean()

    def add_gradient(self, parameters: object, task: TaskId) -> Float[Tensor, ""]:
        """Zero: the penalty looks at outputs, so ``loss`` is all of it."""
        del parameters, task
        return torch.zeros(())

    def learn_from(self, network: ContinualNetwork, task: TaskId) -> None:
        """Makes ``network`` as it is now the teacher of ``task`` and all before it."""
        self._teacher = {n: p.detach().clone() for n, p in network.named_parameters()}
        self._tasks = sorted({*self._tasks, task})

    def state_dict(self) -> dict[str, Tensor]:
        """``tasks``, and the teacher's parameters as ``teacher.<name>``."""
        teacher = {f"teacher.{name}": p for name, p in self._teacher.items()}
        return {"tasks": torch.tensor(self._tasks), **teacher} if teacher else {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Replaces the teacher.

        Raises:
            ValueError: If ``state`` was not saved from a distillation.
        """
        prefix = "teacher."
        teacher = {n: t for n, t in state.items() if n.startswith(prefix)}
        if state and not (teacher and state.keys() - teacher.keys() == {"tasks"}):
            raise ValueError(
                f"expected the state of a teacher and its tasks, got {sorted(state)}; "
                "load the state of the same kind of method."
            )
        self._tasks = state["tasks"].tolist() if state else []
        self._teacher = {
            name.removeprefix(prefix): p.detach().clone() for name, p in teacher.items()
        }

    @torch.no_grad()
    def _taught(
        self, network: ContinualNetwork, inputs: Tensor, tasks: Tensor
    ) -> Float[Tensor, "B A"]:
        teacher = {n: p.to(tasks.device) for n, p in self._teacher.items()}
        with eval_mode(network):
            taught: Tensor = torch.func.functional_call(
                network, teacher, (inputs, tasks)
            )
        return taught


class KeepTeacher(OnlyWhenLeft, Stateless, Generic[B]):
    """Makes the network that leaves a task the teacher of the tasks that follow."""

    def __init__(self, distillation: Distillation[B]) -> None:
        self._distillation = distillation

    def leave(
        self, network: ContinualNetwork, task: TaskId, batches: object
    ) -> dict[str, Tensor]:
        """Copies the network's parameters; the batches are not even drawn."""
        del batches
        self._distillation.learn_from(network, task)
        return {}
