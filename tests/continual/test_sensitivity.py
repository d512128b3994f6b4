import pytest
import torch
from torch import Tensor, nn

from clrl.continual.methods import MAS, LocalMAS
from clrl.continual.network import ContinualNetwork
from clrl.continual.sensitivity import (
    LocalSensitivity,
    OutputSensitivity,
    SquaredNorm,
)
from clrl.errors import ConfigError

from .toy import (
    CLASSES,
    GainNetwork,
    LinearNetwork,
    OddNetwork,
    ToyBatch,
    cut,
    domain,
    one_backward_pass_per_example,
    seeded,
    toy_batch,
)

IMAGES = (11, 2, 7, 7)


def shown(batch: ToyBatch) -> Tensor:
    return batch.inputs


def global_sensitivity(max_batches: int = 100) -> OutputSensitivity[ToyBatch]:
    return OutputSensitivity(inputs=shown, max_batches=max_batches)


def local_sensitivity(max_batches: int = 100) -> LocalSensitivity[ToyBatch]:
    return LocalSensitivity(inputs=shown, max_batches=max_batches)


class PlainNetwork(ContinualNetwork):
    """Convolution and linear layers with in-place ReLUs between them."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.conv = nn.Conv2d(2, 3, 3, stride=2, padding=1)
            self.fc1 = nn.Linear(48, 6)
            self.fc2 = nn.Linear(6, CLASSES, bias=False)
        self.activation = nn.ReLU(inplace=True)
        self.dropout = nn.Dropout(0.5)

    def forward(self, inputs: Tensor, task: Tensor) -> Tensor:
        x = self.activation(self.conv(inputs)).flatten(1)
        outputs: Tensor = self.fc2(self.dropout(self.activation(self.fc1(x))))
        return outputs


def test_global_sensitivity_is_the_mean_of_each_examples_absolute_gradient() -> None:
    batch = toy_batch(IMAGES)
    got = global_sensitivity()(GainNetwork(), cut(batch, [4, 7]))
    expected = one_backward_pass_per_example(
        GainNetwork(), [batch], SquaredNorm(shown), torch.abs, seeded(0)
    )
    assert got.keys() == expected.keys()
    for name in expected:
        torch.testing.assert_close(got[name], expected[name], rtol=1e-5, atol=1e-6)


def test_global_sensitivity_of_a_linear_network_has_its_closed_form() -> None:
    network, batch = LinearNetwork(5, 3), toy_batch((9, 5))
    y = network(batch.inputs, batch.task).detach()
    got = global_sensitivity()(network, [batch])
    expected = 2 * y.abs().T @ batch.inputs.abs() / 9
    torch.testing.assert_close(got["fc.weight"], expected)
    torch.testing.assert_close(got["fc.bias"], 2 * y.abs().mean(0))


def test_examples_do_not_cancel() -> None:
    # Opposite inputs to an odd function: the gradient of the batch is 0.
    network = LinearNetwork(1, 2)
    nn.init.zeros_(network.fc.bias)
    x = torch.tensor([[1.0], [-1.0]])
    batch = ToyBatch(x, torch.zeros(2).long(), torch.zeros(2).long())
    network.fc.weight.requires_grad_()
    network(x, batch.task).square().sum().backward()
    assert network.fc.bias.grad is not None and not network.fc.bias.grad.any()
    assert global_sensitivity()(network, [batch])["fc.bias"].all()


def local_twin(network: PlainNetwork, batch: ToyBatch) -> dict[str, Tensor]:
    """Half the absolute gradient of each layer's own squared norm, one by one."""
    network.eval()
    relu = torch.relu
    total = {n: torch.zeros_like(p) for n, p in network.named_parameters()}
    for x in torch.split(batch.inputs, 1):
        after_conv = relu(network.conv(x))
        after_fc1 = relu(network.fc1(after_conv.detach().flatten(1)))
        outputs = network.fc2(after_fc1.detach())
        for layer in (after_conv, after_fc1, outputs):
            gradients = torch.autograd.grad(
                layer.square().sum() / 2,
                list(network.parameters()),
                allow_unused=True,
            )
            for name, gradient in zip(total, gradients, strict=True):
                if gradient is not None:
                    total[name] += gradient.abs()
    return {name: t / len(batch.task) for name, t in total.items()}


