import pytest
import torch
from torch import nn

from clrl.continual.methods import RMA, MethodConfig, PerTaskRMA, PublishedRMA
from clrl.errors import ConfigError

from .toy import CLASSES, LinearNetwork, domain, learner_of, toy_batch


def test_a_step_is_that_on_a_memory_of_zero_rows_with_zero_labels() -> None:
    # Four rows of eight are written, and all are drawn.
    config = PublishedRMA(examples=8, draws=8, write_every_updates=2)
    network, twin = LinearNetwork(3, CLASSES), LinearNetwork(3, CLASSES)
    learner = learner_of(network, config.build(domain()), lr=0.5)
    batches = [toy_batch((4, 3), seed) for seed in range(3)]
    inputs, labels = torch.zeros(8, 3), torch.zeros(8, CLASSES)
    optimizer = torch.optim.SGD(twin.parameters(), lr=0.5)
    for step, batch in enumerate(batches):
        one_hot = nn.functional.one_hot(batch.labels, CLASSES).float()
        x, y = torch.cat([batch.inputs, inputs]), torch.cat([one_hot, labels])
        tasks = torch.zeros(12).long()
        loss = -(y * twin(x, tasks).log_softmax(1)).sum(1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 2 == 0:
            first = 2 * step
            inputs[first : first + 4], labels[first : first + 4] = batch.inputs, one_hot
        learner.step(batch, task=0)
        for p, q in zip(network.parameters(), twin.parameters(), strict=True):
            torch.testing.assert_close(p, q)


def test_as_much_is_rehearsed_as_the_memory_is_full() -> None:
    config = PublishedRMA(examples=40, draws=10, write_every_updates=5)
    rehearse = config.build(domain()).rehearsal
    hits = []
    for step in range(150):
        batch = rehearse(toy_batch((8, 3), step % 7), 0)
        assert 8 <= len(batch.task) <= 18
        hits.append(len(batch.task) - 8)
    # Nothing is stored at step 0, then 8 rows more every 5 steps, up to all 40.
    assert hits[0] == 0
    assert all(h == 10 for h in hits[21:])
    config = PublishedRMA(examples=40, draws=10, write_every_updates=10**6)
    rehearse = config.build(domain()).rehearsal
    repeats = 300
    found = [len(rehearse(toy_batch((8, 3)), 0).task) - 8 for _ in range(repeats)]
    # Hypergeometric: 10 draws of 40 rows, 8 of them written.
    mean, variance = 10 * 8 / 40, 10 * 0.2 * 0.8 * 30 / 39
    five_sigma = 5 * (variance / repeats) ** 0.5
    assert abs(sum(found[1:]) / (repeats - 1) - mean) < five_sigma


def test_by_default_only_written_rows_are_drawn_from_one_memory() -> None:
    method = RMA(examples=12, draws=3, write_every_updates=2).build(domain())
    batches = [toy_batch((4, 3), seed) for seed in range(6)]
    written: list[torch.Tensor] = []
    for update, batch in enumerate(batches):
        trained = method.rehearsal(batch, update // 3)
        assert torch.equal(trained.inputs[:4], batch.inputs)
        rehearsed = trained.inputs[4:]
        assert len(rehearsed) == (3 if written else 0)
        for row in rehearsed:
            assert any(bool((row == kept).all(1).any()) for kept in written)
        if update % 2 == 0:
            written.append(batch.inputs)
    # All that is drawn counts, so that nothing dilutes the mean.
    gradient = {"weight": torch.ones(2)}
    assert method.constraint(gradient, lambda batches: {}, 0) is gradient


def test_a_memory_for_each_task_is_rehearsed_as_a_whole() -> None:
    rehearse = PerTaskRMA(examples_per_task=20).build(domain()).rehearsal
    rehearse(toy_batch((4, 3)), 0)
    assert len(rehearse(toy_batch((4, 3), 1), 1).task) == 8
    learner = learner_of(LinearNetwork(3, CLASSES), PerTaskRMA().build(domain()))
    learner.step(toy_batch((4, 3)), 0)


def test_the_state_of_another_rehearsal_is_refused() -> None:
    state = PerTaskRMA().build(domain()).state_dict()
    with pytest.raises(ValueError, match="must begin with one of"):
        PublishedRMA().build(domain()).load_state_dict(state)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (PublishedRMA(draws=0), "draws must be at least 1, got 0"),
        (RMA(write_every_updates=0), "write_every_updates must be at least 1"),
        (PerTaskRMA(examples_per_task=0), "at least 1 example, got 0"),
    ],
)
def test_knobs_out_of_range_are_refused(config: MethodConfig, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config.build(domain())
