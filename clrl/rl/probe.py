"""What is measured now and then on a batch of replay, too dear for every update."""

import math
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from clrl.continual.plasticity import Plasticity, measure_plasticity
from clrl.rl.dqn import ContinualDQN


class Probe(NamedTuple):
    """How an agent stands on one batch of its current task's memory.

    Attributes:
        q_mean: Mean of max_a Q(s, a); None if it is not finite.
        q_abs_max: Largest abs(Q(s, a)) of any action; None if it is not finite.
        penalty_gradient_ratio: 2-norm of the penalty's gradient over the task loss's;
            None if it is not finite.
    """

    q_mean: float | None
    q_abs_max: float | None
    penalty_gradient_ratio: float | None


NOT_MEASURED = Probe(q_mean=None, q_abs_max=None, penalty_gradient_ratio=None)
"""Of an agent whose current task's memory holds too little."""


def probe(agent: ContinualDQN, *, has_penalty: bool) -> Probe:
    """Measures the agent; its weights do not change.

    Nor do its random numbers, but for those of a penalty that draws from a memory
    (``rma_learnt_embedding``).

    Args:
        agent: Whose current task is being learnt.
        has_penalty: Whether a penalty was added in the last updates; if not, its
            gradient is zero and not computed.
    """
    rng = np.random.default_rng([agent.seed or 0, agent.num_timesteps])
    batch = agent.memories[agent.task].sample(agent.batch_size, rng)
    with torch.no_grad():
        q_values = agent.q_net(batch.observations, batch.task)
    ratio = torch.zeros(())
    if has_penalty:
        norms = agent.learner.gradient_norms(batch, agent.task)
        ratio = norms["penalty"] / norms["objective"]
    return Probe(
        q_mean=_finite(q_values.amax(dim=1).mean()),
        q_abs_max=_finite(q_values.abs().max()),
        penalty_gradient_ratio=_finite(ratio),
    )


def plasticity(agent: ContinualDQN, examples: int = 1024) -> Plasticity:
    """The plasticity of an agent's network, on observations of its current task.

    Args:
        agent: Whose current task's memory holds something.
        examples: Observations; more than units in the usual last hidden layers.
    """
    rng = np.random.default_rng([agent.seed or 0, agent.num_timesteps])
    batch = agent.memories[agent.task].sample(examples, rng)
    return measure_plasticity(agent.policy.q_net, batch.observations, batch.task)


def _finite(value: Float[Tensor, ""]) -> float | None:
    """Weights may just have broken; the next update then ends the run with its name."""
    number = value.item()
    return number if math.isfinite(number) else None
