import math
from operator import attrgetter

import pytest
import torch
from torch import nn

from clrl.continual.importance import LogLikelihood, exact, mean_over_examples
from clrl.continual.sensitivity import LocalSensitivity
from clrl.continual.task_layers import LayerPerTask
from clrl.errors import ConfigError
from clrl.supervised.network import MLP, ClassMask
from clrl.supervised.objective import STATISTICS, CrossEntropy
from clrl.supervised.stream import ExampleBatch

from .small import examples, mlp

TASKS = 2
ALLOWED = torch.tensor([[True, True, False, False], [False, False, True, True]])


def network(**changes: object) -> MLP:
    torch.manual_seed(0)
    return mlp((6, 6), 4, (8, 7), max_tasks=TASKS, **changes)


def batch(task: torch.Tensor | None = None) -> ExampleBatch:
    images, labels = examples(12, seed=3)
    return ExampleBatch(
        images, labels, torch.arange(12) % TASKS if task is None else task
    )


def linear_layers(modules: nn.ModuleList) -> list[nn.Linear]:
    layers = [module for module in modules if isinstance(module, nn.Linear)]
    assert len(layers) == len(modules)
    return layers


def test_the_layers_are_those_of_a_plain_network_on_scaled_pixels() -> None:
    net, seen = network(), batch()
    first, second, last = net.layers
    plain = nn.Sequential(nn.Flatten(), first, nn.ReLU(), second, nn.ReLU(), last)
    expected = plain(seen.inputs.float() / 255)
    torch.testing.assert_close(net(seen.inputs, seen.task), expected)
    assert [layer.weight.shape for layer in net.layers] == [(8, 36), (7, 8), (4, 7)]


@pytest.mark.parametrize("owned", ["task_input", "task_hidden", "task_head"])
def test_each_example_goes_through_its_own_tasks_layer(owned: str) -> None:
    net, seen = network(**{owned: True}), batch()
    together = net(seen.inputs, seen.task)
    for n in range(12):
        alone = net(seen.inputs[n : n + 1], seen.task[n : n + 1])
        torch.testing.assert_close(together[n], alone[0])
    other = net(seen.inputs, 1 - seen.task)
    assert not torch.isclose(together, other).all(dim=1).any()


@pytest.mark.parametrize(
    ("changes", "shared"),
    [
        ({}, {0, 1, 2}),
        ({"task_input": True}, {1, 2}),
        ({"task_hidden": True}, {0, 2}),
        ({"task_head": True}, {0, 1}),
        ({"task_input": True, "task_head": True}, {1}),
        ({"task_input": True, "task_hidden": True, "task_head": True}, set()),
    ],
)
def test_penalties_see_the_layers_that_all_tasks_share(
    changes: dict[str, bool], shared: set[int]
) -> None:
    names = network(**changes).shared_parameters()
    assert {int(name.split(".")[1]) for name in names} == shared


@pytest.mark.parametrize("owned", [False, True])
def test_xavier_weights_fill_their_range_and_biases_are_zero(owned: bool) -> None:
    net = network(initialisation="xavier", task_hidden=owned)
    layers = [layer for layer in net.modules() if isinstance(layer, nn.Linear)]
    assert len(layers) == (4 if owned else 3)
    for layer in layers:
        bound = math.sqrt(6 / (layer.in_features + layer.out_features))
        assert 0.8 * bound < layer.weight.abs().max() <= bound
        assert not layer.bias.any()
    assert all(layer.bias.any() for layer in linear_layers(network().layers))


def test_a_layer_of_an_absent_task_gets_no_gradient() -> None:
    net = network(task_head=True)
    CrossEntropy()(net, batch(torch.zeros(12, dtype=torch.long))).mean().backward()  # type: ignore[no-untyped-call]
    head = net.layers[-1]
    assert isinstance(head, LayerPerTask)
    used, unused = linear_layers(head.layers)
    assert used.weight.grad is not None
    assert unused.weight.grad is None


def test_a_masked_class_is_never_answered_and_takes_no_probability() -> None:
    net, seen = network(mask=ClassMask(ALLOWED)), batch()
    probabilities = net(seen.inputs, seen.task).softmax(1)
    assert (probabilities[~ALLOWED[seen.task]] == 0).all()
    open_net = network()
    logits = open_net(seen.inputs, seen.task)
    expected = logits.masked_fill(~ALLOWED[seen.task], -torch.inf).softmax(1)
    torch.testing.assert_close(probabilities, expected)


