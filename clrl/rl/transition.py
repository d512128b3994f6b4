"""What a step led to, read from what a vector environment says of it."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Shaped


class Following(NamedTuple):
    """What followed each environment's action.

    Attributes:
        observations: What was seen next, in the same episode [N, ...].
        terminated: Whether nothing of value follows, by the rules of the task [N].
        episode_over: Whether the next step starts another episode [N].
    """

    observations: Shaped[np.ndarray, "N ..."]
    terminated: Bool[np.ndarray, "N"]
    episode_over: Bool[np.ndarray, "N"]


def what_follows(
    next_observations: Shaped[np.ndarray, "N ..."],
    dones: Bool[np.ndarray, "N"],
    infos: list[dict[str, Any]],
) -> Following:
    """Undoes the automatic reset: an episode's last observation is in its info.

    A ``done`` without ``terminal_observation`` is a lost life: the same episode plays
    on. One with ``TimeLimit.truncated`` did not terminate.
    """
    following = Following(
        next_observations.copy(), dones.copy(), np.zeros(len(dones), dtype=bool)
    )
    for i in np.flatnonzero(dones):
        following.terminated[i] = not infos[i].get("TimeLimit.truncated", False)
        if "terminal_observation" in infos[i]:
            following.observations[i] = infos[i]["terminal_observation"]
            following.episode_over[i] = True
    return following
