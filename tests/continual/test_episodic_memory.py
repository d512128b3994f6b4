import numpy as np
import pytest
import torch
from torch import Tensor

from clrl.continual.methods import AGEM, GEM, MethodConfig
from clrl.continual.projection import gem_dual
from clrl.errors import ConfigError, DivergenceError
from clrl.types import TaskId

from .toy import (
    LinearNetwork,
    ToyBatch,
    cross_entropy,
    domain,
    learner_of,
    toy_batch,
)


def batch_of(task: TaskId, seed: int, size: int = 5) -> ToyBatch:
    batch = toy_batch((size, 3), seed)
    return batch._replace(task=torch.full((size,), task))


def loss_gradient(network: LinearNetwork, batch: ToyBatch) -> Tensor:
    loss = cross_entropy(network, batch).mean()
    gradient = torch.autograd.grad(loss, list(network.parameters()))
    return torch.cat([g.flatten() for g in gradient])


def weights(network: LinearNetwork) -> Tensor:
    return torch.cat([p.detach().flatten() for p in network.parameters()])


def test_a_gem_step_is_that_of_one_backward_pass_per_task() -> None:
    network, lr = LinearNetwork(3, 4), 0.5
    learner = learner_of(network, GEM(examples_per_task=7).build(domain()), lr)
    kept: dict[TaskId, list[ToyBatch]] = {}
    projected = 0
    for step, task in enumerate([0] * 6 + [1] * 6 + [2] * 6 + [0] * 6):
        batch = batch_of(task, step)
        kept.setdefault(task, []).append(batch)
        before, g = weights(network), loss_gradient(network, batch)
        past = []
        for other in sorted(kept.keys() - {task}):
            columns = [torch.cat(c)[-7:] for c in zip(*kept[other], strict=True)]
            past.append(loss_gradient(network, ToyBatch(*columns)))
        expected = g
        if past and any(float(g @ p) < 0 for p in past):
            G = torch.stack(past).double()
            v = gem_dual(
                (G @ G.T).numpy(), (G @ g.double()).numpy(), margin=0.5, ridge=1e-3
            )
            expected = (g + torch.from_numpy(v) @ G).float()
            projected += 1
        learner.step(batch, task)
        torch.testing.assert_close(
            weights(network), before - lr * expected, rtol=1e-4, atol=1e-5
        )
    assert projected >= 3


@pytest.mark.parametrize("config", [GEM(), AGEM()])
def test_the_loss_on_an_earlier_task_does_not_rise(config: MethodConfig) -> None:
    network = LinearNetwork(3, 4)
    learner = learner_of(network, config.build(domain()), lr=0.02)
    batches = [batch_of(task, seed=task, size=12) for task in (0, 1)]
    for _ in range(60):
        learner.step(batches[0], 0)
    learned = cross_entropy(network, batches[0]).mean().item()
    start = cross_entropy(network, batches[1]).mean().item()
    for _ in range(60):
        learner.step(batches[1], 1)
    # Second-order effects of the step size alone may remain.
    assert cross_entropy(network, batches[0]).mean().item() < learned + 0.01
    assert cross_entropy(network, batches[1]).mean().item() < start - 0.05


@pytest.mark.parametrize("config", [GEM(margin=0.0, ridge=1e-9), AGEM()])
def test_what_other_tasks_own_is_neither_compared_nor_moved(
    config: MethodConfig,
) -> None:
    method = config.build(domain())
    method.rehearsal(batch_of(1, 0), 1)
    gradient = {
        "shared": torch.tensor([[1.0, 1.0]]),
        "head of 0": torch.tensor([5.0]),
    }
    past = {
        "shared": torch.tensor([[[-2.0, 0.0]]]),
        "head of 1": torch.tensor([[9.0]]),
    }
    applied = method.constraint(gradient, lambda batches: past, 0)
    assert applied.keys() == gradient.keys()
    torch.testing.assert_close(applied["shared"], torch.tensor([[0.0, 1.0]]))
    assert applied["head of 0"].item() == 5


@pytest.mark.parametrize("config", [GEM(), AGEM()])
def test_on_the_first_task_and_alone_the_gradient_is_free(config: MethodConfig) -> None:
    network, twin = LinearNetwork(3, 4), LinearNetwork(3, 4)
    learner = learner_of(network, config.build(domain()))
    for seed in range(5):
        before = weights(twin)
        with torch.no_grad():
            flat = before - 0.1 * loss_gradient_of(twin, batch_of(0, seed))
            torch.nn.utils.vector_to_parameters(flat, twin.parameters())
        learner.step(batch_of(0, seed), 0)
        torch.testing.assert_close(weights(network), weights(twin))


def loss_gradient_of(network: LinearNetwork, batch: ToyBatch) -> Tensor:
    with torch.enable_grad():
        return loss_gradient(network, batch)


def test_agem_compares_with_the_gradient_of_one_batch_of_all_earlier_tasks() -> None:
    network = LinearNetwork(3, 4)
    # Smaller than the reference batch, so the reference is all there is.
    method = AGEM(examples_per_task=4, reference_size=100).build(domain())
    learner = learner_of(network, method, lr=0.5)
    earlier = [batch_of(task, seed=task, size=4) for task in (0, 1)]
    for task, batch in enumerate(earlier):
        learner.step(batch, task)
    projected = 0
    for seed in range(10, 20):
        batch, before = batch_of(2, seed), weights(network)
        g = loss_gradient(network, batch)
        everything = ToyBatch(*(torch.cat(c) for c in zip(*earlier, strict=True)))
        reference = loss_gradient(network, everything)
        if float(g @ reference) < 0:
            g = g - (g @ reference) / (reference @ reference) * reference
            projected += 1
        learner.step(batch, 2)
        torch.testing.assert_close(
            weights(network), before - 0.5 * g, rtol=1e-4, atol=1e-5
        )
    assert 0 < projected < 10


def test_gradients_that_are_not_finite_are_refused_by_name() -> None:
    network = LinearNetwork(3, 4)
    learner = learner_of(network, GEM().build(domain()))
    learner.step(batch_of(0, 0), 0)
    bad = batch_of(1, 1)._replace(inputs=torch.full((5, 3), np.nan))
    with pytest.raises(DivergenceError, match="memories must be finite"):
        learner.step(bad, 1)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (GEM(margin=-0.1), "margin must be finite and at least 0"),
        (GEM(ridge=0.0), "ridge must be finite and more than 0"),
        (GEM(examples_per_task=0), "at least 1 example, got 0"),
        (GEM(memory_gib=0.0), "memory_gib must be finite and more than 0"),
        (AGEM(reference_size=0), "reference_size must be at least 1"),
    ],
)
def test_knobs_out_of_range_are_refused(config: MethodConfig, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config.build(domain())
