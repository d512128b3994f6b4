"""A sequence of games that changes without notice, as a Stable-Baselines3 VecEnv."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Integer, Shaped
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices

from clrl.errors import ConfigError
from clrl.rl.game import GameStep, MakeGame, VectorGame
from clrl.types import TaskId


class Visit(NamedTuple):
    """One stay with a game.

    Attributes:
        game: The game's name.
        steps: Agent steps of the stay, summed over the parallel environments.
    """

    game: str
    steps: int


def fixed_visits(games: Sequence[str], visits_per_game: int, steps: int) -> list[Visit]:
    """All games in the given order, and the whole round ``visits_per_game`` times."""
    return [Visit(game, steps) for _ in range(visits_per_game) for game in games]


def random_visits(
    games: Sequence[str], visits_per_game: int, steps: int, rng: np.random.Generator
) -> list[Visit]:
    """Each game ``visits_per_game`` times, in random order.

    The next game is drawn uniformly from those with visits left, never the same game
    twice running unless it is the only one left.
    """
    left = dict.fromkeys(games, visits_per_game)
    visits: list[Visit] = []
    while any(left.values()):
        open_games = [game for game, count in left.items() if count > 0]
        fresh = [game for game in open_games if not visits or game != visits[-1].game]
        game = str(rng.choice(fresh or open_games))
        left[game] -= 1
        visits.append(Visit(game, steps))
    return visits


class GameSequence(VecEnv):
    """Plays visit after visit; when one ends, running episodes are truncated.

    Which game is being played is not part of observations or infos: only
    ``visit_index`` and ``current_task`` tell, and whoever reads them says so (an
    oracle, the records).
    After the last visit's budget the last game goes on, so that algorithms that collect
    in blocks may run over the end.

    Infos follow Stable-Baselines3: ``terminal_observation`` where an episode ended,
    ``TimeLimit.truncated``, and ``episode`` (raw return ``r``, length in agent steps
    ``l``) where it ended by itself. A life lost is ``done`` without a
    ``terminal_observation``, since the game plays on.
    """

    def __init__(
        self,
        visits: Sequence[Visit],
        make_game: MakeGame,
        *,
        num_envs: int = 8,
        seed: int = 0,
        clip_rewards: bool = False,
    ) -> None:
        """Starts the first game.

        Args:
            visits: Games and budgets, in order; games may return.
            make_game: Makes a game from its name and a number of copies.
            num_envs: Parallel copies of the current game.
            seed: Seeds every visit's emulators, each visit and reset differently.
            clip_rewards: Whether the learner sees the sign of each reward.

        Raises:
            ConfigError: No visits, a visit without steps, or games whose observation or
                action spaces differ.
        """
        if not visits:
            raise ConfigError("a game sequence needs at least one visit, got none.")
        for visit in visits:
            if visit.steps <= 0:
                raise ConfigError(
                    f"a visit needs a positive number of agent steps, got {visit}."
                )
        self.visits = tuple(visits)
        self.games = distinct_games(visits)
        self.visit_index = 0
        self.visit_steps = 0
        self.render_mode = None
        self._make_game = make_game
        self._seed = seed
        self._starts = 0
        self._clip_rewards = clip_rewards
        self._game = make_game(visits[0].game, num_envs)
        super().__init__(
            num_envs, self._game.observation_space, self._game.action_space
        )
        self._returns = np.zeros(num_envs)
        self._lengths_steps = np.zeros(num_envs, dtype=np.int64)

    @property
    def current_game(self) -> str:
        """The name of the game being played: for oracles and records only."""
        return self.visits[self.visit_index].game

    @property
    def current_task(self) -> TaskId:
        """The true task, games counted by first visit: for oracles and records."""
        return self.games.index(self.current_game)

    @property
    def total_steps(self) -> int:
        """Agent steps of all visits together, each rounded up to whole vector steps."""
        n = self.num_envs
        return sum(-(-visit.steps // n) * n for visit in self.visits)

    def reset(self) -> Shaped[np.ndarray, "N ..."]:
        """Starts new episodes of the current game; the sequence is not rewound."""
        return self._start_episodes()

    def step_async(self, actions: Integer[np.ndarray, "N"]) -> None:
        """Sends one action to each environment.

        Raises:
            ValueError: An action out of range, which ale-py would wait on for ever.
        """
        actions = np.asarray(actions)
        n = int(self._game.action_space.n)
        if actions.shape != (self.num_envs,) or ((actions < 0) | (actions >= n)).any():
            raise ValueError(
                f"expected {self.num_envs} actions in 0..{n - 1}, got {actions!r}."
            )
        self._game.send(actions)

    def step_wait(
        self,
    ) -> tuple[
        Shaped[np.ndarray, "N ..."],
        Float32[np.ndarray, "N"],
        Bool[np.ndarray, "N"],
        list[dict[str, Any]],
    ]:
        """Waits for the step; ends the visit when its budget is used up."""
        step = self._game.receive()
        self._returns += step.rewards
        self._lengths_steps += 1
        self.visit_steps += self.num_envs
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        self._report_ended_episodes(step, infos)

        dones = step.terminated | step.truncated
        observations = step.observations
        visit_is_over = self.visit_steps >= self.visits[self.visit_index].steps
        if visit_is_over and self.visit_index + 1 < len(self.visits):
            self._truncate_running_episodes(step, infos)
            dones = np.ones(self.num_envs, dtype=bool)
            observations = self._next_visit()
        rewards = np.sign(step.rewards) if self._clip_rewards else step.rewards
        return observations, rewards, dones, infos

    def close(self) -> None:
        """Frees the current game."""
        self._game.close()

    def seed(self, seed: int | None = None) -> list[int | None]:
        """Reseeds the sequence; takes effect at the next reset or visit."""
        if seed is not None:
            self._seed = seed
        return [self._seed] * self.num_envs

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """The sequence's attribute, once for each environment asked for."""
        return [getattr(self, attr_name)] * len(list(self._get_indices(indices)))

    def set_attr(
        self, attr_name: str, value: Any, indices: VecEnvIndices = None
    ) -> None:
        """Refused: the parallel environments have no attributes of their own.

        Raises:
            AttributeError: Always.
        """
        raise AttributeError(
            f"cannot set {attr_name!r}: environments here have no attributes."
        )

    def env_method(
        self,
        method_name: str,
        *method_args: Any,
        indices: VecEnvIndices = None,
        **method_kwargs: Any,
    ) -> list[Any]:
        """Refused: the parallel environments have no methods of their own.

        Raises:
            AttributeError: Always.
        """
        raise AttributeError(
            f"cannot call {method_name!r}: environments here have no methods."
        )

    def env_is_wrapped(
        self, wrapper_class: type[Any], indices: VecEnvIndices = None
    ) -> list[bool]:
        """True for ``Monitor``: raw returns and lengths are in ``info["episode"]``."""
        wrapped = wrapper_class is Monitor
        return [wrapped] * len(list(self._get_indices(indices)))

    def _start_episodes(self) -> Shaped[np.ndarray, "N ..."]:
        sequence = np.random.SeedSequence([self._seed, self.visit_index, self._starts])
        self._starts += 1
        self._returns[:] = 0
        self._lengths_steps[:] = 0
        # ALE adds the environment's index to a signed 32-bit seed.
        return self._game.reset(int(sequence.generate_state(1)[0] % 2**30))

    def _next_visit(self) -> Shaped[np.ndarray, "N ..."]:
        self.visit_index += 1
        self.visit_steps = 0
        self._game.close()
        self._game = self._make_game(self.current_game, self.num_envs)
        self._check_spaces(self._game)
        return self._start_episodes()

    def _check_spaces(self, game: VectorGame) -> None:
        for kind, ours, theirs in (
            ("observation", self.observation_space, game.observation_space),
            ("action", self.action_space, game.action_space),
        ):
            if ours != theirs:
                raise ConfigError(
                    f"all games need the same {kind} space: {self.games[0]} has "
                    f"{ours}, {self.current_game} has {theirs}; wrap one of them."
                )

    def _report_ended_episodes(
        self, step: GameStep, infos: list[dict[str, Any]]
    ) -> None:
        for i in np.flatnonzero(step.new_episode):
            infos[i].update(
                {
                    "terminal_observation": step.final_observations[i],
                    "TimeLimit.truncated": bool(
                        step.truncated[i] and not step.terminated[i]
                    ),
                    "episode": {
                        "r": float(self._returns[i]),
                        "l": int(self._lengths_steps[i]),
                        "t": 0.0,
                    },
                }
            )
            self._returns[i] = 0
            self._lengths_steps[i] = 0

    def _truncate_running_episodes(
        self, step: GameStep, infos: list[dict[str, Any]]
    ) -> None:
        for i in np.flatnonzero(~step.new_episode):
            infos[i].update(
                {
                    "terminal_observation": step.observations[i],
                    "TimeLimit.truncated": not step.terminated[i],
                }
            )


def distinct_games(visits: Iterable[Visit]) -> tuple[str, ...]:
    """The games of the visits, in order of first visit."""
    return tuple(dict.fromkeys(visit.game for visit in visits))
