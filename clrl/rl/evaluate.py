"""Returns of games that are played without learning."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Int64, Shaped

from clrl.rl.dqn import ContinualDQN
from clrl.rl.game import MakeGame, VectorGame
from clrl.types import TaskId

PARALLEL_GAMES = 8
"""At most this many episodes are played side by side."""

PROBE_STEPS = 32
"""Steps of random play that a recogniser sees before it names the task."""

Act: TypeAlias = Callable[[Shaped[np.ndarray, "N ..."]], Int64[np.ndarray, "N"]]


Spectator: TypeAlias = Callable[[Shaped[np.ndarray, "N ..."]], None]


def nobody(frames: Shaped[np.ndarray, "N ..."]) -> None:
    """A spectator that does not look."""
    del frames


class GameScore(NamedTuple):
    """What playing one game without learning gave.

    Attributes:
        game: Its name.
        label: The inferred task under which it was played.
        returns: Raw return of each episode.
    """

    game: str
    label: TaskId
    returns: tuple[float, ...]


def play_episodes(
    game: VectorGame, act: Act, *, num_envs: int, episodes: int, seed: int
) -> tuple[float, ...]:
    """Raw returns of ``episodes`` episodes; lost lives do not end them.

    Each copy plays a fixed share of the episodes. Taking whichever end first would
    favour short episodes, which in most games are bad ones.
    """
    quota = np.array([len(range(i, episodes, num_envs)) for i in range(num_envs)])
    finished: list[list[float]] = [[] for _ in range(num_envs)]
    totals = np.zeros(num_envs)
    observations = game.reset(seed)
    while any(len(f) < q for f, q in zip(finished, quota, strict=True)):
        game.send(act(observations))
        step = game.receive()
        totals += step.rewards
        for i in np.flatnonzero(step.new_episode):
            if len(finished[i]) < quota[i]:
                finished[i].append(float(totals[i]))
            totals[i] = 0
        observations = step.observations
    return tuple(total for lane in finished for total in lane)


@dataclass(frozen=True, kw_only=True)
class Evaluator:
    """Plays every game of a run, with the agent as it is or at random.

    Attributes:
        games: In the order of their true tasks.
        make_game: Makes a game from its name and a number of copies.
        episodes: Episodes of each game.
        exploration_eps: Probability of a random action of the agent.
        seed: Of emulators and exploration; the same episodes' starts in every stage.
        spectator: Sees the newest frame of each copy, in each step the agent plays.
    """

    games: Sequence[str]
    make_game: MakeGame
    episodes: int
    exploration_eps: float
    seed: int
    spectator: Spectator = nobody

    def scores(self, agent: ContinualDQN) -> Iterator[GameScore]:
        """The agent's scores game by game, under the task its recogniser infers.

        The recogniser is frozen: it sees a stretch of random play, names the best known
        task, and learns nothing. An oracle is told the truth.
        """
        for name in self.games:
            yield self.score(agent, name)

    def score(
        self, agent: ContinualDQN, name: str, under: TaskId | None = None
    ) -> GameScore:
        """The agent's score in one of the games.

        Args:
            agent: Plays; nothing of it changes.
            name: Of the game.
            under: The label to play under, unseen by the spectator; None: the one that
                is inferred. Either way the same random numbers are drawn.
        """
        task = self.games.index(name)
        rng = np.random.default_rng([self.seed, task])
        spectator = self.spectator if under is None else nobody

        def act(seen: Shaped[np.ndarray, "N ..."]) -> Int64[np.ndarray, "N"]:
            spectator(agent.newest_frames(seen))
            return agent.act(seen, self.exploration_eps, rng)

        with self._playing(name, self.episodes) as (game, num_envs):
            inferred = self._label(agent, task, game, num_envs, rng)
            label = inferred if under is None else under
            with under_label(agent, label):
                returns = play_episodes(
                    game,
                    act,
                    num_envs=num_envs,
                    episodes=self.episodes,
                    seed=self.seed,
                )
        return GameScore(name, label, returns)

    def random_returns(self, name: str, episodes: int) -> tuple[float, ...]:
        """Raw returns of a uniformly random policy."""
        rng = np.random.default_rng(self.seed)
        with self._playing(name, episodes) as (game, num_envs):
            n = game.action_space.n
            return play_episodes(
                game,
                lambda seen: rng.integers(n, size=len(seen)),
                num_envs=num_envs,
                episodes=episodes,
                seed=self.seed,
            )

    def infer_label(self, agent: ContinualDQN, name: str) -> TaskId:
        """The task for which the agent's frozen recogniser takes a game."""
        task = self.games.index(name)
        rng = np.random.default_rng([self.seed, task])
        with self._playing(name, self.episodes) as (game, num_envs):
            return self._label(agent, task, game, num_envs, rng)

    @contextmanager
    def _playing(self, name: str, episodes: int) -> Iterator[tuple[VectorGame, int]]:
        num_envs = min(PARALLEL_GAMES, episodes)
        game = self.make_game(name, num_envs)
        try:
            yield game, num_envs
        finally:
            game.close()

    def _label(
        self,
        agent: ContinualDQN,
        task: TaskId,
        game: VectorGame,
        num_envs: int,
        rng: np.random.Generator,
    ) -> TaskId:
        recogniser = agent.recogniser_config.build(lambda: task)
        recogniser.load_state_dict(agent.recogniser.state_dict())
        frames = [agent.newest_frames(game.reset(self.seed))]
        for _ in range(PROBE_STEPS):
            game.send(rng.integers(game.action_space.n, size=num_envs))
            frames.append(agent.newest_frames(game.receive().observations))
        return recogniser.recognise(np.stack(frames))


@contextmanager
def under_label(agent: ContinualDQN, label: TaskId) -> Iterator[None]:
    """Lets the agent act under ``label``, then under its own label again."""
    own = agent.task
    agent.set_task(label)
    try:
        yield
    finally:
        agent.set_task(own)
