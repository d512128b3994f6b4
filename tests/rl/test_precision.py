"""Q-learning in bfloat16: what is rounded, and what is not."""

import numpy as np
import torch
from gymnasium import spaces

from clrl.continual.learner import ContinualLearner, Method
from clrl.rl.network import QNetwork, build_network
from clrl.rl.objective import QLearning
from clrl.rl.replay import ReplayBatch

FRAMES = spaces.Box(0, 255, (4, 42, 42), np.uint8)
ACTIONS = 6


def network_of(seed: int) -> QNetwork:
    torch.manual_seed(seed)
    network = build_network("small", FRAMES, ACTIONS)
    assert isinstance(network, QNetwork)
    return network


def objective_in(precision: torch.dtype) -> QLearning:
    return QLearning(
        target_network=network_of(1), gamma=0.9, double_q=True, precision=precision
    )


def batch_of(seed: int, size: int = 16) -> ReplayBatch:
    g = torch.Generator().manual_seed(seed)
    images = torch.randint(256, (2, size, *FRAMES.shape), generator=g)
    return ReplayBatch(
        observations=images[0].to(torch.uint8),
        actions=torch.randint(ACTIONS, (size,), generator=g),
        rewards=torch.randint(-1, 2, (size,), generator=g).float(),
        next_observations=images[1].to(torch.uint8),
        terminated=torch.rand(size, generator=g) < 0.2,
        task=torch.zeros(size, dtype=torch.int64),
    )


def gradients(precision: torch.dtype) -> dict[str, torch.Tensor]:
    network = network_of(0)
    loss = objective_in(precision)(network, batch_of(2)).mean()
    loss.backward()  # type: ignore[no-untyped-call]
    found = {}
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None
        found[name] = parameter.grad
    return found


def test_bfloat16_rounds_the_gradient_of_every_parameter_and_no_more() -> None:
    plain, rounded = gradients(torch.float32), gradients(torch.bfloat16)
    for name, gradient in plain.items():
        assert rounded[name].dtype == torch.float32
        error = (rounded[name] - gradient).norm() / gradient.norm()
        assert 0 < error < 0.2, name


def test_the_loss_and_the_weights_stay_in_float32() -> None:
    network = network_of(0)
    learner = ContinualLearner[ReplayBatch](
        network=network,
        optimizer=torch.optim.Adam(network.parameters()),
        objective=objective_in(torch.bfloat16),
        method=Method(),
    )
    assert learner.objective(network, batch_of(2)).dtype == torch.float32
    learner.step(batch_of(2), 0)
    assert {p.dtype for p in network.parameters()} == {torch.float32}
