"""Every method that a config can name trains the Atari agent."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3.common.callbacks import BaseCallback
from torch import Tensor, nn

from clrl.continual.methods import METHODS, Finetune, MethodConfig
from clrl.continual.task_layers import LayerPerTask, TaskLayers
from clrl.errors import ConfigError
from clrl.rl.dqn import ContinualDQN
from clrl.rl.game_sequence import GameSequence, Visit
from clrl.rl.network import QNetwork

from ..fakes import FakeGames, Rules, ScriptedLabels

# Each task is left once; the first comes back.
LABELS = (0,) * 25 + (1,) * 25 + (2,) * 25 + (0,) * 999


def quick(config: type[MethodConfig]) -> MethodConfig:
    """The method as it is by default, but for the size of its estimates."""
    names = {field.name for field in dataclasses.fields(config)}
    return config(**{"importance_batches": 2} if "importance_batches" in names else {})


def agent_with(name: str, **policy: Any) -> ContinualDQN:
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
        policy_kwargs={
            "network": "mlp",
            "task_gains": True,
            "max_tasks": 3,
            **policy,
        },
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


class HeadsAtChanges(BaseCallback):
    """Keeps all heads as they were when a task began."""

    def __init__(self) -> None:
        super().__init__()
        self.heads: list[tuple[int, list[Tensor]]] = []

    def _on_step(self) -> bool:
        assert isinstance(self.model, ContinualDQN)
        task = self.model.task
        if not self.heads or self.heads[-1][0] != task:
            network = self.model.policy.q_net
            assert isinstance(network, QNetwork)
            head = network.layers[-1]
            assert isinstance(head, LayerPerTask)
            linear = [layer for layer in head.layers if isinstance(layer, nn.Linear)]
            weights = [layer.weight.detach().clone() for layer in linear]
            self.heads.append((task, weights))
        return True


@pytest.mark.parametrize("copied", [False, True])
def test_a_task_trains_the_layers_that_it_owns_alone(
    copied: bool, tmp_path: Path
) -> None:
    own = TaskLayers(task_head=True, task_layers_copied=copied)
    agent = agent_with(
        "finetune", task_layers=own, input_dropout=0.1, hidden_dropout=0.2
    )
    changes = HeadsAtChanges()
    agent.learn(2 * 100, callback=changes)
    tasks = [task for task, _ in changes.heads]
    assert tasks == [0, 1, 2, 0]
    (_, at_0), (_, at_1), (_, at_2), (_, back) = changes.heads
    assert not torch.equal(at_1[0], at_0[0])  # task 0 learnt
    assert torch.equal(at_2[0], at_1[0])  # and was left alone from then on
    assert torch.equal(back[0], at_1[0])
    assert torch.equal(at_1[1], at_1[0]) == copied
    assert torch.equal(at_2[2], at_2[1]) == copied

    agent.save(tmp_path / "agent.zip")
    loaded = ContinualDQN.load(tmp_path / "agent.zip", device="cpu")
    shape = agent.observation_space.shape or ()
    observations = np.zeros((1, *shape), np.float32)
    assert loaded.policy.task_layers == own
    assert loaded.predict(observations)[0] == agent.predict(observations)[0]


def test_more_tasks_than_layers_of_their_own_are_refused() -> None:
    agent = agent_with(
        "finetune",
        task_gains=False,
        max_tasks=2,
        task_layers=TaskLayers(task_input=True),
    )
    with pytest.raises(ConfigError, match="max_tasks"):
        agent.learn(2 * 100)
