"""The continual learner of a Q-network."""

import torch

from clrl.continual.learner import ContinualLearner
from clrl.continual.methods import Domain, MethodConfig
from clrl.continual.precision import PRECISIONS
from clrl.errors import unknown_name
from clrl.rl.objective import (
    GreedySoftmax,
    QGaussian,
    QLearning,
    TemporalDifferenceError,
)
from clrl.rl.policy import ContinualDQNPolicy
from clrl.rl.replay import ReplayBatch


def make_learner(
    policy: ContinualDQNPolicy,
    method: MethodConfig,
    *,
    gamma: float,
    double_q: bool,
    max_grad_norm: float,
    precision: str,
    generator: torch.Generator,
) -> ContinualLearner[ReplayBatch]:
    """Q-learning with a continual-learning method.

    Args:
        policy: Its networks and its optimiser.
        method: What protects earlier tasks.
        gamma: Discount of one agent step.
        double_q: Double Q-learning.
        max_grad_norm: 2-norm to which larger gradients are scaled down.
        precision: Name of the networks' arithmetic in updates.
        generator: Of all randomness in the method.

    Raises:
        ConfigError: The method does not know what a knob names, or no precision has
            this name.
    """
    if precision not in PRECISIONS:
        raise unknown_name("precision", precision, PRECISIONS)
    objective = QLearning(
        target_network=policy.q_net_target,
        gamma=gamma,
        double_q=double_q,
        precision=PRECISIONS[precision],
    )
    domain = Domain[ReplayBatch](
        statistics={
            "q_gaussian": QGaussian(),
            "td_error": TemporalDifferenceError(objective),
            "greedy_softmax": GreedySoftmax(),
        },
        batch_type=ReplayBatch,
        objective=objective,
        generator=generator,
    )
    return ContinualLearner(
        network=policy.q_net,
        optimizer=policy.optimizer,
        objective=objective,
        method=method.build(domain),
        max_grad_norm=max_grad_norm,
    )
