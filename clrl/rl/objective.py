"""Q-learning as a domain: the loss of a transition, and what its Fisher is taken of."""

import dataclasses
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Float32, Int64
from torch import Tensor
from torch.nn import functional

from clrl.continual.importance import OneLabel
from clrl.continual.network import ContinualNetwork
from clrl.continual.precision import arithmetic
from clrl.rl.replay import ReplayBatch


def td_target(
    rewards: Float32[Tensor, "B"],
    terminated: Bool[Tensor, "B"],
    next_values: Float[Tensor, "B"],
    gamma: float,
) -> Float[Tensor, "B"]:
    """The reward plus gamma V(s'), or the reward alone where nothing follows.

    Source: Mnih et al. (2015), Methods, algorithm 1. Truncated transitions bootstrap.
    """
    return rewards + (~terminated).float() * gamma * next_values


def q_of(
    q_values: Float[Tensor, "B A"], actions: Int64[Tensor, "B"]
) -> Float[Tensor, "B"]:
    """Q(s, a) of the given actions."""
    return q_values.gather(1, actions[:, None]).squeeze(1)


@dataclass(frozen=True, kw_only=True)
class QLearning:
    """Huber loss between Q(s, a) and its temporal-difference target.

    Attributes:
        target_network: Values the next observation; no gradient flows through it.
        gamma: Discount of one agent step.
        double_q: The online network chooses the next action and the target network
            values it (van Hasselt et al., 2016, eq. 4); otherwise the target network
            does both.
        precision: Of the networks' arithmetic, bfloat16 by autocasting; parameters,
            gradients of parameters and the loss itself are float32.
    """

    target_network: ContinualNetwork
    gamma: float
    double_q: bool
    precision: torch.dtype = torch.float32

    def __call__(
        self, network: ContinualNetwork, batch: ReplayBatch
    ) -> Float[Tensor, "B"]:
        """The Huber loss of each transition (½δ² for |δ| < 1, else |δ| - ½).

        Its gradient is the TD error clipped to [-1, 1], as in Mnih et al. (2015).
        """
        # Apart from each other: weights cast without a gradient would be used again.
        with arithmetic(self.precision, batch.observations.device):
            target = self.target(network, batch)
        with arithmetic(self.precision, batch.observations.device):
            q_values = network(batch.observations, batch.task)
        q = q_of(q_values.float(), batch.actions)
        return functional.smooth_l1_loss(q, target.float(), reduction="none")

    def in_precision(self, precision: torch.dtype) -> "QLearning":
        """The same objective, the networks' arithmetic in ``precision``."""
        return dataclasses.replace(self, precision=precision)

    @torch.no_grad()
    def target(
        self, network: ContinualNetwork, batch: ReplayBatch
    ) -> Float[Tensor, "B"]:
        """The temporal-difference target of each transition; no gradient flows."""
        next_q = self.target_network(batch.next_observations, batch.task)
        if self.double_q:
            chosen = network(batch.next_observations, batch.task).argmax(dim=1)
            next_values = q_of(next_q, chosen)
        else:
            next_values = next_q.max(dim=1).values
        return td_target(batch.rewards, batch.terminated, next_values, self.gamma)


class _OfObservations(OneLabel[ReplayBatch]):
    """A statistic of Q-values."""

    def inputs(self, batch: ReplayBatch) -> Tensor:
        """The observations."""
        return batch.observations


class QGaussian(_OfObservations):
    """s = Q(s, a) of the action in memory: the Fisher of a Gaussian with mean Q.

    For y ~ N(Q(s, a), 1), E_y[(∂ log p(y|s, a)/∂θ)²] = (∂Q(s, a)/∂θ)² exactly, so no
    label needs to be drawn. It does not shrink as the TD error does, and does not
    depend on how rewards are scaled beyond Q itself.
    """

    def labels(
        self,
        network: ContinualNetwork,
        outputs: Float[Tensor, "B A"],
        batch: ReplayBatch,
    ) -> Int64[Tensor, "B"]:
        """The action that was taken."""
        del network, outputs
        return batch.actions

    def __call__(
        self, outputs: Float[Tensor, "B A"], labels: Int64[Tensor, "B"]
    ) -> Float[Tensor, "B"]:
        """Q(s, a)."""
        return q_of(outputs, labels)


@dataclass(frozen=True)
class TemporalDifferenceError(_OfObservations):
    """s = the Huber loss of the TD error: the empirical Fisher of the training loss.

    Shrinks with the TD error, so it says little about a game that is mastered.
    """

    objective: QLearning

    def labels(
        self,
        network: ContinualNetwork,
        outputs: Float[Tensor, "B A"],
        batch: ReplayBatch,
    ) -> Float[Tensor, "B 2"]:
        """The action that was taken and its target."""
        del outputs
        target = self.objective.target(network, batch)
        return torch.stack([batch.actions.to(target.dtype), target], dim=1)

    def __call__(
        self, outputs: Float[Tensor, "B A"], labels: Float[Tensor, "B 2"]
    ) -> Float[Tensor, "B"]:
        """The Huber loss between Q(s, a) and the target."""
        actions, target = labels.unbind(dim=1)
        return functional.smooth_l1_loss(
            q_of(outputs, actions.long()), target, reduction="none"
        )


class GreedySoftmax(_OfObservations):
    """s = log softmax(Q(s, ·)) of the greedy action.

    Reads Q-values as logits of a policy and its most probable action as the label: what
    classification code does when it takes the model's own prediction as the label.
    """

    def labels(
        self,
        network: ContinualNetwork,
        outputs: Float[Tensor, "B A"],
        batch: ReplayBatch,
    ) -> Int64[Tensor, "B"]:
        """The greedy action."""
        del network, batch
        return outputs.argmax(dim=1)

    def __call__(
        self, outputs: Float[Tensor, "B A"], labels: Int64[Tensor, "B"]
    ) -> Float[Tensor, "B"]:
        """The log-probability of the labelled action."""
        return q_of(outputs.log_softmax(dim=1), labels)
