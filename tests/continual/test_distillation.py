import io

import pytest
import torch
from torch import Tensor, nn

from clrl.continual.distillation import Distillation, distillation
from clrl.continual.methods import LwF
from clrl.continual.network import ContinualNetwork, TaskOwned
from clrl.errors import ConfigError

from .toy import ToyBatch, domain, learner_of, seeded, toy_batch


class Heads(TaskOwned):
    def __init__(self) -> None:
        super().__init__()
        self.heads = nn.ModuleList(nn.Linear(5, 4) for _ in range(3))

    def forward(self, x: Tensor, task: Tensor) -> Tensor:
        every = torch.stack([head(x) for head in self.heads])
        return every[task, torch.arange(len(task))]


class HeadNetwork(ContinualNetwork):
    """A shared layer with dropout, and a head for each task."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.fc = nn.Linear(3, 5)
            self.heads = Heads()
        self.dropout = nn.Dropout(0.5)

    def forward(self, inputs: Tensor, task: Tensor) -> Tensor:
        outputs: Tensor = self.heads(self.dropout(self.fc(inputs).relu()), task)
        return outputs


def inputs_of(batch: ToyBatch) -> Tensor:
    return batch.inputs


def penalty(strength: float = 1.0, temperature: float = 2.0) -> Distillation[ToyBatch]:
    return Distillation(strength=strength, temperature=temperature, inputs=inputs_of)


def test_distillation_is_the_divergence_of_softened_outputs() -> None:
    y, t = torch.randn(2, 6, 4, generator=seeded(0))
    p, q = (t / 3).softmax(1), (y / 3).softmax(1)
    literal = torch.tensor(
        [
            sum(p[n, c] * torch.log(p[n, c] / q[n, c]) for c in range(4))
            for n in range(6)
        ]
    )
    torch.testing.assert_close(distillation(y, t, 3.0), literal)
    torch.testing.assert_close(distillation(y, y, 3.0), torch.zeros(6))


def test_its_gradient_is_that_of_the_papers_cross_entropy() -> None:
    y, t = torch.randn(2, 6, 4, generator=seeded(0))
    y.requires_grad_()
    (ours,) = torch.autograd.grad(distillation(y, t, 2.0).sum(), y)
    paper = -((t / 2).softmax(1) * (y / 2).log_softmax(1)).sum()
    torch.testing.assert_close(ours, torch.autograd.grad(paper, y)[0])


def test_masked_outputs_take_no_part() -> None:
    y, t = torch.randn(2, 6, 4, generator=seeded(0))
    masked_y, masked_t = (
        torch.cat([x, torch.full((6, 2), -torch.inf)], 1) for x in (y, t)
    )
    masked_y.requires_grad_()
    got = distillation(masked_y, masked_t, 2.0)
    torch.testing.assert_close(got, distillation(y, t, 2.0))
    (gradient,) = torch.autograd.grad(got.sum(), masked_y)
    assert gradient.isfinite().all()


def test_every_earlier_head_is_held_on_the_new_data() -> None:
    network, held, batch = (
        HeadNetwork().eval(),
        penalty(strength=0.3),
        toy_batch((7, 3)),
    )
    for task in (0, 2):
        held.learn_from(network, task)
        with torch.no_grad():
            network.fc.weight.add_(0.1)
    teacher = HeadNetwork().eval()
    with torch.no_grad():
        teacher.fc.weight.add_(0.1)
    expected = torch.zeros(())
    for task in (0, 2):
        as_task = torch.full((7,), task)
        outputs, taught = (n(batch.inputs, as_task) for n in (network, teacher))
        expected = expected + 0.3 * distillation(outputs, taught, 2.0).mean()
    got = held.loss(network, batch, task=1)
    torch.testing.assert_close(got, expected)
    # A task that returns is not held by its own past.
    assert 0 < held.loss(network, batch, task=0).item() < got.item()
    assert held.add_gradient({}, 1).item() == 0


def test_the_teacher_uses_no_dropout_and_leaves_the_mode_alone() -> None:
    network, held = HeadNetwork().train(), penalty()
    network.dropout.p = 0.0
    held.learn_from(network, 0)
    batch = toy_batch((7, 3))
    assert held.loss(network, batch, 1).item() == pytest.approx(0, abs=1e-6)
    network.dropout.p = 1.0
    assert held.loss(network, batch, 1).item() > 0.001
    assert network.dropout.training


def test_lwf_holds_the_outputs_that_finetuning_loses() -> None:
    moved = []
    for strength in (0.0, 10.0):
        network = HeadNetwork().eval()
        learner = learner_of(network, LwF(strength=strength).build(domain()), lr=0.1)
        first, second = toy_batch((20, 3), 1), toy_batch((20, 3), 2)
        first, second = (
            batch._replace(task=torch.full((20,), task))
            for task, batch in enumerate((first, second))
        )
        for _ in range(150):
            learner.step(first, 0)
        learner.leave(0, [])
        before = network(second.inputs, first.task).softmax(1).detach()
        for _ in range(150):
            recorded = learner.step(second, 1)
        after = network(second.inputs, first.task).softmax(1).detach()
        moved.append((after - before).abs().mean().item())
        assert (recorded["penalty"].item() > 0) == (strength > 0)
    assert moved[1] < moved[0] / 2


def test_a_teacher_that_was_saved_teaches_the_same() -> None:
    network, held, batch = HeadNetwork().eval(), penalty(), toy_batch((7, 3))
    held.learn_from(network, 0)
    held.learn_from(network, 2)
    with torch.no_grad():
        network.fc.weight.add_(0.3)
    file = io.BytesIO()
    torch.save(held.state_dict(), file)
    file.seek(0)
    loaded = penalty()
    loaded.load_state_dict(torch.load(file, weights_only=True))
    for task in range(3):
        got, expected = (p.loss(network, batch, task) for p in (loaded, held))
        assert torch.equal(got, expected)
    with pytest.raises(ValueError, match="state of a teacher and its tasks"):
        loaded.load_state_dict({"w": torch.ones(1)})


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (LwF(strength=-1.0), "strength must be"),
        (LwF(temperature=0.0), "temperature must be finite and more than 0"),
    ],
)
def test_knobs_out_of_range_are_refused(config: LwF, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config.build(domain())
