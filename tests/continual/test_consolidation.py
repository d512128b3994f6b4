from collections.abc import Iterator

import pytest
import torch

from clrl.continual.anchors import PerTaskAnchors
from clrl.continual.consolidation import AnchorByImportance, NoConsolidation
from clrl.continual.importance import FisherDiagonal, LogLikelihood, exact
from clrl.continual.penalty import QuadraticPenalty
from clrl.errors import DivergenceError

from .toy import GainNetwork, ToyBatch, seeded, toy_batch


def fisher() -> FisherDiagonal[ToyBatch]:
    return FisherDiagonal(
        statistic=LogLikelihood(exact), max_batches=10, generator=seeded(0)
    )


def test_leaving_a_task_anchors_its_parameters_by_their_importance() -> None:
    network, batches = GainNetwork(), [toy_batch((6, 2, 7, 7))]
    penalty = QuadraticPenalty(1.0, PerTaskAnchors())
    recorded = AnchorByImportance(fisher(), penalty).leave(network, 4, batches)
    omega = fisher()(network, batches)
    state = penalty.state_dict()
    for name, parameter in network.shared_parameters().items():
        assert torch.equal(state[f"4.parameters.{name}"], parameter)
        assert torch.equal(state[f"4.importance.{name}"], omega[name])
    everything = torch.cat([x.flatten() for x in omega.values()])
    assert recorded["importance_trace"].item() == pytest.approx(everything.sum().item())
    assert recorded["importance_max"].item() == everything.max().item()
    curvature = recorded["curvature_max"].item()
    assert curvature == pytest.approx(everything.max().item())  # strength 1


def test_a_dead_network_is_not_silently_unprotected() -> None:
    network = GainNetwork()
    with torch.no_grad():
        network.gains2.gains.zero_()
        network.gains2.biases.zero_()
        network.fc2.bias.zero_()
        network.fc2.bias[0] = 1e4  # certain of one class, whatever the input
    penalty = QuadraticPenalty(1.0, PerTaskAnchors())
    with pytest.raises(DivergenceError, match="silently inactive"):
        AnchorByImportance(fisher(), penalty).leave(
            network, 0, [toy_batch((6, 2, 7, 7))]
        )


def test_without_consolidation_no_batch_is_drawn() -> None:
    def batches() -> Iterator[ToyBatch]:
        raise AssertionError("a batch was drawn")
        yield toy_batch((1, 2, 7, 7))

    assert NoConsolidation().leave(GainNetwork(), 0, batches()) == {}
