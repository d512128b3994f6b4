"""The loss of a transition, and the statistics whose Fisher can be taken."""

from itertools import product

import pytest
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from clrl.continual.network import ContinualNetwork
from clrl.rl.objective import (
    GreedySoftmax,
    QGaussian,
    QLearning,
    TemporalDifferenceError,
    q_of,
    td_target,
)
from clrl.rl.replay import ReplayBatch


class Table(ContinualNetwork):
    """Q-values written down: observation i has the i-th row."""

    def __init__(self, rows: list[list[float]]) -> None:
        super().__init__()
        self.rows = nn.Parameter(torch.tensor(rows))

    def forward(self, inputs: Tensor, task: Int64[Tensor, "B"]) -> Float[Tensor, "B A"]:
        return self.rows[inputs[:, 0].long()]


ONLINE = Table([[1.0, 2.0], [3.0, 0.5]])
TARGET = Table([[10.0, 20.0], [40.0, 80.0]])


def batch_of(
    states: list[int],
    actions: list[int],
    rewards: list[float],
    following: list[int],
    terminated: list[bool],
) -> ReplayBatch:
    return ReplayBatch(
        observations=torch.tensor(states)[:, None],
        actions=torch.tensor(actions),
        rewards=torch.tensor(rewards),
        next_observations=torch.tensor(following)[:, None],
        terminated=torch.tensor(terminated),
        task=torch.zeros(len(states), dtype=torch.int64),
    )


def test_the_target_is_the_reward_plus_the_discounted_next_value() -> None:
    grid = list(product([-1.0, 0.0, 2.0], [False, True], [0.0, 1.0, 10.0]))
    rewards, terminated, values = zip(*grid, strict=True)
    target = td_target(
        torch.tensor(rewards), torch.tensor(terminated), torch.tensor(values), gamma=0.5
    )
    assert target.tolist() == [
        *(-1.0, -0.5, 4.0),
        *(-1.0, -1.0, -1.0),
        *(0.0, 0.5, 5.0),
        *(0.0, 0.0, 0.0),
        *(2.0, 2.5, 7.0),
        *(2.0, 2.0, 2.0),
    ]


def test_q_of_picks_the_value_of_each_action() -> None:
    q_values = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert q_of(q_values, torch.tensor([1, 0])).tolist() == [2.0, 3.0]


BATCH = batch_of(
    [0, 1, 0], [0, 1, 1], [1.0, -1.0, 0.5], [1, 0, 1], [False, False, True]
)


@pytest.mark.parametrize(
    ("double_q", "expected"),
    [
        # The larger of the target network's own values: 80, then 20.
        (False, [1 + 0.9 * 80, -1 + 0.9 * 20, 0.5]),
        # What the target network says of the online network's choice: 40, then 20.
        (True, [1 + 0.9 * 40, -1 + 0.9 * 20, 0.5]),
    ],
)
def test_double_q_learning_lets_the_online_network_choose(
    double_q: bool, expected: list[float]
) -> None:
    objective = QLearning(target_network=TARGET, gamma=0.9, double_q=double_q)
    target = objective.target(ONLINE, BATCH)
    assert target.tolist() == pytest.approx(expected)
    assert not target.requires_grad


def test_the_loss_is_hubers_and_its_gradient_the_clipped_error() -> None:
    network = Table([[0.3, 2.0], [3.0, 0.5]])
    objective = QLearning(target_network=TARGET, gamma=0.9, double_q=True)
    # Errors of Q against the reward alone: 0.3 - 0.5, 2 - 0, 0.5 - 10.
    batch = batch_of([0, 0, 1], [0, 1, 1], [0.5, 0.0, 10.0], [0, 0, 0], [True] * 3)
    losses = objective(network, batch)
    assert losses.tolist() == pytest.approx([0.02, 1.5, 9.0])
    losses.sum().backward()  # type: ignore[no-untyped-call]
    assert network.rows.grad is not None
    expected = torch.tensor([[-0.2, 1.0], [0.0, -1.0]])
    torch.testing.assert_close(network.rows.grad, expected)
    assert TARGET.rows.grad is None


def test_statistics_say_which_scalar_they_are() -> None:
    outputs = torch.tensor([[1.0, 2.0], [3.0, 0.5], [1.0, 2.0]])
    generator = torch.Generator()

    gaussian = QGaussian()
    weights, labels = gaussian.outcomes(ONLINE, outputs, BATCH, generator)
    assert (weights.tolist(), labels.tolist()) == ([[1, 1, 1]], [[0, 1, 1]])
    assert gaussian(outputs, labels[0]).tolist() == [1.0, 0.5, 2.0]

    greedy = GreedySoftmax()
    weights, labels = greedy.outcomes(ONLINE, outputs, BATCH, generator)
    assert (weights.tolist(), labels.tolist()) == ([[1, 1, 1]], [[1, 0, 1]])
    expected = torch.log_softmax(outputs, 1).max(dim=1).values
    torch.testing.assert_close(greedy(outputs, labels[0]), expected)

    objective = QLearning(target_network=TARGET, gamma=0.9, double_q=True)
    error = TemporalDifferenceError(objective)
    weights, labels = error.outcomes(ONLINE, outputs, BATCH, generator)
    assert weights.tolist() == [[1, 1, 1]]
    torch.testing.assert_close(error(outputs, labels[0]), objective(ONLINE, BATCH))


def test_statistics_show_the_network_the_observations() -> None:
    objective = QLearning(target_network=TARGET, gamma=0.9, double_q=True)
    for statistic in (
        QGaussian(),
        GreedySoftmax(),
        TemporalDifferenceError(objective),
    ):
        assert statistic.inputs(BATCH) is BATCH.observations