def test_a_fisher_under_a_mask_is_that_of_the_allowed_classes_alone() -> None:
    """Finite, and equal to a network that has only the outputs of the task."""
    net = network(mask=ClassMask(ALLOWED))
    first_task = batch(torch.zeros(12, dtype=torch.long))
    generator = torch.Generator()

    def fisher(of: MLP) -> dict[str, torch.Tensor]:
        statistic = LogLikelihood(exact)
        return mean_over_examples(of, [first_task], statistic, torch.square, generator)

    assert_zero_beyond(fisher(net), fisher(of_first_task(net)))


def test_a_local_sensitivity_under_a_mask_is_that_of_the_allowed_classes_alone() -> (
    None
):
    net = network(mask=ClassMask(ALLOWED))
    first_task = batch(torch.zeros(12, dtype=torch.long))

    def local(of: MLP) -> dict[str, torch.Tensor]:
        inputs = attrgetter("inputs")
        return LocalSensitivity(inputs=inputs, max_batches=1)(of, [first_task])

    assert_zero_beyond(local(net), local(of_first_task(net)))


def of_first_task(net: MLP) -> MLP:
    """A network that has only the first two outputs of ``net``."""
    small = MLP((6, 6), 2, (8, 7))
    layers = zip(linear_layers(small.layers), linear_layers(net.layers), strict=True)
    for ours, theirs in layers:
        rows = len(ours.weight)
        ours.weight.data = theirs.weight.data[:rows]
        ours.bias.data = theirs.bias.data[:rows]
    return small


def assert_zero_beyond(
    masked: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]
) -> None:
    for name, value in expected.items():
        rows = value.shape[0]
        torch.testing.assert_close(masked[name][:rows], value)
        assert (masked[name][rows:] == 0).all()


def test_dropout_is_on_in_training_only() -> None:
    seen = batch()
    for changes in ({"input_dropout": 0.5}, {"hidden_dropout": 0.5}):
        net = network(**changes)
        assert not torch.equal(net(seen.inputs, seen.task), net(seen.inputs, seen.task))
        net.eval()
        assert torch.equal(
            net(seen.inputs, seen.task), network().eval()(seen.inputs, seen.task)
        )


def test_without_hidden_layers_it_is_a_linear_classifier() -> None:
    torch.manual_seed(0)
    net, seen = MLP((6, 6), 4, ()), batch()
    (layer,) = net.layers
    flat = seen.inputs.flatten(1) / 255
    torch.testing.assert_close(net(seen.inputs, seen.task), layer(flat))


def test_the_loss_is_minus_the_logarithm_of_the_labels_probability() -> None:
    net, seen = network(), batch()
    probabilities = net(seen.inputs, seen.task).softmax(1)
    expected = -probabilities[torch.arange(12), seen.labels].log()
    torch.testing.assert_close(CrossEntropy()(net, seen), expected)


def test_in_bfloat16_the_products_are_rounded_and_the_loss_is_not() -> None:
    net, seen = network(), batch()
    losses, gradients = {}, {}
    for precision in (torch.float32, torch.bfloat16):
        losses[precision] = CrossEntropy(precision=precision)(net, seen)
        assert losses[precision].dtype == torch.float32
        gradients[precision] = torch.autograd.grad(
            losses[precision].mean(), list(net.parameters())
        )
    assert losses[torch.bfloat16].tolist() != losses[torch.float32].tolist()
    for plain, rounded in zip(*gradients.values(), strict=True):
        assert rounded.dtype == torch.float32
        assert 0 < (rounded - plain).norm() / plain.norm() < 0.1


def test_the_exact_fisher_is_the_default() -> None:
    assert next(iter(STATISTICS)) == "log_likelihood"
    assert STATISTICS["log_likelihood"] == LogLikelihood(exact)


def test_a_task_without_a_layer_of_its_own_is_refused() -> None:
    network(task_head=True).require_room(1)
    network().require_room(99)
    with pytest.raises(ConfigError, match=r"room for 2 tasks.*network\.max_tasks"):
        network(task_head=True).require_room(2)
