from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import pytest
import torch
from jaxtyping import Float
from torch import Tensor, nn

from clrl.continual.anchors import PerTaskAnchors
from clrl.continual.learner import ContinualLearner, Method
from clrl.continual.network import ContinualNetwork
from clrl.continual.penalty import QuadraticPenalty
from clrl.continual.state import Stateless
from clrl.types import Parameters, TaskId

from .toy import (
    GainNetwork,
    LinearNetwork,
    ToyBatch,
    cross_entropy,
    learner_of,
    toy_batch,
)


class Tape(Stateless):
    """Every seam but ``rehearsal`` at once; writes down the order of the calls."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def loss(
        self, network: ContinualNetwork, batch: ToyBatch, task: TaskId
    ) -> Float[Tensor, ""]:
        self.calls.append("penalty.loss")
        return torch.zeros(())

    def add_gradient(
        self, parameters: dict[str, nn.Parameter], task: TaskId
    ) -> Float[Tensor, ""]:
        self.calls.append("penalty.add_gradient")
        return torch.zeros(())

    def before_update(self, parameters: Parameters) -> None:
        self.calls.append("consolidation.before_update")

    def after_update(self, parameters: Parameters) -> None:
        self.calls.append("consolidation.after_update")

    def leave(
        self, network: ContinualNetwork, task: TaskId, batches: Iterable[ToyBatch]
    ) -> dict[str, Tensor]:
        self.calls.append(f"consolidation.leave {task}")
        return {}

    def __call__(
        self,
        gradient: Parameters,
        gradients_of: Callable[[Sequence[ToyBatch]], Parameters],
        task: TaskId,
    ) -> Parameters:
        self.calls.append("constraint")
        return gradient


class TapedRehearsal(Stateless):
    def __init__(self, calls: list[str]) -> None:
        self.calls = calls

    def __call__(self, batch: ToyBatch, task: TaskId) -> ToyBatch:
        self.calls.append("rehearsal")
        return batch


class TapedSGD(torch.optim.SGD):
    calls: list[str]

    def step(self, closure: None = None) -> None:  # type: ignore[override]
        self.calls.append("optimizer")
        super().step(closure)


def test_the_seams_are_asked_in_their_order() -> None:
    tape, network = Tape(), LinearNetwork(3, 4)

    def objective(network: ContinualNetwork, batch: ToyBatch) -> Float[Tensor, "B"]:
        tape.calls.append("objective")
        return cross_entropy(network, batch)

    optimizer = TapedSGD(network.parameters(), lr=0.1)
    optimizer.calls = tape.calls
    method = Method(
        rehearsal=TapedRehearsal(tape.calls),
        penalty=tape,
        constraint=tape,
        consolidation=tape,
    )
    learner = ContinualLearner(
        network=network, optimizer=optimizer, objective=objective, method=method
    )
    learner.step(toy_batch((5, 3)), task=0)
    learner.leave(0, [])
    assert tape.calls == [
        "rehearsal",
        "objective",
        "penalty.loss",
        "consolidation.before_update",
        "penalty.add_gradient",
        "constraint",
        "optimizer",
        "consolidation.after_update",
        "consolidation.leave 0",
    ]


def test_with_nothing_plugged_in_a_step_is_that_of_plain_torch() -> None:
    ours, plain = GainNetwork(), GainNetwork()
    learner = replace(
        learner_of(ours, Method()), optimizer=torch.optim.Adam(ours.parameters())
    )
    optimizer = torch.optim.Adam(plain.parameters())
    for seed in range(5):
        batch = toy_batch((6, 2, 7, 7), seed)
        torch.manual_seed(seed)  # dropout
        recorded = learner.step(batch, task=0)
        torch.manual_seed(seed)
        loss = nn.functional.cross_entropy(plain(*batch[::2]), batch.labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        assert recorded["loss"].item() == pytest.approx(loss.item(), rel=1e-6)
        assert recorded["penalty"].item() == 0
    for a, b in zip(ours.parameters(), plain.parameters(), strict=True):
        assert torch.equal(a, b)


class Recalling(Stateless):
    """A constraint that asks for a memory's gradient, and returns a hundredfold."""

    def __init__(self, memory: ToyBatch, network: ContinualNetwork) -> None:
        self.memory = memory
        self.network = network
        self.recalled: Parameters = {}

    def __call__(
        self,
        gradient: Parameters,
        gradients_of: Callable[[Sequence[ToyBatch]], Parameters],
        task: TaskId,
    ) -> Parameters:
        before = {name: g.clone() for name, g in gradient.items()}
        self.recalled = gradients_of([self.memory])
        for name, p in self.network.named_parameters():
            assert p.grad is not None
            assert torch.equal(p.grad, before[name])
        return {name: 100 * g for name, g in gradient.items()}


