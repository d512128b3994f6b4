"""Noise on weights, against slow twins and against many samples."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from clrl.continual.network import ContinualNetwork, TaskOwned
from clrl.continual.perturbation import (
    inverse_importance,
    null_space,
    perturbed,
    reached_share,
    uniform,
)
from clrl.types import Parameters

IMPORTANCE: Parameters = {
    "weight": torch.tensor([[4.0, 0.0, 1e-9], [1.0, 0.25, 0.0]]),
    "bias": torch.tensor([0.75, 0.0]),
}
EACH = [4.0, 0.0, 1e-9, 1.0, 0.25, 0.0, 0.75, 0.0]
SHAPES = {
    "uniform": uniform(IMPORTANCE),
    "inverse_importance": inverse_importance(IMPORTANCE, 0.1),
    "null_space": null_space(IMPORTANCE),
}


class OwnOutput(TaskOwned):
    """One gain for each task."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(3))


class Linear(ContinualNetwork):
    """A linear layer, and gains that belong to the tasks."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.arange(6.0).reshape(2, 3))
        self.bias = nn.Parameter(torch.tensor([-1.0, 1.0]))
        self.own = OwnOutput()

    def forward(self, inputs: Tensor, task: Tensor) -> Tensor:
        return self.own.gain[task, None] * (inputs @ self.weight.T + self.bias)


def flat(parameters: Parameters) -> list[float]:
    return [value for p in parameters.values() for value in p.flatten().tolist()]


def of_unit_size(deviations: list[float]) -> list[float]:
    size = math.sqrt(sum(d * d for d in deviations) / len(deviations))
    return [d / size for d in deviations]


def test_deviations_are_those_of_slow_twins() -> None:
    damping = 0.1 * sum(EACH) / len(EACH)
    slow = {
        "uniform": [1.0] * len(EACH),
        "inverse_importance": [math.sqrt(1 / (x + damping)) for x in EACH],
        # 1e-9 is below the rounding of 4 in single precision.
        "null_space": [float(x < 4 * 2.0**-23) for x in EACH],
    }
    for name, deviations in slow.items():
        assert flat(SHAPES[name]) == pytest.approx(of_unit_size(deviations), rel=1e-6)


def test_damping_leads_from_the_null_space_to_uniform_noise() -> None:
    for damping, limit in ((1e-12, "null_space"), (1e6, "uniform")):
        exact = {name: x.double() for name, x in IMPORTANCE.items()}
        exact["weight"][0, 2] = 0.0
        shape = inverse_importance(exact, damping)
        assert flat(shape) == pytest.approx(flat(SHAPES[limit]), abs=1e-4)


def test_the_share_of_weights_that_is_reached() -> None:
    assert reached_share(SHAPES["uniform"]) == 1.0
    assert reached_share(SHAPES["null_space"]) == 4 / 8


def test_a_null_space_may_be_empty() -> None:
    shape = null_space({"weight": torch.tensor([1.0, 2.0])})
    assert flat(shape) == [0.0, 0.0]
    assert reached_share(shape) == 0.0


@pytest.mark.parametrize("name", SHAPES)
def test_noise_has_the_variance_of_its_shape_and_is_new_in_each_pass(name: str) -> None:
    network, size, passes = Linear(), 0.5, 4_000
    trained = flat({n: p.detach() for n, p in network.shared_parameters().items()})
    generator = torch.Generator().manual_seed(0)
    seen = []
    with torch.no_grad(), perturbed(network, SHAPES[name], size, generator):
        for _ in range(passes):
            network(torch.ones(1, 3), torch.tensor([0]))
            shared = network.shared_parameters()
            seen.append(flat({n: p.detach() for n, p in shared.items()}))
    noise = np.array(seen) - trained
    expected = size * np.array(flat(SHAPES[name]))
    # The standard error of a variance is sqrt(2 / n) of it; of a mean, sigma / sqrt(n).
    assert noise.var(axis=0) == pytest.approx(
        expected**2, rel=5 * math.sqrt(2 / passes), abs=1e-12
    )
    assert np.all(np.abs(noise.mean(axis=0)) <= 5 * expected / math.sqrt(passes) + 1e-6)
    assert math.sqrt((noise**2).mean()) == pytest.approx(size, rel=0.05)
    # Neither one weight's noise with another's, nor that of one pass with the next's.
    assert abs(np.mean(noise[:, 1] * noise[:, 5])) < 5 * 0.5 / math.sqrt(passes)
    assert abs(np.mean(noise[1:, 1] * noise[:-1, 1])) < 5 * 0.5 / math.sqrt(passes)


def test_noise_in_the_null_space_does_not_change_what_does_not_depend_on_it() -> None:
    """Where an input is always 0, its weights have a Fisher of exactly 0."""
    network = Linear()
    inputs = torch.tensor([[1.0, 0.0, 2.0], [3.0, 0.0, -1.0]])
    task = torch.tensor([0, 1])
    squared = {n: torch.zeros_like(p) for n, p in network.shared_parameters().items()}
    for example in range(2):
        for output in range(2):
            network.zero_grad()
            one = slice(example, example + 1)
            network(inputs[one], task[one])[0, output].backward()
            for name, parameter in network.shared_parameters().items():
                assert parameter.grad is not None
                squared[name] += parameter.grad.square()
    with torch.no_grad():
        before = network(inputs, task)
        for shape, is_changed in (
            (null_space(squared), False),
            (uniform(squared), True),
        ):
            generator = torch.Generator().manual_seed(1)
            with perturbed(network, shape, 100.0, generator):
                noisy = network(inputs, task)
            assert torch.equal(noisy, before) != is_changed
    assert reached_share(null_space(squared)) == 2 / 8


def test_the_network_is_afterwards_what_it_was() -> None:
    network = Linear()
    before = {n: p.detach().clone() for n, p in network.named_parameters()}
    with (
        pytest.raises(ZeroDivisionError),
        perturbed(network, SHAPES["uniform"], 1.0, torch.Generator()),
    ):
        network(torch.ones(1, 3), torch.tensor([0]))
        assert not torch.equal(network.weight, before["weight"])
        assert torch.equal(network.own.gain, before["own.gain"])
        raise ZeroDivisionError
    network(torch.ones(1, 3), torch.tensor([0]))
    assert all(torch.equal(p, before[n]) for n, p in network.named_parameters())
