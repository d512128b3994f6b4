import pytest
import torch
from torch import Tensor

from clrl.continual.importance import FisherDiagonal, LogLikelihood, exact
from clrl.continual.methods import MeanIMM, ModeIMM
from clrl.types import Parameters

from .toy import CLASSES, GainNetwork, LinearNetwork, domain, seeded, toy_batch

MODE = ModeIMM(importance="exact")


def solutions(count: int) -> list[Parameters]:
    g = seeded(3)
    shapes = {n: p.shape for n, p in LinearNetwork(3, CLASSES).named_parameters()}
    return [
        {n: torch.randn(shape, generator=g) for n, shape in shapes.items()}
        for _ in range(count)
    ]


def put(network: LinearNetwork, parameters: Parameters) -> None:
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.copy_(parameters[name])


def merged_of(config: MeanIMM | ModeIMM, saves: bool = False) -> Parameters:
    """The network after the tasks were learnt to ``solutions`` and left."""
    network, method = LinearNetwork(3, CLASSES), config.build(domain())
    for task, solution in enumerate(solutions(3)):
        put(network, solution)
        method.consolidation.leave(network, task, [toy_batch((9, 3), task)])
        if saves:
            state = {n: t.clone() for n, t in method.state_dict().items()}
            method = config.build(domain())
            method.load_state_dict(state)
    return {n: p.detach() for n, p in network.named_parameters()}


def fishers() -> list[Parameters]:
    estimate = FisherDiagonal(
        statistic=LogLikelihood(exact), max_batches=1, generator=seeded(0)
    )
    found = []
    for task, solution in enumerate(solutions(3)):
        network = LinearNetwork(3, CLASSES)
        put(network, solution)
        found.append(estimate(network, [toy_batch((9, 3), task)]))
    return found


def test_mean_imm_is_the_mean_of_the_solutions() -> None:
    for name, merged in merged_of(MeanIMM()).items():
        expected = torch.stack([s[name] for s in solutions(3)]).mean(0)
        torch.testing.assert_close(merged, expected)


def test_mode_imm_is_the_mean_weighted_by_the_fishers() -> None:
    for name, merged in merged_of(MODE).items():
        F = torch.stack([f[name] for f in fishers()])
        mu = torch.stack([s[name] for s in solutions(3)])
        torch.testing.assert_close(merged, (F * mu).sum(0) / F.sum(0))


@pytest.mark.parametrize("config", [MeanIMM(), MODE])
def test_what_was_saved_merges_to_the_same_bits(config: MeanIMM | ModeIMM) -> None:
    pairs = zip(
        merged_of(config).values(), merged_of(config, True).values(), strict=True
    )
    assert all(torch.equal(a, b) for a, b in pairs)


def test_where_no_task_has_importance_the_parameter_stays() -> None:
    network, method = LinearNetwork(3, CLASSES), MODE.build(domain())
    batch = toy_batch((9, 3))
    batch.inputs[:, 1] = 0
    for solution in solutions(2):
        put(network, solution)
        method.consolidation.leave(network, 0, [batch])
    kept: Tensor = network.fc.weight[:, 1]
    assert torch.equal(kept, solutions(2)[1]["fc.weight"][:, 1])


def test_what_tasks_own_is_not_merged() -> None:
    network, method = GainNetwork(), MODE.build(domain())
    batch = toy_batch((6, 2, 7, 7))
    method.consolidation.leave(network, 0, [batch])
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(1)
    before = {n: p.detach().clone() for n, p in network.named_parameters()}
    method.consolidation.leave(network, 1, [batch])
    shared = network.shared_parameters()
    for name, parameter in network.named_parameters():
        assert torch.equal(parameter, before[name]) == (name not in shared)


def test_l2_transfer_pulls_to_the_merged_solution() -> None:
    network = LinearNetwork(3, CLASSES)
    method = MeanIMM(transfer_strength=0.4).build(domain())
    for task, solution in enumerate(solutions(2)):
        put(network, solution)
        method.consolidation.leave(network, task, [])
    moved = {
        n: torch.nn.Parameter(p + 1) for n, p in network.shared_parameters().items()
    }
    count = sum(p.numel() for p in moved.values())
    value = method.penalty.add_gradient(moved, task=2).item()
    assert value == pytest.approx(0.2 * count, rel=1e-5)


@pytest.mark.parametrize("config", [MeanIMM, ModeIMM])
def test_the_pull_to_the_merged_solution_is_as_stiff_as_its_strength(
    config: type[MeanIMM] | type[ModeIMM],
) -> None:
    network = LinearNetwork(3, CLASSES)
    batches = [toy_batch((9, 3))]
    pulled = config(transfer_strength=0.4).build(domain()).consolidation
    for task in range(2):
        recorded = pulled.leave(network, task, batches)
        assert recorded["curvature_max"].item() == pytest.approx(0.4)
    merged = config(transfer_strength=0.0).build(domain()).consolidation
    assert "curvature_max" not in merged.leave(network, 0, batches)
