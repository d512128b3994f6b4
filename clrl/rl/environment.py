"""What an agent asks of its environment, and what it refuses."""

from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

from clrl.errors import ConfigError
from clrl.rl.replay import MAX_ACTIONS
from clrl.types import TaskId


def refuse_normalised_observations(env: VecNormalize | None) -> None:
    """Raises ConfigError for an environment in VecNormalize."""
    if env is not None:
        raise ConfigError(
            "ContinualDQN stores observations as the environment emits them, got "
            "an environment in VecNormalize; scale inside the network instead."
        )


def require_actions_that_fit(space: spaces.Space[object]) -> None:
    """Raises ConfigError if the replay memory has no number for some action."""
    assert isinstance(space, spaces.Discrete)
    if space.start != 0 or space.n > MAX_ACTIONS:
        raise ConfigError(
            f"actions must be counted from 0 and be at most {MAX_ACTIONS}, got "
            f"{space}; wrap the environment."
        )


def true_task(env: VecEnv | None) -> TaskId:
    """What an oracle is told.

    Raises:
        ConfigError: The environment does not know its task, or there is none.
    """
    if env is None:
        raise ConfigError("the oracle needs an environment to ask, got none.")
    try:
        task: TaskId = env.get_attr("current_task")[0]
    except AttributeError as error:
        raise ConfigError(
            "the oracle needs an environment with the attribute current_task, such "
            f"as GameSequence, got {env}; use another recogniser."
        ) from error
    return task
