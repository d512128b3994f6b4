"""Q-networks and the part of them that belongs to single tasks."""

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor, nn

from clrl.continual.task_layers import LayerPerTask, TaskLayers
from clrl.errors import ConfigError
from clrl.rl.network import (
    ARCHITECTURES,
    GainsAndBiases,
    QNetwork,
    TaskSelection,
    build_network,
)
from clrl.types import NO_TASK

IMAGES = spaces.Box(0, 255, (4, 84, 84), np.uint8)
SMALL_IMAGES = spaces.Box(0, 255, (4, 42, 42), np.uint8)
VECTORS = spaces.Box(-1, 1, (3,), np.float32)
TASKS = 3


def small(task_gains: bool) -> QNetwork:
    torch.manual_seed(0)
    return QNetwork(
        SMALL_IMAGES, 5, ARCHITECTURES["small"], task_gains=task_gains, max_tasks=TASKS
    )


def with_random_parts(network: QNetwork) -> QNetwork:
    """Gains and biases as training might leave them: of each task its own."""
    shared = network.shared_parameters()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name not in shared:
                parameter.add_(0.3 * torch.randn_like(parameter))
    return network


def images(size: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(256, (size, 4, 42, 42), dtype=torch.uint8, generator=generator)


def test_nature_has_the_parameters_of_the_published_network() -> None:
    network = QNetwork(IMAGES, 18, ARCHITECTURES["nature"])
    assert sum(p.numel() for p in network.parameters()) == 1_693_362


@pytest.mark.parametrize("name", ["nature", "kirkpatrick2017", "small"])
def test_every_image_network_takes_84x84_frames(name: str) -> None:
    network = build_network(name, IMAGES, 18)
    observations = torch.zeros(2, 4, 84, 84, dtype=torch.uint8)
    assert network(observations, torch.zeros(2, dtype=torch.int64)).shape == (2, 18)


def test_images_are_scaled_to_one() -> None:
    network = small(task_gains=False)
    x = images(2)
    by_hand = x.float() / 255
    for i, layer in enumerate(network.layers):
        by_hand = layer(by_hand.flatten(1) if i == 3 else by_hand)
        by_hand = torch.relu(by_hand) if i < 4 else by_hand
    assert torch.equal(network(x, torch.zeros(2, dtype=torch.int64)), by_hand)


def test_vectors_are_not_scaled_and_matrices_are_flattened() -> None:
    x = torch.randn(2, 6)
    task = torch.zeros(2, dtype=torch.int64)
    torch.manual_seed(0)
    flat = build_network("mlp", spaces.Box(-9, 9, (6,), np.float32), 2)
    torch.manual_seed(0)
    square = build_network("mlp", spaces.Box(-9, 9, (2, 3), np.float32), 2)
    assert torch.equal(flat(x, task), square(x.reshape(2, 2, 3), task))
    first = next(iter(flat.children()))[0]  # type: ignore[index]
    assert isinstance(first, nn.Linear)
    assert first.in_features == 6


def test_a_part_is_the_sum_with_the_bias_times_the_gain() -> None:
    part = GainsAndBiases(features=2, max_tasks=2)
    with torch.no_grad():
        part.tasks[0].copy_(torch.tensor([[2.0, 3.0], [10.0, 20.0]]))
        part.tasks[1].copy_(torch.tensor([[-1.0, 0.5], [1.0, 0.0]]))
    features = torch.tensor([[1.0, 2.0], [1.0, 2.0]])
    selection = TaskSelection([0, 1], torch.tensor([1, 0]))
    expected = [[(1 + 1) * -1.0, (2 + 0) * 0.5], [(1 + 10) * 2.0, (2 + 20) * 3.0]]
    assert part(features, selection).tolist() == expected


def test_a_fresh_part_changes_nothing_and_replaces_the_layers_own_bias() -> None:
    network = small(task_gains=True)
    assert all(layer.bias is None for layer in network.layers)
    task = torch.tensor([0, 2])
    bare = images(2).float() / 255
    for i, layer in enumerate(network.layers):
        bare = layer(bare.flatten(1) if i == 3 else bare)
        bare = torch.relu(bare) if i < 4 else bare
    assert torch.equal(network(images(2), task), bare)


def test_a_batch_of_several_tasks_gives_what_each_example_gives_alone() -> None:
    network = with_random_parts(small(task_gains=True))
    x, task = images(6), torch.tensor([2, 0, 1, 1, 0, 2])
    together = network(x, task)
    for i in range(6):
        alone = network(x[i : i + 1], task[i : i + 1])
        torch.testing.assert_close(together[i : i + 1], alone, rtol=1e-4, atol=1e-5)
    same = network(x, torch.zeros_like(task))
    assert not torch.allclose(together, same)


def test_no_task_uses_what_all_tasks_share_and_nothing_else() -> None:
    fresh = small(task_gains=True)  # gains 1, biases 0
    network = with_random_parts(small(task_gains=True))
    x = images(3)
    nobodys = torch.full((3,), NO_TASK)
    expected = fresh(x, torch.zeros(3, dtype=torch.int64))
    assert torch.equal(network(x, nobodys), expected)
    mixed = network(x, torch.tensor([1, NO_TASK, 0]))
    torch.testing.assert_close(mixed[1], expected[1])
    torch.testing.assert_close(mixed[:1], network(x[:1], torch.tensor([1])))


def test_activations_lead_to_the_outputs_and_are_never_negative() -> None:
    network = with_random_parts(small(task_gains=True))
    x, task = images(6), torch.tensor([2, 0, 1, 1, 0, 2])
    hidden = network.activations(x, task)
    shapes = [(6, 16, 13, 13), (6, 32, 5, 5), (6, 64, 3, 3), (6, 256)]
    assert [tuple(layer.shape) for layer in hidden] == shapes
    assert all(layer.min() == 0 for layer in hidden)
    last, part = network.layers[-1], network.task_parts[-1]
    for i in range(6):
        selection = TaskSelection([int(task[i])], torch.zeros(1, dtype=torch.int64))
        outputs = part(last(hidden[-1][i : i + 1]), selection)
        expected = network(x[i : i + 1], task[i : i + 1])
        torch.testing.assert_close(outputs, expected, rtol=1e-4, atol=1e-5)


def test_a_task_that_is_not_in_the_batch_gets_no_gradient_at_all() -> None:
    network = with_random_parts(small(task_gains=True))
    network(images(4), torch.tensor([0, 2, 0, 2])).sum().backward()
    owned = {
        name: parameter
        for name, parameter in network.named_parameters()
        if name not in network.shared_parameters()
    }
    assert len(owned) == 5 * TASKS
    for name, parameter in owned.items():
        # None, not zeros, which an optimiser with momentum would move along.
        assert (parameter.grad is None) == name.endswith("tasks.1")


def test_shared_parameters_are_the_weights_and_the_biases_that_no_task_owns() -> None:
    weights = {f"layers.{i}.weight" for i in range(5)}
    biases = {f"layers.{i}.bias" for i in range(5)}
    assert set(small(task_gains=True).shared_parameters()) == weights
    assert set(small(task_gains=False).shared_parameters()) == weights | biases


def test_images_too_small_for_the_convolutions_are_refused() -> None:
    with pytest.raises(ValueError, match="84x84 frames or the small network"):
        build_network("kirkpatrick2017", spaces.Box(0, 255, (4, 30, 30), np.uint8), 18)


def test_an_unknown_network_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ConfigError, match="did you mean nature"):
        build_network("natur", IMAGES, 18)


