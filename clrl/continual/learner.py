"""The gradient step on which every method and every domain meet."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Generic

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from clrl.continual.batch_gradients import batch_gradients
from clrl.continual.consolidation import Consolidation, NoConsolidation
from clrl.continual.constraint import GradientConstraint, NoConstraint
from clrl.continual.network import ContinualNetwork
from clrl.continual.objective import Objective
from clrl.continual.penalty import NoPenalty, Penalty
from clrl.continual.prediction import ForwardPass, Prediction
from clrl.continual.rehearsal import NoRehearsal, Rehearsal
from clrl.continual.state import Stateful, join_states, split_state
from clrl.types import B, Parameters, TaskId


@dataclass(frozen=True, kw_only=True)
class Method(Generic[B]):
    """A continual-learning method: one choice for each seam around a gradient step.

    With every seam at its null object this is plain fine-tuning.
    """

    rehearsal: Rehearsal[B] = field(default_factory=NoRehearsal)
    penalty: Penalty[B] = field(default_factory=NoPenalty)
    constraint: GradientConstraint[B] = field(default_factory=NoConstraint)
    consolidation: Consolidation[B] = field(default_factory=NoConsolidation)
    prediction: Prediction = field(default_factory=ForwardPass)

    def state_dict(self) -> dict[str, Tensor]:
        """What the seams have gathered, as ``<seam>.<name>``."""
        return join_states(self._stateful())

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Replaces what the seams have gathered.

        Raises:
            ValueError: If ``state`` was saved from another kind of method.
        """
        seams = self._stateful()
        for name, part in split_state(state, seams).items():
            seams[name].load_state_dict(part)

    def _stateful(self) -> dict[str, Stateful]:
        return {
            "rehearsal": self.rehearsal,
            "penalty": self.penalty,
            "constraint": self.constraint,
            "consolidation": self.consolidation,
        }


@dataclass(frozen=True, kw_only=True)
class ContinualLearner(Generic[B]):
    """Takes gradient steps with a method, and consolidates tasks when they are left.

    Attributes:
        network: Told the task of each example; its parameters stay the same objects.
        optimizer: Over all parameters of ``network``.
        objective: The loss of each example.
        method: What is done so that earlier tasks are not forgotten.
        max_grad_norm: The gradient that is applied is rescaled to at most this 2-norm.
    """

    network: ContinualNetwork
    optimizer: torch.optim.Optimizer
    objective: Objective[B]
    method: Method[B]
    max_grad_norm: float = float("inf")

    def step(self, batch: B, task: TaskId) -> dict[str, Tensor]:
        """One gradient step: rehearse, objective and penalty, constrain, clip, apply.

        Args:
            batch: The examples that arrived.
            task: The current task, which decides what is penalised and constrained.

        Returns:
            Scalars, still on the device: ``loss`` (mean objective), ``penalty``,
            ``gradient_norm`` (objective and penalty, before clipping).
        """
        method = self.method
        batch = method.rehearsal(batch, task)
        shared = self._shared

        loss = self.objective(self.network, batch).mean()
        seen_penalty = method.penalty.loss(self.network, batch, task)
        self.optimizer.zero_grad(set_to_none=True)
        (loss + seen_penalty).backward()  # type: ignore[no-untyped-call]
        method.consolidation.before_update(dict(shared))

        written_penalty = method.penalty.add_gradient(shared, task)
        self._apply(method.constraint(self._gradient(), self._gradients_of, task))
        gradient_norm = self._clip()
        self.optimizer.step()
        method.consolidation.after_update(dict(shared))
        return {
            "loss": loss.detach(),
            # A penalty of nothing is a zero on the CPU, wherever the loss is.
            "penalty": torch.zeros_like(loss) + seen_penalty.detach() + written_penalty,
            "gradient_norm": gradient_norm,
        }

    def leave(self, task: TaskId, batches: Iterable[B]) -> dict[str, Tensor]:
        """Consolidates ``task``, which is being left; ``batches`` come from its memory.

        Returns:
            Scalars worth recording, by name.
        """
        return self.method.consolidation.leave(self.network, task, batches)

    def gradient_norms(self, batch: B, task: TaskId) -> dict[str, Tensor]:
        """How hard the objective and the penalty pull on the shared parameters.

        Takes no step; two backward passes, so not for every update.

        Returns:
            ``objective`` and ``penalty``: 2-norms of the gradients of the mean
            objective and of the penalty on ``batch``.
        """
        penalty, norms = self.method.penalty, {}
        self.optimizer.zero_grad(set_to_none=True)
        self.objective(self.network, batch).mean().backward()  # type: ignore[no-untyped-call]
        norms["objective"] = self._shared_gradient_norm()
        self.optimizer.zero_grad(set_to_none=True)
        seen_penalty = penalty.loss(self.network, batch, task)
        if seen_penalty.requires_grad:
            seen_penalty.backward()  # type: ignore[no-untyped-call]
        penalty.add_gradient(self._shared, task)
        norms["penalty"] = self._shared_gradient_norm()
        self.optimizer.zero_grad(set_to_none=True)
        return norms

    def predict(self, inputs: Tensor, task: Int64[Tensor, "B"]) -> Float[Tensor, "B A"]:
        """The outputs at test time, through the method's prediction seam."""
        return self.method.prediction(self.network, self.objective, inputs, task)

    # Walking the modules at every step would take 8 % of a small network's step.

    @cached_property
    def _parameters(self) -> dict[str, nn.Parameter]:
        return dict(self.network.named_parameters())

    @cached_property
    def _shared(self) -> dict[str, nn.Parameter]:
        return self.network.shared_parameters()

    def _gradient(self) -> Parameters:
        return {
            name: parameter.grad
            for name, parameter in self._parameters.items()
            if parameter.grad is not None
        }

    def _shared_gradient_norm(self) -> Tensor:
        return nn.utils.get_total_norm(
            [p.grad for p in self._shared.values() if p.grad is not None]
        )

    def _apply(self, gradient: Parameters) -> None:
        for name, parameter in self._parameters.items():
            parameter.grad = _laid_out_as(parameter, gradient.get(name))

    def _clip(self) -> Tensor:
        """Rescales the gradient if it is too long; returns its norm before that."""
        parameters = self._parameters.values()
        norm = nn.utils.get_total_norm(
            [p.grad for p in parameters if p.grad is not None]
        )
        # To scale by 1 costs a pass over memory; to compare makes a GPU wait.
        if norm.is_cuda or norm > self.max_grad_norm:
            nn.utils.clip_grads_with_norm_(parameters, self.max_grad_norm, norm)
        return norm

    def _gradients_of(self, batches: Sequence[B]) -> Parameters:
        """Of the mean objective on each other batch; ``.grad`` is not touched."""
        return batch_gradients(self.network, self.objective, batches)


def _laid_out_as(parameter: nn.Parameter, gradient: Tensor | None) -> Tensor | None:
    """``gradient`` with the strides of ``parameter``.

    Autograd keeps to them, a constraint need not, and PyTorch's fused Adam on the CPU
    adds up wrong elements, without a word, where the two differ.
    """
    if gradient is None or gradient.stride() == parameter.stride():
        return gradient
    return torch.empty_like(parameter).copy_(gradient)