def test_local_sensitivity_is_that_of_each_layers_own_squared_norm() -> None:
    network, batch = PlainNetwork(), toy_batch(IMAGES)
    got = local_sensitivity()(network.train(), cut(batch, [8, 3]))
    assert network.dropout.training
    assert not any(module._forward_hooks for module in network.modules())
    for name, expected in local_twin(network, batch).items():
        torch.testing.assert_close(got[name], expected, rtol=1e-5, atol=1e-6)


def test_local_sensitivity_is_hebbian_where_the_activations_are_positive() -> None:
    network = LinearNetwork(4, 3)
    with torch.no_grad():
        network.fc.weight.abs_()
        network.fc.bias.abs_()
    batch = toy_batch((6, 4))._replace(inputs=torch.rand(6, 4, generator=seeded(1)))
    y = network(batch.inputs, batch.task).detach()
    got = local_sensitivity()(network, [batch])
    torch.testing.assert_close(got["fc.weight"], y.T @ batch.inputs / 6)
    torch.testing.assert_close(got["fc.bias"], y.mean(0))


def test_local_sensitivity_gives_the_shared_layers_alone_their_due() -> None:
    got = local_sensitivity()(GainNetwork(), [toy_batch(IMAGES)])
    assert got.keys() == GainNetwork().shared_parameters().keys()
    assert all(bool(omega.any()) for omega in got.values())
    odd = local_sensitivity()(OddNetwork(), [toy_batch((5, 2, 5, 5))])
    assert not odd["norm.weight"].any() and not odd["bare"].any()
    assert odd["head.weight"].any()


@pytest.mark.parametrize("config", [MAS(), LocalMAS()])
def test_labels_do_not_matter_and_other_data_do(config: MAS | LocalMAS) -> None:
    def trace(batch: ToyBatch) -> float:
        network = LinearNetwork(5, CLASSES)
        recorded = config.build(domain()).consolidation.leave(network, 0, [batch])
        return recorded["importance_trace"].item()

    batch, unseen = toy_batch((9, 5)), toy_batch((9, 5), seed=1)
    unlabelled = batch._replace(labels=torch.full((9,), -100))
    assert trace(unlabelled) == trace(batch) != trace(unseen)


@pytest.mark.parametrize("config", [MAS(strength=3.0), LocalMAS(strength=3.0)])
def test_importance_adds_up_over_tasks_about_the_last_solution(
    config: MAS | LocalMAS,
) -> None:
    network, method = LinearNetwork(5, CLASSES), config.build(domain())
    batches = [toy_batch((9, 5), seed) for seed in range(3)]
    traces = []
    for task, batch in enumerate(batches):
        with torch.no_grad():
            network.fc.weight.add_(0.1)
        recorded = method.consolidation.leave(network, task, [batch])
        traces.append(recorded["importance_trace"].item())
    state = method.state_dict()
    total = sum(float(t.sum()) for n, t in state.items() if "importance" in n)
    assert total == pytest.approx(sum(traces), rel=1e-5)
    moved = {n: nn.Parameter(p + 2) for n, p in network.shared_parameters().items()}
    value = method.penalty.add_gradient(moved, task=1).item()
    assert value == pytest.approx(3.0 / 2 * 4 * total, rel=1e-4)


@pytest.mark.parametrize("estimate", [global_sensitivity, local_sensitivity])
def test_no_examples_and_no_batches_are_refused(estimate: type) -> None:
    with pytest.raises(ValueError, match="at least one example, got none"):
        estimate()(LinearNetwork(5, 4), [])
    with pytest.raises(ConfigError, match="at least 1 batch, got 0"):
        estimate(max_batches=0)