@pytest.mark.parametrize("path", ["no_such_module.network", "clrl.rl.network.Missing"])
def test_an_import_path_that_leads_nowhere_is_refused(path: str) -> None:
    with pytest.raises(ConfigError, match="import path"):
        build_network(path, IMAGES, 18)


def two_actions_only(
    observation_space: spaces.Box, n_actions: int, *, task_gains: bool, max_tasks: int
) -> QNetwork:
    return QNetwork(observation_space, n_actions, ARCHITECTURES["mlp"])


def test_a_network_of_ones_own_is_named_by_its_import_path() -> None:
    network = build_network(f"{__name__}.two_actions_only", VECTORS, 2)
    assert network(torch.zeros(1, 3), torch.zeros(1, dtype=torch.int64)).shape == (1, 2)


def with_own_layers(**own: bool) -> QNetwork:
    torch.manual_seed(0)
    return QNetwork(
        SMALL_IMAGES,
        5,
        ARCHITECTURES["small"],
        task_layers=TaskLayers(**own),
        max_tasks=TASKS,
    )


@pytest.mark.parametrize("owned", ["task_input", "task_hidden", "task_head"])
def test_each_example_goes_through_its_own_tasks_layers(owned: str) -> None:
    network, x = with_own_layers(**{owned: True}), images(6)
    task = torch.arange(6) % TASKS
    together = network(x, task)
    for n in range(6):
        alone = network(x[n : n + 1], task[n : n + 1])
        torch.testing.assert_close(together[n], alone[0])
    other = network(x, (task + 1) % TASKS)
    assert not torch.isclose(together, other).all(dim=1).any()