def test_gradients_of_is_the_gradient_of_the_mean_and_leaves_grad_alone() -> None:
    network, memory = LinearNetwork(3, 4), toy_batch((7, 3), seed=1)
    twin = LinearNetwork(3, 4)
    constraint = Recalling(memory, network)
    learner_of(network, Method(constraint=constraint)).step(toy_batch((5, 3)), task=0)
    cross_entropy(twin, memory).mean().backward()  # type: ignore[no-untyped-call]
    for name, p in twin.named_parameters():
        assert p.grad is not None
        assert torch.equal(constraint.recalled[name], p.grad[None])


def test_the_gradient_is_clipped_after_it_was_constrained() -> None:
    network = LinearNetwork(3, 4)
    before = [p.detach().clone() for p in network.parameters()]
    method = Method(constraint=Recalling(toy_batch((7, 3), seed=1), network))
    learner = replace(learner_of(network, method, lr=1.0), max_grad_norm=0.5)
    learner.step(toy_batch((5, 3)), task=0)
    moved = [p - q for p, q in zip(network.parameters(), before, strict=True)]
    norm = torch.cat([m.detach().flatten() for m in moved]).norm()
    assert norm.item() == pytest.approx(0.5, rel=1e-4)


class Relaid(Stateless):
    """Leaves the gradient as it is, but for its order in memory."""

    def __call__(
        self, gradient: Parameters, gradients_of: object, task: TaskId
    ) -> Parameters:
        return {
            name: g.t().contiguous().t() if g.dim() == 2 else g
            for name, g in gradient.items()
        }


def test_a_gradient_in_another_memory_layout_is_applied_to_the_same_weights() -> None:
    weights = []
    for method in (Method[ToyBatch](), Method[ToyBatch](constraint=Relaid())):
        network = LinearNetwork(3, 4)
        learner = replace(
            learner_of(network, method),
            optimizer=torch.optim.Adam(network.parameters(), lr=0.1, fused=True),
        )
        learner.step(toy_batch((5, 3)), task=0)
        weights.append(torch.cat([p.detach().flatten() for p in network.parameters()]))
    torch.testing.assert_close(weights[0], weights[1], rtol=0, atol=0)


