import io
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from clrl.continual.anchors import Anchor, Anchors, OnlineAnchor, PerTaskAnchors
from clrl.continual.methods import EWC, L2, SI, ModeIMM
from clrl.continual.penalty import NoPenalty, QuadraticPenalty, sum_of_quadratics
from clrl.continual.task_layers import TaskLayers
from clrl.errors import ConfigError, DivergenceError
from clrl.supervised.network import MLP
from clrl.types import Parameters, TaskId

from .toy import domain, learner_of, seeded, toy_batch

SHAPES = {"weight": (3, 2), "bias": (3,), "gain": (2,)}


def random_parameters(generator: torch.Generator) -> Parameters:
    return {n: torch.randn(s, generator=generator) for n, s in SHAPES.items()}


def random_importance(generator: torch.Generator) -> Parameters:
    """Importances of very different size, a third of them zero."""
    omega = {n: 3 * torch.randn(s, generator=generator) for n, s in SHAPES.items()}
    kept = {n: torch.rand(s, generator=generator) > 1 / 3 for n, s in SHAPES.items()}
    omega = {n: omega[n].exp() * kept[n] for n in SHAPES}
    omega["bias"][0] = 1.0
    return omega


def ones(parameters: Parameters) -> Parameters:
    return {name: torch.ones_like(p) for name, p in parameters.items()}


def learnable(parameters: Parameters) -> dict[str, nn.Parameter]:
    return {name: nn.Parameter(p.clone()) for name, p in parameters.items()}


def consolidated(
    penalty: QuadraticPenalty, visits: list[TaskId], seed: int = 0
) -> list[tuple[TaskId, Anchor]]:
    """Leaves the tasks of ``visits`` with random anchors, which are returned."""
    g = seeded(seed)
    history = []
    for task in visits:
        anchor = Anchor(random_parameters(g), random_importance(g))
        penalty.consolidate(task, *anchor)
        history.append((task, anchor))
    return history


def literal_sum(
    strength: float, anchors: list[Anchor], parameters: dict[str, nn.Parameter]
) -> Tensor:
    """The double sum as it is printed, in double precision."""
    total = torch.zeros((), dtype=torch.float64)
    for anchor in anchors:
        for name, theta in parameters.items():
            distance = theta.double() - anchor.parameters[name].double()
            total = total + (anchor.importance[name] * distance.square()).sum()
    return strength / 2 * total


def penalty_gradient(
    penalty: QuadraticPenalty, parameters: dict[str, nn.Parameter], task: TaskId
) -> tuple[Tensor, Parameters]:
    value = penalty.add_gradient(parameters, task)
    return value, {n: p.grad for n, p in parameters.items() if p.grad is not None}


def assert_is_literal_sum(
    penalty: QuadraticPenalty, strength: float, anchors: list[Anchor], task: TaskId
) -> None:
    theta = learnable(random_parameters(seeded(99)))
    value, gradient = penalty_gradient(penalty, theta, task)
    twin = learnable({n: p.detach() for n, p in theta.items()})
    expected = literal_sum(strength, anchors, twin)
    torch.testing.assert_close(value.double(), expected.detach(), rtol=2e-5, atol=1e-5)
    if not anchors:
        assert gradient == {}
        return
    (expected + 0 * sum(p.sum() for p in twin.values())).backward()  # type: ignore[no-untyped-call]
    scale = max(float(p.grad.abs().max()) for p in twin.values() if p.grad is not None)
    for name, p in twin.items():
        torch.testing.assert_close(
            gradient[name], p.grad, rtol=2e-5, atol=1e-6 * (scale + 1)
        )


visits_of_tasks = st.lists(st.integers(0, 4), max_size=12)
strengths = st.floats(0, 1e4)


@settings(max_examples=60)
@given(strengths, visits_of_tasks, st.integers(0, 4), st.booleans(), st.integers(0, 99))
def test_per_task_penalty_is_the_literal_double_sum(
    strength: float, visits: list[TaskId], current: TaskId, own: bool, seed: int
) -> None:
    penalty = QuadraticPenalty(strength, PerTaskAnchors(own_task_active=own))
    latest = dict(consolidated(penalty, visits, seed))  # a later visit replaces
    active = [anchor for task, anchor in latest.items() if own or task != current]
    assert_is_literal_sum(penalty, strength, active, current)


@settings(max_examples=40)
@given(strengths, visits_of_tasks, st.floats(0, 1), st.integers(0, 99))
def test_online_penalty_has_the_closed_form_of_its_decay(
    strength: float, visits: list[TaskId], decay: float, seed: int
) -> None:
    penalty = QuadraticPenalty(strength, OnlineAnchor(decay))
    history = consolidated(penalty, visits, seed)
    importance = {
        name: torch.stack(
            [
                decay ** (len(history) - 1 - k) * anchor.importance[name]
                for k, (_, anchor) in enumerate(history)
            ]
        ).sum(0)
        for name in SHAPES
        if history
    }
    active = [Anchor(history[-1][1].parameters, importance)] if history else []
    assert_is_literal_sum(penalty, strength, active, task=0)


