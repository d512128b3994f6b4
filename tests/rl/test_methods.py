"""Every method that a config can name trains the Atari agent."""

import dataclasses
from pathlib import Path

import pytest
import torch

from clrl.continual.methods import METHODS, Finetune, MethodConfig
from clrl.rl.dqn import ContinualDQN
from clrl.rl.game_sequence import GameSequence, Visit

from ..fakes import FakeGames, Rules, ScriptedLabels

# Each task is left once; the first comes back.
LABELS = (0,) * 25 + (1,) * 25 + (2,) * 25 + (0,) * 999


def quick(config: type[MethodConfig]) -> MethodConfig:
    """The method as it is by default, but for the size of its estimates."""
    names = {field.name for field in dataclasses.fields(config)}
    return config(**{"importance_batches": 2} if "importance_batches" in names else {})


def agent_with(name: str) -> ContinualDQN:
    games = FakeGames(Rules(ends=0.05, reward=1.0))
    return ContinualDQN(
        "MlpPolicy",
        GameSequence([Visit("fake", 100_000)], games, num_envs=2),
        learning_rate=1e-3,
        buffer_size=500,
        learning_starts=20,
        batch_size=8,
        train_freq=4,
        n_stack=4,
        exploration_steps=100,
        replay_gib=0.1,
        method=quick(METHODS[name]),
        recogniser=ScriptedLabels(labels=LABELS),
        policy_kwargs={"network": "mlp", "task_gains": True, "max_tasks": 3},
        seed=0,
        device="cpu",
    )


@pytest.mark.parametrize("name", METHODS)
def test_the_agent_learns_leaves_acts_and_is_saved_with_every_method(
    name: str, tmp_path: Path
) -> None:
    agent = agent_with(name)
    agent.learn(2 * 100)
    assert agent._n_updates > 15
    assert all(bool(p.isfinite().all()) for p in agent.policy.q_net.parameters())
    state = agent.learner.method.state_dict()
    assert bool(state) == (METHODS[name] is not Finetune)

    agent.save(tmp_path / "agent.zip")
    loaded = ContinualDQN.load(tmp_path / "agent.zip", device="cpu")
    again = loaded.learner.method.state_dict()
    assert again.keys() == state.keys()
    assert all(torch.equal(state[n], again[n]) for n in state)
