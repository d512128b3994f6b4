import io

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from clrl.continual.anchors import OnlineAnchor
from clrl.continual.learner import ContinualLearner
from clrl.continual.methods import SI
from clrl.continual.path_integral import PathIntegral, damped_contribution
from clrl.continual.penalty import QuadraticPenalty
from clrl.errors import ConfigError
from clrl.types import Parameters

from .toy import LinearNetwork, ToyBatch, cross_entropy, domain, toy_batch


def path_integral(strength: float = 1.0, damping: float = 0.1) -> PathIntegral:
    penalty = QuadraticPenalty(strength, OnlineAnchor(decay=1.0))
    return PathIntegral(penalty, damping=damping)


def learner_with(network: LinearNetwork, method: SI) -> ContinualLearner[ToyBatch]:
    return ContinualLearner(
        network=network,
        optimizer=torch.optim.Adam(network.parameters(), lr=0.03),
        objective=cross_entropy,
        method=method.build(domain()),
    )


class Quadratic:
    """``1/2 sum_i a_i (theta_i - b_i)^2`` under gradient descent on one parameter."""

    def __init__(self, a: torch.Tensor, b: torch.Tensor) -> None:
        self.a, self.b = a, b

    def loss(self, theta: torch.Tensor) -> torch.Tensor:
        return self.a / 2 * (theta - self.b).square()

    def gradient(self, theta: torch.Tensor) -> torch.Tensor:
        return self.a * (theta - self.b)


def test_along_a_fine_path_the_contributions_are_the_fall_of_each_loss() -> None:
    bowl = Quadratic(torch.tensor([1.0, 3.0, 0.2]), torch.tensor([2.0, -1.0, 0.5]))
    network = LinearNetwork(3, 1)
    start = network.fc.weight.detach().clone()
    consolidation = path_integral()
    for _ in range(2000):
        parameters = dict(network.shared_parameters())
        parameters["fc.weight"].grad = bowl.gradient(network.fc.weight.detach())
        consolidation.before_update(dict(parameters))
        # Whatever is added later, such as the penalty, must not be counted.
        parameters["fc.weight"].grad += 100
        with torch.no_grad():
            network.fc.weight -= 1e-3 * bowl.gradient(network.fc.weight)
        consolidation.after_update(dict(parameters))
    end = network.fc.weight.detach().clone()
    omega = consolidation.state_dict()["contribution.fc.weight"]
    torch.testing.assert_close(
        omega, bowl.loss(start) - bowl.loss(end), rtol=2e-3, atol=1e-5
    )

    recorded = consolidation.leave(network, 0, iter(()))
    importance = (bowl.loss(start) - bowl.loss(end)) / ((end - start) ** 2 + 0.1)
    assert recorded["importance_max"].item() == pytest.approx(
        importance.max().item(), rel=2e-3
    )


def test_importance_is_that_of_a_literal_loop_and_adds_up_over_tasks() -> None:
    network, config = LinearNetwork(4, 4), SI(strength=0.3, damping=0.05)
    learner = learner_with(network, config)
    expected = {n: torch.zeros_like(p) for n, p in network.named_parameters()}
    for task in range(3):
        start = {n: p.detach().clone() for n, p in network.named_parameters()}
        omega = {n: torch.zeros_like(p) for n, p in network.named_parameters()}
        for seed in range(15):
            batch = toy_batch((6, 4), seed + 100 * task)
            loss = cross_entropy(network, batch).mean()
            names, theta = zip(*network.named_parameters(), strict=True)
            gradient = torch.autograd.grad(loss, theta)
            before = [p.detach().clone() for p in theta]
            learner.step(batch, task)
            for n, g, p, q in zip(names, gradient, theta, before, strict=True):
                omega[n] -= g * (p.detach() - q)
        recorded = learner.leave(task, [])
        for n, p in network.named_parameters():
            moved = p.detach() - start[n]
            new = omega[n] / (moved**2 + 0.05)
            expected[n] += torch.where(new > 0, new, 0)
    state = learner.method.state_dict()
    for n, p in network.named_parameters():
        torch.testing.assert_close(state[f"penalty.importance.{n}"], expected[n])
        assert torch.equal(state[f"penalty.parameters.{n}"], p)
    assert not any(name.startswith("consolidation") for name in state)
    stiffest = 0.3 * max(x.max().item() for x in expected.values())
    assert recorded["curvature_max"].item() == pytest.approx(stiffest, rel=1e-4)


def test_a_parameter_that_the_loss_does_not_reach_contributes_nothing() -> None:
    network, consolidation = LinearNetwork(2, 2), path_integral()
    network.fc.weight.grad = torch.ones_like(network.fc.weight)
    consolidation.before_update(dict(network.shared_parameters()))
    with torch.no_grad():
        network.fc.weight.sub_(0.5)
        network.fc.bias.sub_(0.5)
    consolidation.after_update(dict(network.shared_parameters()))
    state = consolidation.state_dict()
    assert torch.allclose(state["contribution.fc.weight"], torch.tensor(0.5))
    assert not state["contribution.fc.bias"].any()


finite = st.floats(-5, 5)


@settings(max_examples=50)
@given(finite, finite, st.floats(1e-3, 1))
def test_importance_is_at_least_zero_and_at_most_omega_over_xi(
    omega: float, moved: float, damping: float
) -> None:
    contribution: Parameters = {"w": torch.tensor([omega])}
    got = damped_contribution(contribution, {"w": torch.tensor([moved])}, damping)
    assert 0 <= got["w"].item() <= max(0.0, omega) / damping * (1 + 1e-5)


def test_a_task_that_is_left_without_an_update_anchors_nothing() -> None:
    network, consolidation = LinearNetwork(2, 2), path_integral()
    assert consolidation.leave(network, 0, iter(())) == {}
    assert consolidation.state_dict() == {}


def test_a_run_that_was_saved_in_the_middle_of_a_task_continues_to_the_same_bits() -> (
    None
):
    def trained(saves: bool) -> list[nn.Parameter]:
        network = LinearNetwork(4, 4)
        learner = learner_with(network, SI())
        for step in range(30):
            learner.step(toy_batch((6, 4), step), task=step // 10)
            if step % 10 == 9:
                learner.leave(step // 10, [])
            if saves and step == 14:
                file = io.BytesIO()
                torch.save(learner.method.state_dict(), file)
                file.seek(0)
                fresh = SI().build(domain())
                fresh.load_state_dict(torch.load(file, weights_only=True))
                learner = ContinualLearner(
                    network=network,
                    optimizer=learner.optimizer,
                    objective=cross_entropy,
                    method=fresh,
                )
        return list(network.parameters())

    for p, q in zip(trained(saves=False), trained(saves=True), strict=True):
        assert torch.equal(p, q)


@pytest.mark.parametrize("damping", [0.0, -1.0, float("nan")])
def test_a_damping_that_does_not_damp_is_refused(damping: float) -> None:
    with pytest.raises(ConfigError, match="damping must be finite and more than 0"):
        SI(damping=damping).build(domain())
