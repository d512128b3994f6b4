"""Puts a run on games together from its config, trains, and keeps what comes out."""

import dataclasses
import hashlib
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.logger import Logger, TensorBoardOutputFormat
from stable_baselines3.common.sb2_compat.rmsprop_tf_like import RMSpropTFLike
from stable_baselines3.common.utils import get_device

from clrl import allocator, config_file
from clrl.checkpoint import read_checkpoint, write_checkpoint
from clrl.config import AgentConfig, RunConfig
from clrl.errors import ClrlError, DivergenceError, MemoryBudgetError
from clrl.guards import Guards, standard_guards
from clrl.progress import Listener
from clrl.records import Evaluation, Labelling, RecordWriter, Relabelled
from clrl.relabelling import recorded_true_labels
from clrl.rl.atari import PROTOCOLS, rom_path
from clrl.rl.atari_modes import GameSpec, check_specs, make_atari_game
from clrl.rl.dashboard import Dashboard
from clrl.rl.dqn import ContinualDQN
from clrl.rl.evaluate import Evaluator, Spectator, nobody
from clrl.rl.frames import default_frame_store
from clrl.rl.game import MakeGame, VectorGame
from clrl.rl.game_sequence import GameSequence, Visit, fixed_visits, random_visits
from clrl.rl.objective import QLearning
from clrl.rl.pixel_noise import NoisyGame
from clrl.rl.policy import ContinualDQNPolicy
from clrl.rl.precision import try_precisions
from clrl.rl.recorder import Recorder, Schedule, describe, evaluations
from clrl.rl.replay import ReplayBatch
from clrl.rl.replay_budget import available_bytes, required_bytes
from clrl.run_directory import RunDirectory
from clrl.seeding import generator_of, stream_number
from clrl.threads import fastest_threads

N_STACK = 4
"""Frames in an observation (Mnih et al., 2015)."""

_TRIAL_VECTOR_STEPS = 64  # played before precisions are tried
_TRIAL_BATCHES = 4


def check(config: RunConfig) -> None:
    """Raises ConfigError if a game is unknown."""
    check_specs(config.games)


def train(config: RunConfig, directory: RunDirectory, listener: Listener) -> None:
    """Trains on the whole sequence and saves the agent.

    Raises:
        MemoryBudgetError: The replay memories would not fit; nothing was started.
        DivergenceError: Loss, penalty or gradient stopped being finite; records are
            kept, and no checkpoint of the broken weights is written.
        ConfigError: The recogniser found more tasks than the network has room for; a
            checkpoint of where the run was is kept.
        KeyboardInterrupt: After a checkpoint of where the run was.
    """
    check_memory(config)
    allocator.keep_freed_memory()
    protocol = PROTOCOLS[config.sequence.protocol]
    listener.message(f"protocol {protocol}")
    config = with_threads(with_precision(config, listener), listener)
    directory.write_provenance(
        protocol=str(protocol),
        rom_md5s=rom_md5s(config),
        command=sys.argv,
        precision=config.agent.precision,
        threads=torch.get_num_threads(),
    )
    tensorboard = TensorBoardOutputFormat(str(directory.tensorboard))
    with (
        closing(make_sequence(config)) as sequence,
        closing(Logger(str(directory.tensorboard), [tensorboard])) as logger,
        RecordWriter(directory.records) as writer,
    ):
        agent = make_agent(config, sequence)
        agent.set_logger(logger)
        dashboard = Dashboard(
            tensorboard.writer,
            config_file.describe(config),
            config_file.hyper_parameters(config),
        )
        recorder = Recorder(
            sequence=sequence,
            evaluator=make_evaluator(
                config, config.evaluation.episodes, dashboard.clip
            ),
            write=writer.write,
            listener=listener,
            guards=make_guards(config),
            dashboard=dashboard,
            schedule=Schedule(
                random_policy_episodes=config.evaluation.random_policy_episodes,
                also_under=config.evaluation.also_under,
            ),
        )
        try:
            agent.learn(sequence.total_steps, recorder, log_interval=None)  # type: ignore[arg-type]
        except DivergenceError:
            raise  # the weights are broken
        except (KeyboardInterrupt, ClrlError):
            save(agent, directory)
            raise
        save(agent, directory)
        dashboard.close()


def with_precision(config: RunConfig, listener: Listener) -> RunConfig:
    """``config`` with ``precision: auto`` replaced by what this machine is better at.

    A throwaway agent plays at random, so that the run itself starts as ever.
    """
    if config.agent.precision != "auto":
        return config
    with throwaway_agent(config) as (agent, batches):
        objective = agent.learner.objective
        assert isinstance(objective, QLearning)
        trial = try_precisions(agent.policy.q_net, objective, batches)
    listener.message(str(trial))
    chosen = dataclasses.replace(config.agent, precision=trial.precision)
    return dataclasses.replace(config, agent=chosen)


def with_threads(config: RunConfig, listener: Listener) -> RunConfig:
    """``config`` with its number of threads; with ``auto`` the one that learns fastest.

    Torch is told that number, where there is one.
    """
    if config.threads == "auto":
        with throwaway_agent(config) as (agent, batches):
            threads = fastest_threads(
                lambda: agent.learner.step(batches[0], agent.task), listener.message
            )
        config = dataclasses.replace(config, threads=threads)
    if isinstance(config.threads, int):
        torch.set_num_threads(config.threads)
    return config


@contextmanager
def throwaway_agent(
    config: RunConfig,
) -> Iterator[tuple[ContinualDQN, list[ReplayBatch]]]:
    """An agent that has played a little at random, and minibatches of its memory."""
    with closing(make_sequence(config)) as sequence:
        agent = make_agent(config, sequence)
        agent.learn(_TRIAL_VECTOR_STEPS * sequence.num_envs)
        fullest = max(agent.memories.tasks, key=lambda c: agent.memories[c].added)
        rng = np.random.default_rng(config.seed)
        batches = [
            agent.memories[fullest].sample(config.agent.batch_size, rng)
            for _ in range(_TRIAL_BATCHES)
        ]
        yield agent, batches


