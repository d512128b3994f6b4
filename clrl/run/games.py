"""Puts a run on games together from its config, trains, and keeps what comes out."""

import dataclasses
import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager

import numpy as np
import torch
from stable_baselines3.common.logger import Logger, TensorBoardOutputFormat

from clrl import allocator
from clrl.config import config_file
from clrl.config.games import RunConfig
from clrl.continual.precision import try_precisions
from clrl.device import device_name, device_of
from clrl.errors import DivergenceError
from clrl.guards import Guards, standard_guards
from clrl.progress import Listener
from clrl.records import Evaluation, Labelling, RecordWriter, Relabelled
from clrl.relabelling import recorded_true_labels
from clrl.rl.atari import PROTOCOLS
from clrl.rl.atari_modes import check_specs
from clrl.rl.dashboard import Dashboard
from clrl.rl.dqn import ContinualDQN
from clrl.rl.objective import QLearning
from clrl.rl.recorder import Recorder, Schedule, describe, evaluations
from clrl.rl.replay import ReplayBatch
from clrl.run.agent import check_memory, make_agent, save, saved_agent
from clrl.run.sequence import make_evaluator, make_sequence, rom_md5s
from clrl.run_directory import RunDirectory
from clrl.threads import fastest_threads

_TRIAL_VECTOR_STEPS = 64  # played before precisions are tried
_TRIAL_BATCHES = 4


def check(config: RunConfig) -> None:
    """Raises ConfigError if a game is unknown, or the device not here."""
    check_specs(config.games)
    device_of(config.device)


def train(config: RunConfig, directory: RunDirectory, listener: Listener) -> None:
    """Trains on the whole sequence and saves the agent.

    Raises:
        MemoryBudgetError: The replay memories would not fit; nothing was started.
        DivergenceError: Loss, penalty or gradient stopped being finite; records are
            kept, and no checkpoint of the broken weights is written.
        ConfigError: The recogniser found more tasks than the network has room for; a
            checkpoint of where the run was is kept.
        BaseException: Whatever else stops it, after a checkpoint of where the run was.
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
        device=device_name(device_of(config.device)),
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
        except BaseException:  # Ctrl-C, a full disk, an error of ours or of a library
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
        trial = try_precisions(agent.policy.q_net, objective.in_precision, batches)
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
                # A number is there only when a GPU is done.
                lambda: float(agent.learner.step(batches[0], agent.task)["loss"]),
                listener.message,
            )
        config = dataclasses.replace(config, threads=threads)
    if isinstance(config.threads, int):
        torch.set_num_threads(config.threads)
    return config


@contextmanager
def throwaway_agent(
    config: RunConfig,
) -> Iterator[tuple[ContinualDQN, list[ReplayBatch]]]:
    """An agent that has played a little at random, and minibatches of its memory.

    That memory is small and on the host, as the one of the run comes beside it.
    """
    with closing(make_sequence(config)) as sequence:
        steps = _TRIAL_VECTOR_STEPS * sequence.num_envs
        small = dataclasses.replace(
            config.agent,
            buffer_size=min(2 * steps, config.agent.buffer_size),
            replay_frames="raw",
            capture=False,
        )
        agent = make_agent(dataclasses.replace(config, agent=small), sequence)
        agent.learn(steps)
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


def make_guards(config: RunConfig) -> Guards:
    """What looks at the run while it goes on."""
    clips = PROTOCOLS[config.sequence.protocol].clip_rewards
    return standard_guards(
        learning_rate=config.agent.learning_rate,
        optimizer=config.agent.optimizer,
        gamma=config.agent.gamma,
        reward_bound=1.0 if clips else math.inf,
    )
