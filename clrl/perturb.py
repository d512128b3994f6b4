"""Plays the games of a run with noise on the agent's weights."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import torch

from clrl.checks import check_at_least, check_positive
from clrl.config import config_file
from clrl.config.games import RunConfig, check_games
from clrl.continual.penalty import QuadraticPenalty
from clrl.continual.perturbation import (
    inverse_importance,
    null_space,
    perturbed,
    reached_share,
    uniform,
)
from clrl.errors import ConfigError
from clrl.history import of_kind
from clrl.progress import Listener
from clrl.records import RandomPolicy, read_records
from clrl.report.perturbation import NoiseCurve, Perturbation, write_perturbation
from clrl.rl.dqn import ContinualDQN
from clrl.rl.evaluate import Evaluator
from clrl.run.agent import saved_agent
from clrl.run.sequence import make_evaluator
from clrl.run_directory import RunDirectory
from clrl.seeding import stream_number
from clrl.types import Parameters


def perturb(
    directory: RunDirectory,
    game: str | None,
    *,
    sizes: Sequence[float],
    draws: int,
    episodes: int | None,
    damping: float,
    listener: Listener,
) -> Perturbation:
    """Scores a run's games with noise on its saved agent's weights, and writes it down.

    Kirkpatrick et al. (2017), fig. 4C, with the importance that the run's method keeps
    of each task: noise in all directions alike, noise that the importance allows, and
    noise on the weights that it takes for irrelevant.

    Args:
        directory: Of the run; the results go into its folder ``perturbation``.
        game: One of its games; by default each of them.
        sizes: Root mean square of the noise over all shared weights.
        draws: Of the noise, for each size.
        episodes: Of each draw; by default as in the run's config.
        damping: lambda of the inverse importance, in multiples of the mean importance.
        listener: Is told each score.

    Raises:
        ConfigError: A value is out of range, the run has no such game, its method keeps
            no importance, or none of a task that was asked for.
        CheckpointError: There is no checkpoint, or it was altered.
    """
    _check(sizes, draws, episodes, damping)
    config = config_file.read_game_config(directory.config)
    games = config.games if game is None else (game,)
    check_games(games, config.games)
    episodes = episodes or config.evaluation.episodes
    # A CUDA graph would replay what was recorded without the noise.
    unrecorded = dataclasses.replace(config.agent, capture=False)
    config = dataclasses.replace(config, agent=unrecorded)
    with saved_agent(config, directory) as (agent, _):
        rounds = _Rounds(agent, make_evaluator(config, episodes), draws, listener)
        importances, left_out = _importances(config, rounds, games)
        perturbation = Perturbation(
            method=config_file.describe(config).method,
            sizes=tuple(sorted(sizes)),
            draws=draws,
            episodes=episodes,
            damping=damping,
            unperturbed={name: rounds.without_noise(name) for name in importances},
            random_policy=_random_policy(directory, importances),
            curves=tuple(
                NoiseCurve(
                    game=name,
                    noise=noise,
                    reached_share=reached_share(shape),
                    scores=tuple(
                        rounds.with_noise(name, noise, shape, size)
                        for size in sorted(sizes)
                    ),
                )
                for name, importance in importances.items()
                for noise, shape in _shapes(importance, damping).items()
            ),
            left_out=left_out,
        )
    write_perturbation(perturbation, directory.perturbation)
    return perturbation


@dataclasses.dataclass(frozen=True)
class _Rounds:
    """Plays one game several times; each draw has its own episodes and its own noise.

    A draw's noise is the same standard normal numbers for every shape and size, so that
    shapes and sizes are compared on equal terms.
    """

    agent: ContinualDQN
    evaluator: Evaluator
    draws: int
    listener: Listener

    def without_noise(self, game: str) -> tuple[float, ...]:
        """Mean raw return of each draw."""
        scores = tuple(self._score(game, draw) for draw in range(self.draws))
        self.listener.message(f"{game}, no noise: {np.mean(scores):.1f}")
        return scores

    def with_noise(
        self, game: str, noise: str, shape: Parameters, size: float
    ) -> tuple[float, ...]:
        """Mean raw return of each draw."""
        scores = []
        for draw in range(self.draws):
            seed = self.evaluator.seed + stream_number("perturbation") + draw
            generator = torch.Generator().manual_seed(seed)
            with perturbed(self.agent.policy.q_net, shape, size, generator):
                scores.append(self._score(game, draw))
        self.listener.message(f"{game}, {noise} {size:g}: {np.mean(scores):.1f}")
        return tuple(scores)

    def _score(self, game: str, draw: int) -> float:
        seed = self.evaluator.seed + draw
        evaluator = dataclasses.replace(self.evaluator, seed=seed)
        return float(np.mean(evaluator.score(self.agent, game).returns))


def _check(
    sizes: Sequence[float], draws: int, episodes: int | None, damping: float
) -> None:
    if not sizes:
        raise ConfigError("--sizes expects one size or more, got none; name some.")
    for size in sizes:
        check_positive("--sizes", size)
    check_at_least("--draws", draws, 1)
    check_positive("--damping", damping)
    if episodes is not None:
        check_at_least("--episodes", episodes, 1)


def _importances(
    config: RunConfig, rounds: _Rounds, games: Sequence[str]
) -> tuple[dict[str, Parameters], dict[str, str]]:
    """What the method keeps of the task that each game is taken for."""
    penalty = rounds.agent.learner.method.penalty
    if not isinstance(penalty, QuadraticPenalty):
        raise ConfigError(
            "clrl perturb expects a run whose method knows how much each weight "
            "matters (ewc, online_ewc, si, mas, mas_local), got "
            f"{config_file.describe(config).method}; choose such a run."
        )
    importances, left_out = {}, {}
    for game in games:
        label = rounds.evaluator.infer_label(rounds.agent, game)
        importance = penalty.importance(label)
        if importance is None:
            left_out[game] = (
                f"it is taken for task {label}, which was never left, so there is no "
                "importance for it"
            )
            rounds.listener.message(f"{game} is left out: {left_out[game]}")
        else:
            importances[game] = importance
    if not importances:
        raise ConfigError(
            "clrl perturb expects a game whose task was left, and so consolidated, got "
            f"none: {', '.join(games)}; choose another game or a longer run."
        )
    return importances, left_out


def _shapes(importance: Parameters, damping: float) -> dict[str, Parameters]:
    """The shapes of noise by name; without the null space where it is empty."""
    shapes = {
        "uniform": uniform(importance),
        "inverse_importance": inverse_importance(importance, damping),
        "null_space": null_space(importance),
    }
    return {name: shape for name, shape in shapes.items() if reached_share(shape)}


def _random_policy(
    directory: RunDirectory, games: Mapping[str, object]
) -> dict[str, float]:
    if not directory.records.exists():
        return {}
    return {
        record.game: float(np.mean(record.returns))
        for record in of_kind(read_records(directory.records), RandomPolicy)
        if record.game in games
    }