@settings(max_examples=30)
@given(strengths, visits_of_tasks, st.integers(0, 99))
def test_the_largest_curvature_is_that_of_the_gradient_in_a_new_task(
    strength: float, visits: list[TaskId], seed: int
) -> None:
    """The gradient is linear, so its slope is what one unit in each parameter adds."""
    penalty = QuadraticPenalty(strength, PerTaskAnchors())
    assert penalty.largest_curvature() == 0
    consolidated(penalty, [*visits, 0], seed)
    zeros = {name: torch.zeros(shape) for name, shape in SHAPES.items()}
    _, at_zero = penalty_gradient(penalty, learnable(zeros), task=99)
    _, at_one = penalty_gradient(penalty, learnable(ones(zeros)), task=99)
    slope = max((at_one[n] - at_zero[n]).max().item() for n in SHAPES)
    assert penalty.largest_curvature().item() == pytest.approx(slope, rel=1e-3)


def test_penalty_of_a_grid_worked_by_hand() -> None:
    penalty = QuadraticPenalty(10.0, PerTaskAnchors())
    penalty.consolidate(
        0, {"w": torch.tensor([0.0, 1.0])}, {"w": torch.tensor([2.0, 0.0])}
    )
    penalty.consolidate(
        1, {"w": torch.tensor([1.0, 5.0])}, {"w": torch.tensor([1.0, 3.0])}
    )
    theta = {"w": nn.Parameter(torch.tensor([2.0, 4.0]))}
    theta["w"].grad = torch.tensor([100.0, 200.0])
    # 10/2 (2 (2-0)^2 + 1 (2-1)^2 + 0 (4-1)^2 + 3 (4-5)^2) = 60
    assert penalty.add_gradient(theta, task=2).item() == pytest.approx(60.0)
    # 10 (2 * 2 + 1 * 1), 10 (0 * 3 + 3 * -1), on top of what was there
    assert theta["w"].grad.tolist() == pytest.approx([150.0, 170.0])


def test_a_tasks_own_anchor_is_off_while_it_is_the_current_task() -> None:
    penalty = QuadraticPenalty(1.0, PerTaskAnchors())
    consolidated(penalty, [3])
    theta = learnable(random_parameters(seeded(5)))
    assert penalty.add_gradient(theta, task=3).item() == 0
    assert penalty.add_gradient(theta, task=1).item() > 0
    assert penalty.add_gradient(theta, task=3).item() == 0


def test_leaving_a_task_again_replaces_its_anchor() -> None:
    once = QuadraticPenalty(1.0, PerTaskAnchors())
    often = QuadraticPenalty(1.0, PerTaskAnchors())
    history = consolidated(often, [0, 0, 0, 0])
    once.consolidate(0, *history[-1][1])
    theta = random_parameters(seeded(5))
    value, gradient = penalty_gradient(once, learnable(theta), task=1)
    value_often, gradient_often = penalty_gradient(often, learnable(theta), task=1)
    assert torch.equal(value, value_often)
    assert all(torch.equal(gradient[n], gradient_often[n]) for n in SHAPES)


@pytest.mark.parametrize("anchors", [PerTaskAnchors, lambda: OnlineAnchor(0.9)])
def test_at_the_anchor_the_penalty_is_exactly_zero(
    anchors: Callable[[], Anchors],
) -> None:
    penalty = QuadraticPenalty(1e4, anchors())
    theta = random_parameters(seeded(1))
    for task in range(5):
        penalty.consolidate(task, theta, random_importance(seeded(task)))
    value, gradient = penalty_gradient(penalty, learnable(theta), task=9)
    assert value.item() == 0
    assert not any(bool(g.any()) for g in gradient.values())


def test_a_new_anchor_counts_from_the_next_step_on() -> None:
    penalty = QuadraticPenalty(1.0, PerTaskAnchors())
    theta = learnable(random_parameters(seeded(5)))
    assert penalty.add_gradient(theta, task=9).item() == 0
    consolidated(penalty, [0])
    one = penalty.add_gradient(theta, task=9).item()
    consolidated(penalty, [1], seed=1)
    assert 0 < one < penalty.add_gradient(theta, task=9).item()


def test_anchors_are_copies() -> None:
    penalty = QuadraticPenalty(1.0, PerTaskAnchors())
    theta, omega = random_parameters(seeded(1)), random_importance(seeded(1))
    penalty.consolidate(0, theta, omega)
    before = {name: t.clone() for name, t in penalty.state_dict().items()}
    for tensor in (*theta.values(), *omega.values()):
        tensor.add_(1)
    after = penalty.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


