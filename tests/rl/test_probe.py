"""What is measured on a batch of replay, and that measuring changes nothing."""

import numpy as np
import pytest
import torch

from clrl.continual.methods import EWC
from clrl.recognition.recognisers import OracleRecogniser
from clrl.rl.dqn import ContinualDQN
from clrl.rl.game_sequence import GameSequence, fixed_visits
from clrl.rl.probe import probe

from ..fakes import CART_POLES, cart_pole, parameters_of


def trained() -> ContinualDQN:
    """An agent that has left a task, in the middle of the next."""
    sequence = GameSequence(fixed_visits(CART_POLES, 1, 120), cart_pole, num_envs=2)
    agent = ContinualDQN(
        "MlpPolicy",
        sequence,
        learning_starts=20,
        buffer_size=500,
        batch_size=16,
        method=EWC(strength=10.0, importance_batches=2),
        recogniser=OracleRecogniser(),
        replay_gib=0.1,
        seed=0,
        device="cpu",
    )
    agent.learn(200)
    return agent


def test_q_values_and_gradients_are_those_of_the_batch() -> None:
    agent = trained()
    drawn = np.random.default_rng([0, 200])
    batch = agent.memories[1].sample(16, drawn)
    network = agent.policy.q_net
    q = network(batch.observations, batch.task)
    measured = probe(agent, has_penalty=True)
    assert measured.q_mean == pytest.approx(q.max(dim=1).values.mean().item())
    assert measured.q_abs_max == pytest.approx(q.abs().max().item())

    shared = network.shared_parameters()
    state = agent.learner.method.state_dict()
    pulls = [
        10
        * state[f"penalty.0.importance.{n}"]
        * (p - state[f"penalty.0.parameters.{n}"])
        for n, p in shared.items()
    ]
    loss = agent.learner.objective(network, batch).mean()
    slopes = torch.autograd.grad(loss, list(shared.values()))
    pull, slope = (
        torch.cat([x.flatten() for x in xs]).norm() for xs in (pulls, slopes)
    )
    assert measured.penalty_gradient_ratio == pytest.approx((pull / slope).item())
    assert probe(agent, has_penalty=False).penalty_gradient_ratio == 0


def test_training_goes_on_as_if_nothing_had_been_measured() -> None:
    watched, alone = trained(), trained()
    probe(watched, has_penalty=True)
    for agent in (watched, alone):
        agent.learn(40, reset_num_timesteps=False)
    for ours, theirs in zip(
        parameters_of(watched.q_net), parameters_of(alone.q_net), strict=True
    ):
        assert torch.equal(ours, theirs)


def test_broken_weights_measure_as_nothing() -> None:
    agent = trained()
    with torch.no_grad():
        next(agent.q_net.parameters()).fill_(float("nan"))
    assert set(probe(agent, has_penalty=True)) == {None}
