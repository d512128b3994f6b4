import pytest
import torch

from clrl.continual.methods import (
    METHODS,
    RMA,
    ExperienceReplay,
    Joint,
    MethodConfig,
    PublishedRMA,
)
from clrl.types import TaskId

from .toy import LinearNetwork, ToyBatch, domain, learner_of, toy_batch


def batch_of(task: TaskId, first: int, size: int = 4) -> ToyBatch:
    """Examples whose labels are numbers that occur once."""
    labels = torch.arange(first, first + size)
    return ToyBatch(torch.zeros(size, 3), labels, torch.full((size,), task))


def test_experience_replay_trains_on_the_batch_and_as_many_remembered_ones() -> None:
    rehearse = ExperienceReplay(examples=6).build(domain()).rehearsal
    first = batch_of(0, 0)
    assert rehearse(first, 0) is first
    second = rehearse(batch_of(1, 4), 1)
    assert second.labels[:4].tolist() == [4, 5, 6, 7]
    assert sorted(second.labels[4:].tolist()) == [0, 1, 2, 3]
    assert second.task.tolist() == [1] * 4 + [0] * 4
    remembered = set()
    for step in range(2, 40):
        batch = rehearse(batch_of(0, 4 * step), 0)
        assert len(batch.task) == 8
        # Drawn before the batch itself was remembered.
        assert max(batch.labels[4:].tolist()) < 4 * step
        remembered |= set(batch.labels[4:].tolist())
    assert len(remembered) > 6


def test_joint_training_gives_every_earlier_task_the_weight_of_the_current_one() -> (
    None
):
    rehearse = Joint(examples_per_task=100).build(domain()).rehearsal
    for step in range(10):
        assert len(rehearse(batch_of(0, 4 * step), 0).task) == 4
    assert rehearse(batch_of(2, 0), 2).task.tolist() == [2] * 4 + [0] * 4
    third = rehearse(batch_of(1, 0), 1)
    assert third.task.tolist() == [1] * 4 + [0] * 4 + [2] * 4
    assert rehearse(batch_of(0, 40), 0).task.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert set(third.labels[4:8].tolist()) <= set(range(40))


@pytest.mark.parametrize(
    "config",
    [
        *(METHODS[name]() for name in ("gem", "agem", "er", "joint", "rma_per_task")),
        RMA(draws=3, write_every_updates=2),
        PublishedRMA(examples=40, draws=20, write_every_updates=2),
    ],
)
def test_a_run_that_was_saved_continues_to_the_same_bits(config: MethodConfig) -> None:
    def trained(saves: bool) -> list[torch.nn.Parameter]:
        network = LinearNetwork(3, 4)
        learner = learner_of(network, config.build(domain()))
        for step in range(12):
            learner.step(toy_batch((6, 3), step), task=step // 4)
            if saves and step == 6:
                state = {n: t.clone() for n, t in learner.method.state_dict().items()}
                fresh = config.build(domain())
                fresh.load_state_dict(state)
                learner = learner_of(network, fresh)
        return list(network.parameters())

    for p, q in zip(trained(saves=False), trained(saves=True), strict=True):
        assert torch.equal(p, q)
