"""Rehearsal of embeddings: what is kept, what is trained, and what is held."""

import pytest
import torch
from gymnasium import spaces

from clrl.continual.methods import LearntEmbeddingRMA
from clrl.continual.network import ContinualNetwork
from clrl.continual.task_layers import TaskLayers
from clrl.errors import ConfigError
from clrl.rl.network import Architecture, QNetwork
from clrl.supervised.network import MLP

from .toy import (
    HiddenLayer,
    LinearNetwork,
    ToyBatch,
    cross_entropy,
    domain,
    learner_of,
    toy_batch,
)

RATE = 0.3


def of_task(task: int, seed: int, size: int = 6) -> ToyBatch:
    batch = toy_batch((size, 3), seed)
    return batch._replace(task=torch.full((size,), task))


def test_later_tasks_train_the_readout_on_the_batch_and_on_stored_embeddings() -> None:
    network, twin = HiddenLayer(), HiddenLayer()
    learner = learner_of(network, LearntEmbeddingRMA().build(domain()), RATE)
    optimizer = torch.optim.SGD(twin.parameters(), lr=RATE)
    first = [of_task(0, seed) for seed in range(2)]
    for batch in first:
        learner.step(batch, 0)
        optimizer.zero_grad()
        cross_entropy(twin, batch).mean().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    learner.leave(0, first[:1])
    stored = torch.relu(twin.first(first[0].inputs)).detach()
    for seed in range(5, 8):
        batch = of_task(1, seed)
        metrics = learner.step(batch, 1)
        optimizer.zero_grad()
        hidden = torch.relu(twin.first(batch.inputs)).detach()
        # As many are drawn as there are, so all of them.
        rehearsed = torch.nn.functional.cross_entropy(
            twin.last(stored), first[0].labels
        )
        arrived = torch.nn.functional.cross_entropy(twin.last(hidden), batch.labels)
        (rehearsed + arrived).backward()  # type: ignore[no-untyped-call]
        assert metrics["penalty"] == pytest.approx(rehearsed.item())
        twin.first.zero_grad(set_to_none=True)
        optimizer.step()
    for p, q in zip(network.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(p, q)


def test_a_task_that_returns_is_not_rehearsed_by_itself_and_stays_held() -> None:
    network = HiddenLayer()
    learner = learner_of(network, LearntEmbeddingRMA().build(domain()), RATE)
    learner.step(of_task(0, 0), 0)
    learner.leave(0, [of_task(0, 0)])
    held = network.first.weight.detach().clone()
    assert learner.step(of_task(0, 1), 0)["penalty"] == 0
    assert torch.equal(network.first.weight, held)


def test_a_memory_holds_embeddings_of_no_more_examples_than_it_may() -> None:
    network = HiddenLayer()
    method = LearntEmbeddingRMA(examples_per_task=8).build(domain())
    learner = learner_of(network, method)
    learner.step(of_task(0, 0), 0)
    drawn = iter([of_task(0, 1), of_task(0, 2), of_task(0, 3)])
    learner.leave(0, drawn)
    assert len(list(drawn)) == 1
    state = method.state_dict()
    assert state["penalty.0.inputs"].shape == (8, 5)
    last = torch.relu(network.first(of_task(0, 2).inputs))
    for row in last:
        assert any(torch.allclose(row, kept) for kept in state["penalty.0.inputs"])


def test_a_run_that_was_saved_goes_on_to_the_same_bits() -> None:
    networks = [HiddenLayer(), HiddenLayer()]
    methods = [LearntEmbeddingRMA().build(domain()) for _ in networks]
    learners = [
        learner_of(network, method)
        for network, method in zip(networks, methods, strict=True)
    ]
    learners[0].step(of_task(0, 0), 0)
    learners[0].leave(0, [of_task(0, 0, size=20)])
    networks[1].load_state_dict(networks[0].state_dict())
    methods[1].load_state_dict(methods[0].state_dict())
    for learner in learners:
        learner.step(of_task(1, 1), 1)
    for p, q in zip(networks[0].parameters(), networks[1].parameters(), strict=True):
        assert torch.equal(p, q)


def test_what_a_task_owns_below_the_readout_goes_on_learning() -> None:
    torch.manual_seed(0)
    network = MLP((3,), 4, (6, 5), task_layers=TaskLayers(task_input=True), max_tasks=2)
    learner = learner_of(network, LearntEmbeddingRMA().build(domain()), RATE)
    learner.step(of_task(0, 0), 0)
    learner.leave(0, [of_task(0, 0)])
    before = {n: p.detach().clone() for n, p in network.named_parameters()}
    for seed in range(3):
        learner.step(of_task(1, seed), 1)
    moved = {
        name
        for name, p in network.named_parameters()
        if not torch.equal(p, before[name])
    }
    assert moved == {
        *("layers.0.layers.1.weight", "layers.0.layers.1.bias"),
        *("layers.2.weight", "layers.2.bias"),
    }


def test_a_network_without_an_embedding_is_refused_at_the_first_step() -> None:
    for network in (LinearNetwork(3, 4), MLP((3,), 4, ())):
        learner = learner_of(network, LearntEmbeddingRMA().build(domain()))
        with pytest.raises(
            ConfigError, match="give it a hidden layer, or use rma_per_task"
        ):
            learner.step(of_task(0, 0), 0)


@pytest.mark.parametrize("owned", [False, True])
def test_the_readout_of_the_last_activations_is_the_forward_pass(owned: bool) -> None:
    torch.manual_seed(0)
    space = spaces.Box(-1, 1, (3,))
    networks: list[ContinualNetwork] = [
        MLP((3,), 4, (6, 5), task_layers=TaskLayers(task_head=owned), max_tasks=3),
        QNetwork(space, 4, Architecture(hidden=(6, 5)), task_gains=owned, max_tasks=3),
    ]
    batch = toy_batch((7, 3))._replace(task=torch.arange(7) % 3)
    for network in networks:
        embedding = network.activations(batch.inputs, batch.task)[-1]
        outputs = network(batch.inputs, batch.task)
        assert torch.equal(network.readout(embedding, batch.task), outputs)
        names = network.readout_parameters()
        parameters = dict(network.named_parameters())
        total = network.readout(embedding.detach(), batch.task).sum()
        gradient = torch.autograd.grad(
            total, list(parameters.values()), allow_unused=True
        )
        reached = {
            n for n, g in zip(parameters, gradient, strict=True) if g is not None
        }
        assert reached == names


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (LearntEmbeddingRMA(examples_per_task=0), "at least 1 example, got 0"),
        (LearntEmbeddingRMA(memory_gib=0.0), "memory_gib must be finite"),
    ],
)
def test_knobs_out_of_range_are_refused(
    config: LearntEmbeddingRMA, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        config.build(domain())
