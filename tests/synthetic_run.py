"""Records as a run writes them, made up but plausible, for what reads records."""

from collections.abc import Iterator

import numpy as np

from clrl.records import (
    Consolidation,
    Episode,
    Evaluation,
    Label,
    RandomPolicy,
    Record,
    Train,
    Visit,
)
from clrl.summary import RunDescription

GAMES = ("freeway", "road_runner", "space_invaders")
HIGHEST = {"freeway": 24.0, "road_runner": 9000.0, "space_invaders": 600.0}


def description(games: tuple[str, ...] = GAMES) -> RunDescription:
    return RunDescription(games, "ewc", "flat_fmn", "nature", seed=3)


TASKS = ("permutation_1", "permutation_2")
ACCURACIES = ((0.1, 0.125), (0.975, 0.2), (0.5, 0.9))


def supervised_description() -> RunDescription:
    rules = "mnist_permutations, 2 tasks"
    return RunDescription(TASKS, "ewc", "oracle", rules, 0, measure="accuracy")


def supervised_run() -> list[Record]:
    """Two tasks, the first of which is half forgotten; 100 examples each."""
    run: list[Record] = [Label(agent_steps=0, label=0)]
    for stage, accuracies in enumerate(ACCURACIES):
        steps = 100 * stage
        run += [
            Evaluation(
                agent_steps=steps, stage=stage, game=task, label=0, returns=(accuracy,)
            )
            for task, accuracy in zip(TASKS, accuracies, strict=True)
        ]
        if stage < len(TASKS):
            run.append(Visit(agent_steps=steps, visit=stage, game=TASKS[stage]))
    return run


def synthetic_run(
    games: tuple[str, ...] = GAMES,
    rounds: int = 2,
    visit_steps: int = 30_000,
    episodes_per_visit: int = 40,
    delay_steps: int = 64,
    *,
    seed: int = 0,
    kept: float = 0.66,
) -> list[Record]:
    """A run that learns every game, and keeps a share of it in each later visit."""
    return list(
        synthetic_records(
            games,
            rounds,
            visit_steps,
            episodes_per_visit,
            delay_steps,
            seed=seed,
            kept=kept,
        )
    )


def synthetic_records(
    games: tuple[str, ...],
    rounds: int,
    visit_steps: int,
    episodes_per_visit: int,
    delay_steps: int,
    *,
    seed: int = 0,
    kept: float = 0.66,
) -> Iterator[Record]:
    """The same, a record at a time, for runs that are too long for a list."""
    rng = np.random.default_rng(seed)
    for game in games:
        returns = tuple(rng.normal(20, 5, 10))
        yield RandomPolicy(agent_steps=0, game=game, returns=returns)
    skill = dict.fromkeys(games, 0.0)
    yield from _evaluation(games, skill, 0, 0, rng)
    yield Label(agent_steps=0, label=0)
    for visit, game in enumerate(games * rounds):
        start = visit * visit_steps
        yield Visit(agent_steps=start, visit=visit, game=game)
        if visit > 0:
            yield Label(agent_steps=start + delay_steps, label=games.index(game))
            yield Consolidation(
                agent_steps=start + delay_steps,
                task=games.index(games[(visit - 1) % len(games)]),
                metrics={"importance_trace": 2.5, "curvature_max": 0.1},
            )
        for episode in range(1, episodes_per_visit + 1):
            step = start + episode * visit_steps // episodes_per_visit
            skill[game] += 0.1 * (1 - skill[game])
            score = HIGHEST.get(game, 100.0) * skill[game]
            yield Episode(
                agent_steps=step,
                visit=visit,
                game=game,
                label=games.index(game),
                return_=float(rng.normal(score, 0.08 * score)),
                length_steps=visit_steps // episodes_per_visit,
            )
            yield Train(
                agent_steps=step,
                visit=visit,
                game=game,
                label=games.index(game),
                loss=0.1,
                penalty=0.01 * visit,
                gradient_norm=1.0,
                exploration_rate=0.1,
            )
        for other in games:
            skill[other] *= 1.0 if other == game else kept
        yield from _evaluation(games, skill, visit + 1, start + visit_steps, rng)


def _evaluation(
    games: tuple[str, ...],
    skill: dict[str, float],
    stage: int,
    agent_steps: int,
    rng: np.random.Generator,
) -> list[Record]:
    return [
        Evaluation(
            agent_steps=agent_steps,
            stage=stage,
            game=game,
            label=games.index(game),
            returns=tuple(HIGHEST.get(game, 100.0) * skill[game] + rng.normal(0, 2, 5)),
        )
        for game in games
    ]