def test_the_gradient_that_is_applied_includes_the_penalty() -> None:
    network, twin = LinearNetwork(3, 4), LinearNetwork(3, 4)
    anchor = {n: torch.randn_like(p) for n, p in network.shared_parameters().items()}
    ones = {n: torch.ones_like(p) for n, p in network.shared_parameters().items()}
    penalty = QuadraticPenalty(0.7, PerTaskAnchors())
    penalty.consolidate(0, anchor, ones)
    batch = toy_batch((5, 3))
    recorded = learner_of(network, Method(penalty=penalty)).step(batch, task=1)

    squares = [(p - anchor[n]).square().sum() for n, p in twin.named_parameters()]
    expected = 0.35 * torch.stack(squares).sum()
    (cross_entropy(twin, batch).mean() + expected).backward()  # type: ignore[no-untyped-call]
    torch.optim.SGD(twin.parameters(), lr=0.1).step()
    for a, b in zip(network.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(a, b)
    assert recorded["penalty"].item() == pytest.approx(expected.item(), rel=1e-5)


def test_gradient_norms_are_those_of_autograd_and_take_no_step() -> None:
    network, twin = GainNetwork(), GainNetwork()
    network.eval()  # dropout would draw twice
    twin.eval()
    shared = twin.shared_parameters()
    anchor = {name: torch.randn_like(p) for name, p in shared.items()}
    omega = {name: torch.rand_like(p) for name, p in shared.items()}
    penalty = QuadraticPenalty(0.7, PerTaskAnchors())
    penalty.consolidate(0, anchor, omega)
    learner, batch = (
        learner_of(network, Method(penalty=penalty)),
        toy_batch((5, 2, 7, 7)),
    )
    norms = learner.gradient_norms(batch, task=1)

    squares = [(omega[n] * (p - anchor[n]).square()).sum() for n, p in shared.items()]
    for name, value in (
        ("objective", cross_entropy(twin, batch).mean()),
        ("penalty", 0.35 * torch.stack(squares).sum()),
    ):
        gradient = torch.autograd.grad(value, list(shared.values()))
        expected = torch.cat([g.flatten() for g in gradient]).norm()
        assert norms[name].item() == pytest.approx(expected.item(), rel=1e-5)
    for ours, before in zip(network.parameters(), twin.parameters(), strict=True):
        assert torch.equal(ours, before)
    learner.step(batch, task=1)
    fresh = learner_of(twin, Method(penalty=penalty))
    fresh.step(batch, task=1)
    for ours, theirs in zip(network.parameters(), twin.parameters(), strict=True):
        assert torch.equal(ours, theirs)


class Distilling(Stateless):
    """A penalty that autograd differentiates: twice the sum of the outputs."""

    def loss(
        self, network: ContinualNetwork, batch: ToyBatch, task: TaskId
    ) -> Float[Tensor, ""]:
        outputs: Tensor = network(batch.inputs, batch.task)
        return 2 * outputs.sum()

    def add_gradient(
        self, parameters: dict[str, nn.Parameter], task: TaskId
    ) -> Float[Tensor, ""]:
        return torch.zeros(())


def test_gradient_norms_count_a_penalty_on_the_outputs() -> None:
    network, batch = LinearNetwork(3, 4), toy_batch((5, 3))
    norms = learner_of(network, Method(penalty=Distilling())).gradient_norms(batch, 0)
    total = 2 * network(batch.inputs, batch.task).sum()
    gradient = torch.autograd.grad(total, list(network.parameters()))
    expected = torch.cat([g.flatten() for g in gradient]).norm()
    assert norms["penalty"].item() == pytest.approx(expected.item())
    none = learner_of(network, Method()).gradient_norms(batch, 0)
    assert none["penalty"].item() == 0
    assert none["objective"].item() == norms["objective"].item()


def test_the_state_of_a_method_is_that_of_its_seams() -> None:
    penalty = QuadraticPenalty(0.7, PerTaskAnchors())
    penalty.consolidate(2, {"w": torch.ones(2)}, {"w": torch.ones(2)})
    state = Method(penalty=penalty).state_dict()
    assert set(state) == {"penalty.2.parameters.w", "penalty.2.importance.w"}
    fresh = QuadraticPenalty(0.7, PerTaskAnchors())
    Method(penalty=fresh).load_state_dict(state)
    assert fresh.state_dict().keys() == penalty.state_dict().keys()


def test_a_method_refuses_the_state_of_another() -> None:
    with pytest.raises(ValueError, match="NoPenalty remembers nothing"):
        Method().load_state_dict({"penalty.0.parameters.w": torch.ones(2)})
    with pytest.raises(ValueError, match="must begin with one of"):
        Method().load_state_dict({"optimizer.w": torch.ones(2)})
    assert Method().state_dict() == {}
