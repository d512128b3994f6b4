"""The agent that a config describes: made, saved and read back."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import torch
from stable_baselines3.common.sb2_compat.rmsprop_tf_like import RMSpropTFLike

from clrl.checkpoint import restoring, write_checkpoint
from clrl.config.games import AgentConfig, RunConfig
from clrl.continual.precision import until_tried
from clrl.device import device_of
from clrl.errors import MemoryBudgetError
from clrl.rl.available_memory import available_bytes
from clrl.rl.dqn import ContinualDQN
from clrl.rl.frames import default_frame_store
from clrl.rl.game_sequence import GameSequence
from clrl.rl.policy import ContinualDQNPolicy
from clrl.rl.replay import example_bytes
from clrl.rl.replay_budget import required_bytes
from clrl.run.sequence import make_sequence
from clrl.run_directory import RunDirectory

N_STACK = 4
"""Frames in an observation (Mnih et al., 2015)."""


def make_agent(config: RunConfig, sequence: GameSequence) -> ContinualDQN:
    """A freshly initialised agent for ``sequence``."""
    if isinstance(config.threads, int):
        torch.set_num_threads(config.threads)
    agent = config.agent
    return ContinualDQN(
        ContinualDQNPolicy,
        sequence,
        learning_rate=agent.learning_rate,
        buffer_size=agent.buffer_size,
        learning_starts=agent.learning_starts,
        batch_size=agent.batch_size,
        tau=agent.tau,
        gamma=agent.gamma,
        train_freq=agent.train_freq,
        gradient_steps=agent.gradient_steps,
        target_update_interval=agent.target_update_interval,
        exploration_initial_eps=agent.exploration_initial_eps,
        exploration_final_eps=agent.exploration_final_eps,
        max_grad_norm=agent.max_grad_norm,
        policy_kwargs={
            "network": config.network.name,
            "task_gains": config.network.task_gains,
            "task_layers": config.network,
            "input_dropout": config.network.input_dropout,
            "hidden_dropout": config.network.hidden_dropout,
            "max_tasks": config.network.max_tasks,
            "channels_last": True,
            **_optimizer(agent),
        },
        seed=config.seed,
        device=device_of(config.device),
        method=config.method,
        recogniser=config.recogniser,
        double_q=agent.double_q,
        n_stack=N_STACK,
        exploration_steps=agent.exploration_steps,
        consolidation_starts=agent.consolidation_starts,
        replay_gib=agent.replay_gib,
        precision=until_tried(agent.precision),
        frames=None if agent.replay_frames == "auto" else agent.replay_frames,
        overlap=agent.overlap,
        capture=agent.capture,
    )


def _optimizer(agent: AgentConfig) -> dict[str, Any]:
    if agent.optimizer == "adam":
        return {
            "optimizer_class": torch.optim.Adam,
            # One pass over memory, which bounds it on a CPU; equal up to rounding.
            "optimizer_kwargs": {"eps": agent.optimizer_eps, "fused": True},
        }
    return {
        # Adds eps inside the root, as the DQN papers do; torch's own adds it outside.
        "optimizer_class": RMSpropTFLike,
        "optimizer_kwargs": {
            "eps": agent.optimizer_eps,
            "alpha": 0.95,
            "centered": True,
        },
    }


@contextmanager
def saved_agent(
    config: RunConfig, directory: RunDirectory
) -> Iterator[tuple[ContinualDQN, GameSequence]]:
    """The agent that a run saved, with the sequence of its games.

    Raises:
        CheckpointError: There is no checkpoint, or it was altered.
    """
    with closing(make_sequence(config)) as sequence:
        agent = make_agent(config, sequence)
        load(agent, directory)
        yield agent, sequence


def save(agent: ContinualDQN, directory: RunDirectory) -> None:
    """Writes weights, target weights and all the agent knows about its tasks.

    Raises:
        DivergenceError: The weights are broken, which nobody had asked a GPU yet.
    """
    agent.read_updates()
    write_checkpoint(
        directory.checkpoint,
        {
            "policy": agent.policy.state_dict(),
            "continual": agent.continual_state.state_dict(),
        },
        {"agent_steps": agent.num_timesteps, "updates": agent._n_updates},
    )


def load(agent: ContinualDQN, directory: RunDirectory) -> None:
    """Restores what ``save`` wrote.

    Raises:
        CheckpointError: There is no checkpoint, it was altered, or it is another
            version's.
    """
    with restoring(directory.checkpoint) as parts:
        agent.policy.load_state_dict(parts["policy"])
        agent.continual_state.load_state_dict(parts["continual"])


def check_memory(config: RunConfig) -> None:
    """Checks that the replay memory, and what the method keeps, of each game fit.

    Raises:
        MemoryBudgetError: They would not.
    """
    size, device = config.sequence.frame_size, device_of(config.device)
    transition_bytes = example_bytes((N_STACK, size, size), 1)
    config.method.check_memory(len(config.games), transition_bytes)
    chosen = config.agent.replay_frames
    frames = default_frame_store(device) if chosen == "auto" else chosen
    each = required_bytes(
        config.agent.buffer_size, (N_STACK, size, size), N_STACK, 1, frames
    )
    needed = each * len(config.games)
    available = available_bytes(device if frames == "device" else None)
    allowed = min(int(config.agent.replay_gib * 2**30), available)
    if needed > allowed:
        raise MemoryBudgetError(
            f"the replay memories need {_gib(needed)} ({len(config.games)} games of "
            f"{config.agent.buffer_size:,} transitions of "
            f"{each / config.agent.buffer_size:,.0f} bytes), but agent.replay_gib "
            f"allows {config.agent.replay_gib:g} GiB and {_gib(available)} are "
            "available; lower agent.buffer_size or raise agent.replay_gib."
        )


def _gib(count: float) -> str:
    return f"{count / 2**30:.1f} GiB"
