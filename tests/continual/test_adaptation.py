import pytest
import torch
from torch import Tensor

from clrl.continual import adaptation
from clrl.continual.adaptation import KERNEL_EPSILON, nearest_neighbours
from clrl.continual.methods import Finetune, MbPA, MethodConfig
from clrl.errors import ConfigError

from .toy import (
    CLASSES,
    LinearNetwork,
    ToyBatch,
    cross_entropy,
    domain,
    learner_of,
    seeded,
    toy_batch,
)


def test_neighbours_are_those_of_a_loop_over_all_keys() -> None:
    g = seeded(0)
    queries, keys = torch.randn(5, 3, generator=g), torch.randn(9, 3, generator=g)
    rows, weights = nearest_neighbours(queries, keys, 4)
    for n in range(5):
        distances = [float((queries[n] - key).square().sum()) for key in keys]
        nearest = sorted(range(9), key=lambda i: distances[i])[:4]
        assert rows[n].tolist() == nearest
        kernel = torch.tensor([1 / (KERNEL_EPSILON + distances[i]) for i in nearest])
        torch.testing.assert_close(weights[n], kernel / kernel.sum(), rtol=1e-3, atol=0)
    assert nearest_neighbours(queries, keys, 100).rows.shape == (5, 9)


def test_a_prediction_is_that_of_literal_steps_on_the_neighbours() -> None:
    network, stored = LinearNetwork(3, CLASSES), toy_batch((12, 3), 1)
    config = MbPA(
        neighbours=4, adaptation_steps=3, adaptation_rate=0.4, adaptation_pull=0.2
    )
    learner = learner_of(network, config.build(domain()), lr=0.1)
    learner.step(stored, 0)
    before = [p.detach().clone() for p in network.parameters()]
    shown = toy_batch((5, 3), 2)
    rows, weights = nearest_neighbours(shown.inputs, stored.inputs, 4)
    expected = []
    for n in range(5):
        W, b = (p.clone() for p in before)
        x, y = stored.inputs[rows[n]], stored.labels[rows[n]]
        for _ in range(3):
            error = (x @ W.T + b).softmax(1)
            error[torch.arange(4), y] -= 1
            error = error * weights[n][:, None]
            W, b = (
                W - 0.4 * error.T @ x - 0.2 * (W - before[0]),
                b - 0.4 * error.sum(0) - 0.2 * (b - before[1]),
            )
        expected.append(W @ shown.inputs[n] + b)
    with torch.no_grad():
        got = learner.predict(shown.inputs, shown.task)
    torch.testing.assert_close(got, torch.stack(expected), rtol=1e-4, atol=1e-4)
    # What was adapted is thrown away.
    assert all(
        torch.equal(p, q) for p, q in zip(network.parameters(), before, strict=True)
    )


def accuracy_on_the_first_of_two_tasks(config: MethodConfig) -> float:
    network = LinearNetwork(3, CLASSES)
    learner = learner_of(network, config.build(domain()), lr=0.5)
    inputs = toy_batch((40, 3)).inputs
    labels = inputs[:, 0].gt(0).long()
    # The second task is elsewhere and says the opposite.
    tasks = [(inputs, labels), (inputs + 10, 1 - labels)]
    for task, (x, y) in enumerate(tasks):
        for _ in range(60):
            learner.step(ToyBatch(x, y, torch.full((40,), task)), task)
    outputs: Tensor = learner.predict(inputs, torch.zeros(40).long())
    return float((outputs.argmax(1) == labels).float().mean())


def test_what_was_forgotten_is_recalled_from_the_neighbours() -> None:
    recalled = accuracy_on_the_first_of_two_tasks(MbPA(adaptation_rate=1.0))
    forgotten = accuracy_on_the_first_of_two_tasks(Finetune())
    assert recalled > 0.85
    assert forgotten < recalled - 0.1


def test_without_a_memory_it_predicts_as_the_network_does() -> None:
    network, batch = LinearNetwork(3, CLASSES), toy_batch((5, 3))
    learner = learner_of(network, MbPA().build(domain()))
    got = learner.predict(batch.inputs, batch.task)
    assert torch.equal(got, network(batch.inputs, batch.task))
    assert cross_entropy(network, batch).requires_grad


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (MbPA(neighbours=0), "neighbours must be at least 1"),
        (MbPA(adaptation_steps=0), "adaptation_steps must be at least 1"),
        (MbPA(adaptation_rate=0.0), "adaptation_rate must be finite and more than 0"),
        (MbPA(adaptation_pull=1.5), "adaptation_pull must be between 0 and 1"),
    ],
)
def test_knobs_out_of_range_are_refused(config: MbPA, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config.build(domain())


def test_many_inputs_at_once_are_predicted_as_one_after_the_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network, stored = LinearNetwork(3, CLASSES), toy_batch((12, 3), 1)
    learner = learner_of(network, MbPA().build(domain()), lr=0.1)
    learner.step(stored, 0)
    shown = toy_batch((7, 3), 2)
    expected = learner.predict(shown.inputs, shown.task)
    copies = sum(p.numel() for p in network.parameters()) * 3
    monkeypatch.setattr(adaptation, "COPIED_PARAMETERS", copies)  # 3, 3 and 1
    in_chunks = learner.predict(shown.inputs, shown.task)
    monkeypatch.setattr(adaptation, "vmap", adaptation._row_by_row)
    one_by_one = learner.predict(shown.inputs, shown.task)
    torch.testing.assert_close(in_chunks, expected)
    torch.testing.assert_close(one_by_one, expected)
