"""With nothing plugged in, training is Stable-Baselines3's."""

from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import DQN
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from torch import Tensor, nn

from clrl.rl.dqn import ContinualDQN
from clrl.rl.game_sequence import GameSequence, Visit
from clrl.rl.replay import ReplayBatch

from ..fakes import CountingGame, FakeGames, FixedBatches, Rules

pytestmark = pytest.mark.parity

BATCH_SIZE = 16
UPDATES = 10


def images() -> GameSequence:
    return GameSequence(
        [Visit("fake", 10)], FakeGames(Rules(frame_size=84, n_actions=18)), num_envs=1
    )


def vectors() -> GameSequence:
    return GameSequence([Visit("fake", 10)], lambda *_: CountingGame([5]), num_envs=1)


def random_batches(sequence: GameSequence) -> list[ReplayBatch]:
    rng = np.random.default_rng(0)
    space = sequence.observation_space
    shape = (2, BATCH_SIZE, *(space.shape or ()))
    assert isinstance(sequence.action_space, spaces.Discrete)
    n_actions = int(sequence.action_space.n)

    def observations() -> Tensor:
        return torch.from_numpy(rng.integers(0, 100, shape).astype(space.dtype))

    batches = []
    for _ in range(UPDATES):
        now, following = observations()
        batches.append(
            ReplayBatch(
                observations=now,
                actions=torch.from_numpy(rng.integers(0, n_actions, BATCH_SIZE)),
                rewards=torch.from_numpy(rng.normal(size=BATCH_SIZE).astype("f4")),
                next_observations=following,
                terminated=torch.from_numpy(rng.random(BATCH_SIZE) < 0.2),
                task=torch.zeros(BATCH_SIZE, dtype=torch.int64),
            )
        )
    return batches


def as_sb3(batch: ReplayBatch) -> ReplayBufferSamples:
    return ReplayBufferSamples(
        observations=batch.observations,
        actions=batch.actions[:, None],
        next_observations=batch.next_observations,
        dones=batch.terminated[:, None].float(),
        rewards=batch.rewards[:, None],
    )


def copy_weights(source: nn.Module, target: nn.Module) -> None:
    """Copies all parameters, which both networks list from input to output."""
    with torch.no_grad():
        for a, b in zip(source.parameters(), target.parameters(), strict=True):
            b.copy_(a)


class Arithmetic(NamedTuple):
    """How the updates are computed, and how much of SB3's may be lost to rounding.

    Adam's first steps are the signs of the gradients, even of those that are nothing
    but rounding, so that a change of layout is compared under plain gradient descent.
    """

    optimizer: type[torch.optim.Optimizer]
    ours: dict[str, Any]
    tolerance: float


ARITHMETICS = {
    "adam": Arithmetic(torch.optim.Adam, {}, 1e-6),
    "fused adam": Arithmetic(
        torch.optim.Adam, {"optimizer_kwargs": {"fused": True}}, 1e-5
    ),
    "channels last": Arithmetic(torch.optim.SGD, {"channels_last": True}, 1e-6),
}


@pytest.mark.parametrize("arithmetic", ARITHMETICS.values(), ids=ARITHMETICS)
@pytest.mark.parametrize("max_grad_norm", [10, 0.05], ids=["free", "clipped"])
@pytest.mark.parametrize(
    ("policy", "sequence"), [("CnnPolicy", images()), ("MlpPolicy", vectors())]
)
def test_ten_updates_equal_those_of_stable_baselines3(
    policy: str, sequence: GameSequence, max_grad_norm: float, arithmetic: Arithmetic
) -> None:
    options: dict[str, Any] = {
        "learning_rate": 1e-3,
        "buffer_size": BATCH_SIZE,
        "gamma": 0.97,
        "max_grad_norm": max_grad_norm,
        "device": "cpu",
    }
    optimizer = {"optimizer_class": arithmetic.optimizer}
    theirs = DQN(policy, sequence, seed=1, policy_kwargs=optimizer, **options)
    ours = ContinualDQN(
        policy,
        sequence,
        seed=2,
        double_q=False,
        replay_gib=0.1,
        policy_kwargs={**optimizer, **arithmetic.ours},
        **options,
    )
    copy_weights(theirs.q_net, ours.q_net)
    # Another target network than the online one, as it is between two synchronisations.
    copy_weights(
        DQN(policy, sequence, seed=3, **options).q_net_target, theirs.q_net_target
    )
    copy_weights(theirs.q_net_target, ours.q_net_target)
    start = [p.detach().clone() for p in theirs.q_net.parameters()]

    batches = random_batches(sequence)
    for model in (theirs, ours):
        model.set_logger(Logger(None, []))
    theirs.replay_buffer = FixedBatches(map(as_sb3, batches))  # type: ignore[assignment]
    theirs.train(UPDATES, BATCH_SIZE)
    ours.memories = FixedBatches(batches)  # type: ignore[assignment]
    ours._steps_owed = 4  # one round of train_freq agent steps
    ours.train(UPDATES, BATCH_SIZE)

    assert ours._n_updates == theirs._n_updates == UPDATES
    for before, a, b in zip(
        start, theirs.q_net.parameters(), ours.q_net.parameters(), strict=True
    ):
        assert not torch.equal(before, a)
        difference = float((a - b).detach().norm() / a.detach().norm())
        assert difference <= arithmetic.tolerance
    for a, b in zip(
        theirs.q_net_target.parameters(), ours.q_net_target.parameters(), strict=True
    ):
        assert torch.equal(a, b)
