"""Runs a recogniser over the games of a config, without any learning of the agent."""

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import TypeAlias

import numpy as np
from gymnasium import spaces
from jaxtyping import Int64, Shaped

from clrl import config_file, run
from clrl.config import RunConfig, check_games
from clrl.evaluation.recognition import Timeline
from clrl.progress import Listener, Status
from clrl.recognition.protocol import Oracle, ScreenRecogniser, TaskRecogniser
from clrl.report.recognition import RecognisedStream
from clrl.rl.atari import PROTOCOLS
from clrl.rl.dqn import ContinualDQN
from clrl.rl.game_sequence import GameSequence, distinct_games
from clrl.run_directory import RunDirectory

POSTERIOR_SAMPLES = 2_000
"""The posterior is looked at about this often in the whole stream."""

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
    with closing(run.make_sequence(played)) as sequence:
        policy = _policy(played, sequence, agent_run)
        recordings = [
            _Recording(
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
            RecognisedStream(
                games=sequence.games,
                recogniser=config_file.describe(config).recogniser,
                policy="random policy" if agent_run is None else agent_run.path.name,
                truth=recording.truth.timeline(),
                labels=recording.labels.timeline(),
                total_steps=sequence.total_steps,
                frames_per_step=PROTOCOLS[played.sequence.protocol].frame_skip,
                recognition_seconds=recording.seconds,
                posterior_steps=np.array(recording.posterior_steps, np.int64),
                posterior=_padded(recording.posteriors),
                screens=_screens(recording.recogniser),
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
    agent = run.make_agent(trained, sequence)
    run.load(agent, agent_run)
    if isinstance(agent.recogniser, Oracle):
        # Its tasks are the games in the order in which the agent met them.
        met = distinct_games(run.make_visits(trained))
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


class _Changes:
    """A timeline in the making."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._values: list[int] = []

    def add(self, agent_steps: int, value: int) -> None:
        if not self._values or self._values[-1] != value:
            self._starts.append(agent_steps)
            self._values.append(value)

    def timeline(self) -> Timeline:
        return Timeline(
            np.array(self._starts, np.int64), np.array(self._values, np.int64)
        )


class _Recording:
    """Asks a recogniser, and writes down what it says and how long it takes."""

    def __init__(self, recogniser: TaskRecogniser, total_steps: int) -> None:
        self.recogniser = recogniser
        self._interval = max(1, total_steps // POSTERIOR_SAMPLES)
        self.truth, self.labels = _Changes(), _Changes()
        self.label = 0
        self.seconds = 0.0
        self.posterior_steps: list[int] = []
        self.posteriors: list[np.ndarray] = []

    def observe(
        self, frames: Shaped[np.ndarray, "N ..."], agent_steps: int, task: int
    ) -> None:
        started = time.perf_counter()
        self.label = self.recogniser.observe(frames)
        self.seconds += time.perf_counter() - started
        self.truth.add(agent_steps, task)
        self.labels.add(agent_steps, self.label)
        if agent_steps >= len(self.posteriors) * self._interval:
            self.posterior_steps.append(agent_steps)
            self.posteriors.append(_posterior(self.recogniser, self.label))


def _posterior(recogniser: TaskRecogniser, label: int) -> np.ndarray:
    """Of each context; a recogniser without one is certain of its label."""
    if isinstance(recogniser, ScreenRecogniser):
        return recogniser.posterior
    return np.asarray(np.eye(recogniser.contexts + 1)[label])


def _padded(posteriors: list[np.ndarray]) -> Shaped[np.ndarray, "L C"]:
    """One row each; contexts that were not there yet had no probability."""
    contexts = max(len(posterior) for posterior in posteriors)
    padded = np.zeros((len(posteriors), contexts))
    for row, posterior in zip(padded, posteriors, strict=True):
        row[: len(posterior) - 1] = posterior[:-1]
        row[-1] = posterior[-1]
    return padded


def _screens(recogniser: TaskRecogniser) -> Shaped[np.ndarray, "C H W"]:
    if isinstance(recogniser, ScreenRecogniser):
        return recogniser.expected_screens()
    return np.zeros((0, 1, 1))
