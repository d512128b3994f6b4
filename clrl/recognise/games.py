"""Runs a recogniser over the games of a config, without any learning of the agent."""

from collections.abc import Callable, Sequence
from contextlib import closing
from typing import TypeAlias

import numpy as np
from gymnasium import spaces
from jaxtyping import Int64, Shaped

from clrl.config import config_file
from clrl.config.games import RunConfig, check_games
from clrl.progress import Listener, Status
from clrl.recognise.recording import Recording
from clrl.recognition.protocol import Oracle
from clrl.report.recognition import RecognisedStream
from clrl.rl.atari import PROTOCOLS
from clrl.rl.dqn import ContinualDQN
from clrl.rl.game_sequence import GameSequence, distinct_games
from clrl.run.agent import load, make_agent
from clrl.run.sequence import make_sequence, make_visits
from clrl.run_directory import RunDirectory

RELABEL_CALLS = 16
"""An agent that plays asks this often, in vector steps, under which task to act."""

Policy: TypeAlias = Callable[[Shaped[np.ndarray, "N ..."]], Int64[np.ndarray, "N"]]


class RandomPolicy:
    """All actions are equally likely.

    Args:
        actions: How many there are.
        seed: Of the choice.
    """

    def __init__(self, actions: int, seed: int) -> None:
        self._actions = actions
        self._rng = np.random.default_rng(seed)

    def __call__(
        self, observations: Shaped[np.ndarray, "N ..."]
    ) -> Int64[np.ndarray, "N"]:
        """An action for each environment."""
        return self._rng.integers(self._actions, size=len(observations))


class AgentPolicy:
    """A trained agent, under the task that its own recogniser, frozen, infers.

    Args:
        agent: With its weights and its recogniser as saved.
        exploration_eps: Probability of a random action.
        seed: Of exploration.
    """

    def __init__(self, agent: ContinualDQN, exploration_eps: float, seed: int) -> None:
        self._agent = agent
        self._exploration_eps = exploration_eps
        self._rng = np.random.default_rng(seed)
        self._frames: list[np.ndarray] = []

    def __call__(
        self, observations: Shaped[np.ndarray, "N ..."]
    ) -> Int64[np.ndarray, "N"]:
        """An action for each environment."""
        self._frames.append(self._agent.newest_frames(observations))
        if len(self._frames) == RELABEL_CALLS:
            frames = np.stack(self._frames)
            self._agent.set_task(self._agent.recogniser.recognise(frames))
            self._frames = []
        return self._agent.act(observations, self._exploration_eps, self._rng)


def recognise(
    config: RunConfig, agent_run: RunDirectory | None, listener: Listener
) -> RecognisedStream:
    """Plays the config's games and asks its recogniser which one it is.

    Args:
        config: Its games, sequence and recogniser.
        agent_run: Whose saved agent plays; None: a uniformly random policy.
        listener: Is told how far it is.

    Raises:
        ConfigError: The agent was made for other frames, or was told which games it
            played and never played one of these.
        CheckpointError: The agent's checkpoint is missing or was altered.
    """
    return recognise_each([config], agent_run, listener)[0]


def recognise_each(
    configs: Sequence[RunConfig], agent_run: RunDirectory | None, listener: Listener
) -> list[RecognisedStream]:
    """The same for configs that differ in nothing but recognisers, over one stream.

    Args:
        configs: The first says what is played.
        agent_run: As for ``recognise``.
        listener: As for ``recognise``; hears of the first recogniser's labels.

    Raises:
        ConfigError: As for ``recognise``.
        CheckpointError: As for ``recognise``.
    """
    played = configs[0]
    with closing(make_sequence(played)) as sequence:
        policy = _policy(played, sequence, agent_run)
        recordings = [
            Recording(
                config.recogniser.build(lambda: sequence.current_task),
                sequence.total_steps,
            )
            for config in configs
        ]
        observations = sequence.reset()
        for agent_steps in range(0, sequence.total_steps, sequence.num_envs):
            for recording in recordings:
                recording.observe(
                    observations[:, -1], agent_steps, sequence.current_task
                )
            listener.status(_status(sequence, agent_steps, recordings[0].label))
            sequence.step_async(policy(observations))
            observations = sequence.step_wait()[0]
        return [
            recording.stream(
                tasks=sequence.games,
                recogniser=config_file.recogniser_name(config.recogniser),
                source="random policy" if agent_run is None else agent_run.path.name,
                step_name="agent steps",
                frames_per_step=PROTOCOLS[played.sequence.protocol].frame_skip,
            )
            for config, recording in zip(configs, recordings, strict=True)
        ]


def _policy(
    config: RunConfig, sequence: GameSequence, agent_run: RunDirectory | None
) -> Policy:
    if agent_run is None:
        assert isinstance(sequence.action_space, spaces.Discrete)
        return RandomPolicy(int(sequence.action_space.n), config.seed)
    trained = config_file.read_game_config(agent_run.config)
    agent = make_agent(trained, sequence)
    load(agent, agent_run)
    if isinstance(agent.recogniser, Oracle):
        # Its tasks are the games in the order in which the agent met them.
        met = distinct_games(make_visits(trained))
        check_games(config.games, met)
        agent.recogniser = Oracle(lambda: met.index(sequence.current_game))
    return AgentPolicy(agent, config.evaluation.exploration_eps, config.seed)


def _status(sequence: GameSequence, agent_steps: int, label: int) -> Status:
    return Status(
        game=sequence.current_game,
        visit=sequence.visit_index,
        visits=len(sequence.visits),
        agent_steps=agent_steps,
        total_agent_steps=sequence.total_steps,
        label=label,
        exploration_rate=1.0,
        last_return=None,
    )