class CountedWork(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts operations, and the tensors that go into them."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations = 0
        self.tensors = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        self.operations += 1
        self.tensors += len(torch.utils._pytree.tree_leaves(args))
        return func(*args, **(kwargs or {}))


def test_the_importance_of_a_task_is_that_of_its_last_anchor() -> None:
    penalty = QuadraticPenalty(1.0, PerTaskAnchors())
    history = consolidated(penalty, [0, 1, 0])
    importance = penalty.importance(0)
    assert importance is not None
    assert all(
        torch.equal(x, history[2][1].importance[n]) for n, x in importance.items()
    )
    assert penalty.importance(2) is None


def test_the_importance_of_one_running_anchor_is_every_tasks() -> None:
    penalty = QuadraticPenalty(1.0, OnlineAnchor(decay=0.5))
    assert penalty.importance(0) is None
    first, second = (anchor for _, anchor in consolidated(penalty, [0, 1]))
    importance = penalty.importance(7)
    assert importance is not None
    for name, x in importance.items():
        expected = 0.5 * first.importance[name] + second.importance[name]
        assert torch.equal(x, expected)


def test_a_step_costs_the_same_with_twenty_tasks_as_with_one() -> None:
    counts = []
    for tasks in (1, 20):
        penalty = QuadraticPenalty(1.0, PerTaskAnchors())
        consolidated(penalty, list(range(tasks)))
        theta = learnable(random_parameters(seeded(5)))
        penalty.add_gradient(theta, task=99)  # sums the anchors once
        with CountedWork() as counted:
            penalty.add_gradient(theta, task=99)
        counts.append((counted.operations, counted.tensors))
    assert counts[0] == counts[1]
    assert counts[0][0] > 0


def test_far_anchors_close_together_lose_no_precision() -> None:
    # With sum Omega theta*^2 - precision mean^2 the constant would be rounding error.
    anchors = [
        Anchor({"w": torch.tensor([1000.0 + k / 100])}, {"w": torch.tensor([1.0])})
        for k in (-1, 0, 1)
    ]
    quadratic = sum_of_quadratics(anchors)
    assert quadratic.constant.item() == pytest.approx(2e-4, rel=0.02)
    assert quadratic.mean["w"].item() == pytest.approx(1000.0)
    assert quadratic.root["w"].item() == pytest.approx(3**0.5)


def in_order_of_name(parameters: Parameters) -> Parameters:
    return {name: parameters[name] for name in sorted(parameters)}


@pytest.mark.parametrize("seed", range(10))
def test_the_sum_does_not_depend_on_the_order_of_the_parameters(seed: int) -> None:
    g = seeded(seed)
    anchors = [Anchor(random_parameters(g), random_importance(g)) for _ in range(3)]
    sorted_anchors = [Anchor(*map(in_order_of_name, anchor)) for anchor in anchors]
    constants = [sum_of_quadratics(a).constant for a in (anchors, sorted_anchors)]
    assert torch.equal(constants[0], constants[1])


@pytest.mark.parametrize(
    "make",
    [PerTaskAnchors, lambda: OnlineAnchor(0.9)],
    ids=["per task", "online"],
)
@settings(max_examples=50)
@given(before=visits_of_tasks, after=visits_of_tasks, seed=st.integers(0, 99))
def test_a_penalty_that_was_saved_continues_to_the_same_bits(
    make: Callable[[], Anchors], before: list[TaskId], after: list[TaskId], seed: int
) -> None:
    original = QuadraticPenalty(3.0, make())
    consolidated(original, before, seed)
    file = io.BytesIO()
    torch.save(original.state_dict(), file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    resumed = QuadraticPenalty(3.0, make())
    consolidated(resumed, [2], seed=1234)  # what it held is forgotten
    resumed.load_state_dict({name: state[name] for name in sorted(state)})
    for penalty in (original, resumed):
        consolidated(penalty, after, seed + 1)
    theta = random_parameters(seeded(5))
    for task in range(5):
        value, gradient = penalty_gradient(original, learnable(theta), task)
        again, gradient_again = penalty_gradient(resumed, learnable(theta), task)
        assert torch.equal(value, again)
        assert gradient.keys() == gradient_again.keys()
        assert all(torch.equal(gradient[n], gradient_again[n]) for n in gradient)


def test_the_state_of_another_penalty_is_refused() -> None:
    per_task = QuadraticPenalty(1.0, PerTaskAnchors())
    online = QuadraticPenalty(1.0, OnlineAnchor(0.9))
    consolidated(per_task, [0])
    consolidated(online, [0])
    with pytest.raises(ValueError, match="must begin with its task"):
        QuadraticPenalty(1.0, PerTaskAnchors()).load_state_dict(online.state_dict())
    with pytest.raises(ValueError, match="must be named parameters or importance"):
        QuadraticPenalty(1.0, OnlineAnchor(0.9)).load_state_dict(per_task.state_dict())
    with pytest.raises(ValueError, match="NoPenalty remembers nothing"):
        NoPenalty().load_state_dict(online.state_dict())


@pytest.mark.parametrize("strength", [-1.0, float("nan"), float("inf")])
def test_a_strength_that_is_negative_or_not_finite_is_refused(strength: float) -> None:
    with pytest.raises(ConfigError, match=f"finite and at least 0, got {strength}"):
        QuadraticPenalty(strength, PerTaskAnchors())


@pytest.mark.parametrize("decay", [-0.1, 1.1, float("nan")])
def test_a_decay_outside_zero_to_one_is_refused(decay: float) -> None:
    with pytest.raises(ConfigError, match="between 0 and 1"):
        OnlineAnchor(decay)


@pytest.mark.parametrize("anchors", [PerTaskAnchors, lambda: OnlineAnchor(0.9)])
def test_parameters_that_changed_since_they_were_anchored_are_refused(
    anchors: Callable[[], Anchors],
) -> None:
    penalty = QuadraticPenalty(1.0, anchors())
    consolidated(penalty, [0])
    reshaped = random_parameters(seeded(0)) | {"weight": torch.zeros(1, 2)}
    with pytest.raises(ValueError, match=r"'weight' must have shape \(3, 2\)"):
        penalty.add_gradient(learnable(reshaped), task=1)
    with pytest.raises(ValueError, match=r"'weight' must have shape \(3, 2\)"):
        penalty.consolidate(1, reshaped, ones(reshaped))
    renamed = random_parameters(seeded(0)) | {"offset": torch.zeros(3)}
    with pytest.raises(ValueError, match="'offset' must have shape None as anchored"):
        penalty.add_gradient(learnable(renamed), task=1)


def test_importance_of_other_parameters_is_refused() -> None:
    penalty = QuadraticPenalty(1.0, PerTaskAnchors())
    with pytest.raises(ValueError, match="'bias' must have shape"):
        penalty.consolidate(
            0, random_parameters(seeded(0)), {"weight": torch.ones(3, 2)}
        )


def test_a_network_that_shares_nothing_is_refused_at_the_first_step() -> None:
    owned = TaskLayers(task_input=True, task_hidden=True, task_head=True)
    network = MLP((3,), 4, (5,), task_layers=owned, max_tasks=2)
    batch = toy_batch((6, 3))._replace(task=torch.zeros(6, dtype=torch.long))
    for config in (L2(), EWC(), SI(), ModeIMM()):
        learner = learner_of(network, config.build(domain()))
        with pytest.raises(ConfigError, match="all belong to single tasks"):
            learner.step(batch, 0)


def test_a_sum_of_quadratics_is_where_the_anchors_are() -> None:
    # A device that computes no numbers: who mixes it with the CPU is refused.
    def anchor() -> Anchor:
        return Anchor(*({"w": torch.ones(3, device="meta")} for _ in range(2)))

    total = sum_of_quadratics([anchor(), anchor()])
    for tensor in (total.root["w"], total.mean["w"], total.constant):
        assert tensor.device == torch.device("meta")


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("which", ["parameters", "importance"])
def test_what_is_not_finite_is_not_anchored(which: str, bad: float) -> None:
    penalty = QuadraticPenalty(1.0, PerTaskAnchors())
    anchor = Anchor(random_parameters(seeded(0)), random_importance(seeded(0)))
    anchor._asdict()[which]["bias"][1] = bad
    with pytest.raises(DivergenceError, match=f"the {which} of a task .* 'bias'"):
        penalty.consolidate(0, *anchor)
    assert penalty.state_dict() == {}


def test_a_penalty_that_would_protect_nothing_is_refused() -> None:
    penalty = QuadraticPenalty(1.0, PerTaskAnchors())
    nothing = {name: torch.zeros(shape) for name, shape in SHAPES.items()}
    with pytest.raises(DivergenceError, match="silently inactive"):
        penalty.consolidate(0, random_parameters(seeded(0)), nothing)


def test_negative_importance_is_refused() -> None:
    penalty = QuadraticPenalty(1.0, PerTaskAnchors())
    omega = random_importance(seeded(0))
    omega["bias"][1] = -0.5
    with pytest.raises(ValueError, match=r"at least 0, got -0\.5 in 'bias'"):
        penalty.consolidate(0, random_parameters(seeded(0)), omega)
