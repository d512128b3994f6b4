"""The gradients of several batches at once against a backward pass for each."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from clrl.continual import batch_gradients as module
from clrl.continual.batch_gradients import batch_gradients
from clrl.continual.network import ContinualNetwork
from clrl.types import Parameters

from .toy import (
    CLASSES,
    GainNetwork,
    LinearNetwork,
    OddNetwork,
    ToyBatch,
    cross_entropy,
    cross_entropy_in,
    toy_batch,
)


class Deep(ContinualNetwork):
    """Linear layers with ReLUs between them, one of them without a bias."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.first = nn.Linear(3, 7)
            self.second = nn.Linear(7, 5, bias=False)
            self.last = nn.Linear(5, CLASSES)

    def forward(self, inputs: Tensor, task: Tensor) -> Tensor:
        x = torch.relu(self.second(torch.relu(self.first(inputs))))
        outputs: Tensor = self.last(x)
        return outputs


class Twice(Deep):
    """One layer is called two times, which no rule covers."""

    def forward(self, inputs: Tensor, task: Tensor) -> Tensor:
        outputs: Tensor = self.last(self.second(self.first(self.first(inputs)[:, :3])))
        return outputs


class Idle(Deep):
    """A layer does nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.idle = nn.Linear(2, 2)


def slow(network: ContinualNetwork, batches: list[ToyBatch]) -> list[Parameters]:
    found = []
    for batch in batches:
        network.zero_grad(set_to_none=True)
        cross_entropy(network, batch).mean().backward()  # type: ignore[no-untyped-call]
        found.append(
            {n: p.grad for n, p in network.named_parameters() if p.grad is not None}
        )
    network.zero_grad(set_to_none=True)
    return found


def assert_equal(got: Parameters, expected: list[Parameters]) -> None:
    assert got.keys() == {name for one in expected for name in one}
    for name, stacked in got.items():
        assert len(stacked) == len(expected)
        for row, one in zip(stacked, expected, strict=True):
            twin = one.get(name, torch.zeros_like(row))
            torch.testing.assert_close(row, twin, rtol=1e-5, atol=1e-7)


def test_in_bfloat16_stacked_gradients_are_rounded_ones() -> None:
    network, batches = Deep(), [toy_batch((64, 3), seed) for seed in range(3)]
    exact = slow(network, batches)
    for name, stacked in batch_gradients(
        network, cross_entropy_in(torch.bfloat16), batches
    ).items():
        assert stacked.dtype == torch.float32
        for row, one in zip(stacked, exact, strict=True):
            assert 0 < (row - one[name]).norm() / one[name].norm() < 0.15, name


@pytest.mark.parametrize("sizes", [[4], [4, 4], [6, 6, 6], [1, 1], [5, 3]])
@pytest.mark.parametrize("make", [Deep, Twice, Idle, lambda: LinearNetwork(3, CLASSES)])
def test_each_batchs_gradient_is_that_of_its_own_backward_pass(
    make: Callable[[], ContinualNetwork], sizes: list[int]
) -> None:
    network = make()
    batches = [toy_batch((size, 3), seed) for seed, size in enumerate(sizes)]
    assert_equal(
        batch_gradients(network, cross_entropy, batches), slow(network, batches)
    )
    assert all(p.grad is None for p in network.parameters())


@pytest.mark.parametrize("make", [GainNetwork, OddNetwork])
def test_networks_without_a_rule_for_every_layer_take_the_general_path(
    make: Callable[[], ContinualNetwork],
) -> None:
    network = make().eval()
    side = 7 if make is GainNetwork else 5
    batches = [toy_batch((4, 2, side, side), seed) for seed in range(3)]
    assert_equal(
        batch_gradients(network, cross_entropy, batches), slow(network, batches)
    )


def test_linear_layers_take_one_backward_pass_for_all_batches(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(module, "_one_by_one")
    batches = [toy_batch((4, 3), seed) for seed in range(3)]
    assert batch_gradients(Deep(), cross_entropy, batches)["first.weight"].any()


def test_parameters_that_are_not_trained_have_no_gradient() -> None:
    network = Deep()
    network.first.weight.requires_grad_(False)
    batches = [toy_batch((4, 3), seed) for seed in range(2)]
    got = batch_gradients(network, cross_entropy, batches)
    assert "first.weight" not in got
    assert_equal(got, slow(network, batches))