@pytest.mark.parametrize(
    ("own", "shared"),
    [
        ({}, {0, 1, 2, 3, 4}),
        ({"task_input": True}, {1, 2, 3, 4}),
        ({"task_hidden": True}, {0, 4}),
        ({"task_head": True}, {0, 1, 2, 3}),
        ({"task_input": True, "task_hidden": True, "task_head": True}, set()),
    ],
)
def test_layers_that_tasks_own_are_not_shared(
    own: dict[str, bool], shared: set[int]
) -> None:
    names = with_own_layers(**own).shared_parameters()
    assert {int(name.split(".")[1]) for name in names} == shared


def test_a_task_may_begin_with_the_layers_of_another() -> None:
    network = with_own_layers(task_head=True, task_layers_copied=True)
    network.begin(2, after=1)
    head = network.layers[-1]
    assert isinstance(head, LayerPerTask)
    weights = [layer.weight for layer in head.layers]
    assert torch.equal(weights[2], weights[1])  # type: ignore[arg-type]
    assert not torch.equal(weights[0], weights[1])  # type: ignore[arg-type]


def test_dropout_scales_what_it_leaves_of_hidden_layers_in_training_alone() -> None:
    torch.manual_seed(0)
    small = ARCHITECTURES["small"]
    network = QNetwork(SMALL_IMAGES, 5, small, hidden_dropout=0.5)
    x, task = images(2), torch.zeros(2, dtype=torch.int64)
    first = network.activations(x, task)[0]
    expected = torch.relu(network.layers[0](x.float() / 255))
    assert bool(((first == 0) | (first == 2 * expected)).all())
    dropped = ((first == 0) & (expected > 0)).sum() / (expected > 0).sum()
    assert 0.45 < dropped < 0.55
    network.eval()
    assert torch.equal(network.activations(x, task)[0], expected)


def test_input_dropout_leaves_out_pixels_in_training_alone() -> None:
    torch.manual_seed(0)
    small = ARCHITECTURES["small"]
    network = QNetwork(SMALL_IMAGES, 5, small, input_dropout=0.5)
    x, task = images(2), torch.zeros(2, dtype=torch.int64)
    seen: list[Tensor] = []
    network.layers[0].register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    network(x, task)
    network.eval()
    network(x, task)
    trained_on, acted_on = seen
    assert torch.equal(acted_on, x / 255)
    assert bool(((trained_on == 0) | (trained_on == 2 * acted_on)).all())
    assert 0.45 < (trained_on[x > 0] == 0).double().mean() < 0.55
