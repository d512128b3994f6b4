import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from clrl.continual.importance import (
    UNLABELLED,
    FisherDiagonal,
    LabelChoice,
    LogLikelihood,
    SquaredBatchGradient,
    UniformImportance,
    UnitMean,
    empirical,
    exact,
    mean_over_examples,
    sampled,
)
from clrl.continual.methods import EWC
from clrl.continual.network import ContinualNetwork
from clrl.errors import ConfigError
from clrl.types import Parameters

from .toy import (
    CLASSES,
    GainNetwork,
    LinearNetwork,
    OddNetwork,
    OfOutputs,
    ToyBatch,
    cross_entropy,
    cut,
    domain,
    one_backward_pass_per_example,
    seeded,
    toy_batch,
)

IMAGES = (11, 2, 7, 7)


# The statistic of MAS: the squared 2-norm of the outputs.
SQUARED_NORM = OfOutputs(lambda outputs: outputs.square().sum(1))


def fisher(labels: LabelChoice, seed: int = 0) -> FisherDiagonal[ToyBatch]:
    return FisherDiagonal(
        statistic=LogLikelihood(labels), max_batches=1000, generator=seeded(seed)
    )


@pytest.mark.parametrize("labels", [exact, sampled, empirical])
@pytest.mark.parametrize("make", [GainNetwork, OddNetwork])
def test_fisher_equals_one_backward_pass_per_example(
    make: Callable[[], ContinualNetwork], labels: LabelChoice
) -> None:
    batch = toy_batch(IMAGES if make is GainNetwork else (11, 2, 5, 5))
    batches = cut(batch, [4, 7])
    got = fisher(labels)(make(), batches)
    expected = one_backward_pass_per_example(
        make(), batches, LogLikelihood(labels), torch.square, seeded(0)
    )
    assert got.keys() == expected.keys()
    for name in expected:
        torch.testing.assert_close(got[name], expected[name], rtol=1e-5, atol=1e-7)
    assert sum(bool(omega.any()) for omega in got.values()) >= 4


@pytest.mark.parametrize("make", [GainNetwork, OddNetwork])
def test_mean_of_absolute_gradients_equals_one_backward_pass_per_example(
    make: Callable[[], ContinualNetwork],
) -> None:
    batch = toy_batch(IMAGES if make is GainNetwork else (11, 2, 5, 5))
    args = (SQUARED_NORM, torch.abs, seeded(0))
    got = mean_over_examples(make(), cut(batch, [8, 3]), *args)
    expected = one_backward_pass_per_example(make(), [batch], *args)
    for name in expected:
        torch.testing.assert_close(got[name], expected[name], rtol=1e-5, atol=1e-6)


def test_the_general_path_handles_more_examples_than_a_chunk_holds() -> None:
    batch = toy_batch((70, 2, 5, 5))
    got = fisher(empirical)(OddNetwork(), [batch])
    expected = fisher(empirical)(OddNetwork(), cut(batch, [1] * 70))
    for name in expected:
        torch.testing.assert_close(got[name], expected[name], rtol=1e-4, atol=1e-7)