def evaluate(
    directory: RunDirectory,
    episodes: int | None,
    listener: Listener,
    also_under: Sequence[Labelling] | None = None,
) -> list[Evaluation | Relabelled]:
    """Scores all games of a run with its saved agent.

    Args:
        directory: Of the run.
        episodes: Of each game; by default as in the run's config.
        listener: Is told each score.
        also_under: Other labels than the inferred one to score under; by default as in
            the run's config.

    Raises:
        CheckpointError: There is no checkpoint, or it was altered.
    """
    config = config_file.read_game_config(directory.config)
    if also_under is None:
        also_under = config.evaluation.also_under
    with saved_agent(config, directory) as (agent, sequence):
        evaluator = make_evaluator(config, episodes or config.evaluation.episodes)
        found = []
        for record in evaluations(
            evaluator,
            agent,
            sequence.total_steps,
            len(sequence.visits),
            also_under,
            recorded_true_labels(directory.records, sequence.games)
            if also_under
            else {},
        ):
            found.append(record)
            listener.message(describe(record))
        return found


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


def make_visits(config: RunConfig) -> list[Visit]:
    """The visits that the config describes."""
    sequence = config.sequence
    if sequence.order == "fixed":
        return fixed_visits(
            config.games, sequence.visits_per_game, sequence.visit_steps
        )
    rng = generator_of(config.seed, "order")
    return random_visits(
        config.games, sequence.visits_per_game, sequence.visit_steps, rng
    )


def make_sequence(config: RunConfig) -> GameSequence:
    """The games to train on; the first one is started."""
    protocol = PROTOCOLS[config.sequence.protocol]
    return GameSequence(
        make_visits(config),
        game_maker(config),
        num_envs=config.sequence.num_envs,
        seed=config.seed,
        clip_rewards=protocol.clip_rewards,
    )


def make_evaluator(
    config: RunConfig, episodes: int, spectator: Spectator = nobody
) -> Evaluator:
    """Plays the games in the order of their true tasks."""
    visits = make_visits(config)
    return Evaluator(
        games=tuple(dict.fromkeys(visit.game for visit in visits)),
        make_game=game_maker(config, config.evaluation.max_episode_steps),
        episodes=episodes,
        exploration_eps=config.evaluation.exploration_eps,
        seed=config.seed + stream_number("evaluation"),
        spectator=spectator,
    )


def make_guards(config: RunConfig) -> Guards:
    """What looks at the run while it goes on."""
    clips = PROTOCOLS[config.sequence.protocol].clip_rewards
    return standard_guards(
        learning_rate=config.agent.learning_rate,
        optimizer=config.agent.optimizer,
        gamma=config.agent.gamma,
        reward_bound=1.0 if clips else math.inf,
    )


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
            "hidden_dropout": config.network.hidden_dropout,
            "max_tasks": config.network.max_tasks,
            "channels_last": True,
            **_optimizer(agent, get_device(config.device)),
        },
        seed=config.seed,
        device=config.device,
        method=config.method,
        recogniser=config.recogniser,
        double_q=agent.double_q,
        n_stack=N_STACK,
        exploration_steps=agent.exploration_steps,
        consolidation_starts=agent.consolidation_starts,
        replay_gib=agent.replay_gib,
        # Before ``train`` has tried them, nothing is updated that would matter.
        precision="float32" if agent.precision == "auto" else agent.precision,
        frames=None if agent.replay_frames == "auto" else agent.replay_frames,
        overlap=agent.overlap,
        capture=agent.capture,
    )


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
        CheckpointError: There is no checkpoint, or it was altered.
    """
    parts = read_checkpoint(directory.checkpoint)
    agent.policy.load_state_dict(parts["policy"])
    agent.continual_state.load_state_dict(parts["continual"])


def check_memory(config: RunConfig) -> None:
    """Raises MemoryBudgetError if a replay memory for each game would not fit."""
    size, device = config.sequence.frame_size, get_device(config.device)
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


def rom_md5s(config: RunConfig) -> Mapping[str, str]:
    """MD5 of each game's ROM, by which emulators know them."""
    return {
        game: hashlib.md5(
            Path(rom_path(GameSpec.parse(game).game)).read_bytes(),
            usedforsecurity=False,
        ).hexdigest()
        for game in config.games
    }


def game_maker(config: RunConfig, max_episode_steps: int | None = None) -> MakeGame:
    """Makes games as the config has them, with another time limit if one is given."""
    protocol = PROTOCOLS[config.sequence.protocol]
    if max_episode_steps is not None:
        protocol = dataclasses.replace(
            protocol, max_episode_frames=max_episode_steps * protocol.frame_skip
        )
    frame_size, noise = config.sequence.frame_size, config.sequence.pixel_noise

    def make(game: str, num_envs: int) -> VectorGame:
        made = make_atari_game(game, num_envs, protocol, frame_size)
        return NoisyGame(made, noise) if noise else made

    return make


def _optimizer(agent: AgentConfig, device: torch.device) -> dict[str, Any]:
    if agent.optimizer == "adam":
        return {
            "optimizer_class": torch.optim.Adam,
            # One pass over memory, which bounds it on a CPU; equal up to rounding.
            "optimizer_kwargs": {
                "eps": agent.optimizer_eps,
                "fused": True,
                "capturable": device.type == "cuda",
            },
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


def _gib(count: float) -> str:
    return f"{count / 2**30:.1f} GiB"
