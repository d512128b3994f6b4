"""One game played by several copies in parallel, as the game sequence sees it."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from jaxtyping import Bool, Float32, Integer, Shaped


class GameStep(NamedTuple):
    """What one action in each of ``N`` environments led to.

    Attributes:
        observations: What is seen next; where ``new_episode``, the first observation of
            the next episode.
        rewards: As the game gives them, neither clipped nor scaled.
        terminated: Nothing follows for the learner: game over, or a life lost where the
            protocol says so. The game itself may play on.
        truncated: A time limit cut the episode; the learner should bootstrap.
        new_episode: The environment was reset after this step.
        final_observations: The last observation of the episode that ended; meaningful
            only where ``new_episode``.
    """

    observations: Shaped[np.ndarray, "N ..."]
    rewards: Float32[np.ndarray, "N"]
    terminated: Bool[np.ndarray, "N"]
    truncated: Bool[np.ndarray, "N"]
    new_episode: Bool[np.ndarray, "N"]
    final_observations: Shaped[np.ndarray, "N ..."]


@runtime_checkable
class VectorGame(Protocol):
    """Parallel copies of one game; finished copies reset themselves within the step."""

    @property
    def observation_space(self) -> spaces.Box:
        """The space of one copy's observations."""
        ...

    @property
    def action_space(self) -> spaces.Discrete:
        """The space of one copy's actions."""
        ...

    def reset(self, seed: int) -> Shaped[np.ndarray, "N ..."]:
        """Starts an episode in every copy, each seeded from ``seed`` and its index."""
        ...

    def send(self, actions: Integer[np.ndarray, "N"]) -> None:
        """Starts one step in every copy; actions are known to be valid."""
        ...

    def receive(self) -> GameStep:
        """Waits for the step that ``send`` started."""
        ...

    def close(self) -> None:
        """Frees threads and processes; the game cannot be used afterwards."""
        ...


MakeGame = Callable[[str, int], VectorGame]
"""Makes ``VectorGame`` from a game's name and a number of copies."""


class GymnasiumGame:
    """Any Gymnasium environment with discrete actions and Box observations."""

    def __init__(
        self,
        environment_id: str,
        num_envs: int,
        *,
        wrappers: Sequence[Callable[[Any], gymnasium.Wrapper[Any, Any, Any, Any]]] = (),
        **env_kwargs: object,
    ) -> None:
        """Makes ``num_envs`` copies in this process.

        Args:
            environment_id: As registered with Gymnasium.
            num_envs: Number of parallel copies.
            wrappers: Put around each copy, the first one innermost.
            **env_kwargs: Passed to the environment's constructor.
        """
        self._env: VectorEnv[Any, Any, Any] = gymnasium.make_vec(
            environment_id,
            num_envs,
            vectorization_mode="sync",
            vector_kwargs={"autoreset_mode": AutoresetMode.SAME_STEP},
            wrappers=wrappers,
            **env_kwargs,
        )
        self._actions = np.zeros(num_envs, dtype=np.int64)

    @property
    def observation_space(self) -> spaces.Box:
        """The space of one copy's observations."""
        space = self._env.single_observation_space
        if not isinstance(space, spaces.Box):
            raise TypeError(
                f"observations must come from a Box space, got {space}; "
                "wrap the environment, with FlattenObservation for example."
            )
        return space

    @property
    def action_space(self) -> spaces.Discrete:
        """The space of one copy's actions."""
        space = self._env.single_action_space
        if not isinstance(space, spaces.Discrete):
            raise TypeError(
                f"actions must come from a Discrete space, got {space}; "
                "DQN values each of finitely many actions."
            )
        return space

    def reset(self, seed: int) -> Shaped[np.ndarray, "N ..."]:
        """Starts an episode in every copy; copy ``i`` is seeded with ``seed + i``."""
        observations, _ = self._env.reset(seed=seed)
        return np.asarray(observations)

    def send(self, actions: Integer[np.ndarray, "N"]) -> None:
        """Keeps the actions; the copies run in ``receive``."""
        self._actions = actions

    def receive(self) -> GameStep:
        """Steps every copy."""
        observations, rewards, terminated, truncated, info = self._env.step(
            self._actions
        )
        ended = terminated | truncated
        final_observations = observations.copy()
        for i in np.flatnonzero(ended):
            final_observations[i] = info["final_obs"][i]
        return GameStep(
            observations,
            rewards.astype(np.float32),
            terminated,
            truncated,
            ended,
            final_observations,
        )

    def close(self) -> None:
        """Closes the copies."""
        self._env.close()