def test_plain_layers_do_not_need_the_general_path(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(torch.func, "vmap")
    assert fisher(exact)(GainNetwork(), [toy_batch(IMAGES)])["conv2.bias"].any()


def test_task_owned_parameters_get_no_importance() -> None:
    network = GainNetwork()
    got = fisher(empirical)(network, [toy_batch(IMAGES)])
    assert got.keys() == network.shared_parameters().keys()
    assert not any("gains" in name for name in got)


def test_a_parameter_without_influence_has_importance_zero() -> None:
    got = fisher(exact)(OddNetwork(), [toy_batch((3, 2, 5, 5))])
    assert not got["never_used.weight"].any()


@settings(max_examples=15)
@given(cuts=st.sets(st.integers(1, 10)))
def test_importance_does_not_depend_on_the_batch_size(cuts: set[int]) -> None:
    batch = toy_batch(IMAGES)
    ends = [*sorted(cuts), 11]
    sizes = [b - a for a, b in zip([0, *ends[:-1]], ends, strict=True)]
    whole = fisher(exact)(GainNetwork(), [batch])
    parts = fisher(exact)(GainNetwork(), cut(batch, sizes))
    for name in whole:
        torch.testing.assert_close(parts[name], whole[name], rtol=1e-5, atol=1e-8)


def test_importance_is_not_the_square_of_the_batch_gradient() -> None:
    # Two examples with opposite gradients: the batch gradient is 0, the Fisher is not.
    network = LinearNetwork(1, 2)
    nn.init.zeros_(network.fc.weight)
    nn.init.zeros_(network.fc.bias)
    batch = ToyBatch(torch.ones(2, 1), torch.tensor([0, 1]), torch.zeros(2).long())
    got = fisher(empirical)(network, [batch])
    torch.testing.assert_close(got["fc.weight"], torch.full((2, 1), 0.25))


def closed_form(p: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """``E[(p - y)^2 x^2]`` for the weights of a linear softmax and one-hot labels."""
    return torch.einsum("nc,ni->ci", (p - y).square(), x.square()) / len(x)


@pytest.mark.parametrize("make", [GainNetwork, OddNetwork])
def test_the_square_of_batch_gradients_is_that_of_one_backward_pass_per_batch(
    make: Callable[[], ContinualNetwork],
) -> None:
    batch = toy_batch(IMAGES if make is GainNetwork else (11, 2, 5, 5))
    batches = cut(batch, [4, 4, 3])
    estimate = SquaredBatchGradient[ToyBatch](
        statistic=LogLikelihood(empirical), max_batches=2, generator=seeded(0)
    )
    got = estimate(make(), batches)
    network = make().eval()
    for name, parameter in network.shared_parameters().items():
        squares = []
        for one in batches[:2]:
            network.zero_grad(set_to_none=True)
            cross_entropy(network, one).mean().backward()  # type: ignore[no-untyped-call]
            gradient = parameter.grad
            squares.append(0 * parameter if gradient is None else gradient.square())
        torch.testing.assert_close(
            got[name], (squares[0] + squares[1]).detach() / 2, rtol=1e-5, atol=1e-9
        )
    assert got.keys() == network.shared_parameters().keys()


def test_the_gradient_of_a_batch_is_refused_where_it_is_zero_by_expectation() -> None:
    with pytest.raises(ConfigError, match=r"one label for each example.*sampled"):
        EWC(importance="exact", importance_of="batches").build(domain())
    method = EWC(importance="empirical", importance_of="batches").build(domain())
    with pytest.raises(ValueError, match="at least one example"):
        method.consolidation.leave(LinearNetwork(3, CLASSES), 0, [])


def test_the_empirical_fisher_of_data_without_labels_is_refused() -> None:
    batch = toy_batch((5, 3))._replace(labels=torch.full((5,), UNLABELLED))
    network = LinearNetwork(3, CLASSES)
    with pytest.raises(ConfigError, match="needs the labels of the data"):
        fisher(empirical)(network, [batch])
    assert fisher(exact)(network, [batch])["fc.weight"].any()


def test_linear_softmax_has_the_fisher_of_the_closed_form() -> None:
    network = LinearNetwork(5, CLASSES)
    batch = toy_batch((64, 5))
    x = batch.inputs
    p = network(x, batch.task).softmax(1).detach()
    one_hot = nn.functional.one_hot(batch.labels, CLASSES)

    got = fisher(empirical)(network, [batch])
    torch.testing.assert_close(got["fc.weight"], closed_form(p, x, one_hot))
    torch.testing.assert_close(got["fc.bias"], (p - one_hot).square().mean(0))

    # E_y (p_c - y_c)^2 is the variance of a Bernoulli variable, p_c (1 - p_c).
    got = fisher(exact)(network, [batch])
    variance = p * (1 - p)
    expected = torch.einsum("nc,ni->ci", variance, x.square()) / len(x)
    torch.testing.assert_close(got["fc.weight"], expected)
    torch.testing.assert_close(got["fc.bias"], variance.mean(0))


def test_sampled_labels_estimate_the_exact_fisher() -> None:
    network = LinearNetwork(5, CLASSES)
    batch = toy_batch((50, 5))
    repeats = 400
    got = fisher(sampled, seed=1)(network, [batch] * repeats)
    expected = fisher(exact)(network, [batch])
    # A squared gradient's standard deviation per draw is at most max (p - y)^2 x^2 / 2.
    for name, scale in (("fc.weight", batch.inputs.square().max()), ("fc.bias", 1.0)):
        five_sigma = 5 * 0.5 * float(scale) / math.sqrt(repeats * 50)
        assert (got[name] - expected[name]).abs().max() < five_sigma
        assert not torch.equal(got[name], expected[name])


def test_sampled_labels_come_from_the_generator() -> None:
    batch = toy_batch(IMAGES)
    first, again, other = (
        fisher(sampled, seed)(GainNetwork(), [batch])["fc2.weight"]
        for seed in (3, 3, 4)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_at_most_max_batches_are_drawn() -> None:
    batches = iter(cut(toy_batch(IMAGES), [3, 3, 3, 2]))
    estimate = FisherDiagonal(
        statistic=LogLikelihood(exact), max_batches=2, generator=seeded(0)
    )
    estimate(GainNetwork(), batches)
    assert len(list(batches)) == 2


def test_modes_and_gradients_are_as_before() -> None:
    network = GainNetwork().train()
    network.gains1.eval()
    network.fc1.weight.grad = torch.full_like(network.fc1.weight, 7.0)
    modes = [module.training for module in network.modules()]
    first = fisher(exact)(network, [toy_batch(IMAGES)])
    assert modes == [module.training for module in network.modules()]
    assert torch.equal(
        network.fc1.weight.grad, torch.full_like(network.fc1.weight, 7.0)
    )
    assert network.fc2.weight.grad is None
    assert not any(module._forward_hooks for module in network.modules())
    # Without eval mode, dropout would make the two differ.
    again = fisher(exact)(network, [toy_batch(IMAGES)])
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_importance_can_be_estimated_where_gradients_are_off() -> None:
    with torch.no_grad():
        got = fisher(exact)(GainNetwork(), [toy_batch(IMAGES)])
    assert got["conv1.weight"].any()


def test_importance_of_no_examples_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one example, got none"):
        fisher(exact)(GainNetwork(), [])


def test_fewer_than_one_batch_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least 1 batch, got 0"):
        FisherDiagonal(
            statistic=LogLikelihood(exact), max_batches=0, generator=seeded(0)
        )


def test_uniform_importance_is_one_everywhere() -> None:
    network = GainNetwork()
    got = UniformImportance()(network, iter([]))
    assert got.keys() == network.shared_parameters().keys()
    assert all(bool((omega == 1).all()) for omega in got.values())


def test_unit_mean_keeps_the_proportions_and_averages_one() -> None:
    batch = toy_batch(IMAGES)
    raw = fisher(exact)(GainNetwork(), [batch])
    scaled = UnitMean(fisher(exact))(GainNetwork(), [batch])
    count = sum(omega.numel() for omega in raw.values())
    mean = sum(float(omega.sum()) for omega in raw.values()) / count
    for name in raw:
        torch.testing.assert_close(scaled[name] * mean, raw[name])
    total = sum(float(omega.sum()) for omega in scaled.values())
    assert total == pytest.approx(count, rel=1e-4)


def test_unit_mean_holds_a_task_equally_hard_however_large_its_outputs_are() -> None:
    batch = toy_batch(IMAGES)

    louder = OfOutputs(lambda outputs: 100 * SQUARED_NORM.scalar(outputs))
    quiet, loud = (
        UnitMean(
            FisherDiagonal(statistic=statistic, max_batches=1, generator=seeded(0))
        )(GainNetwork(), [batch])
        for statistic in (SQUARED_NORM, louder)
    )
    for name in quiet:
        torch.testing.assert_close(loud[name], quiet[name], rtol=1e-4, atol=1e-6)


def test_unit_mean_of_nothing_is_nothing() -> None:
    class Nothing:
        def __call__(self, network: ContinualNetwork, batches: object) -> Parameters:
            return {
                n: torch.zeros_like(p) for n, p in network.shared_parameters().items()
            }

    scaled = UnitMean(Nothing())(GainNetwork(), [])
    assert not any(bool(omega.any()) for omega in scaled.values())
