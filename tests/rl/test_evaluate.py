"""Scores of games that are played without learning."""

import dataclasses

import numpy as np
import pytest
import torch

from clrl.recognition.recognisers import OracleRecogniser, RecogniserConfig
from clrl.rl.dqn import ContinualDQN
from clrl.rl.evaluate import Evaluator, play_episodes
from clrl.rl.game_sequence import GameSequence, fixed_visits
from clrl.types import NO_TASK

from ..fakes import CountingGame, ScriptedLabels


def zeros(observations: np.ndarray) -> np.ndarray:
    return np.zeros(len(observations), np.int64)


@pytest.mark.parametrize(
    ("episodes", "lengths", "returns"),
    [
        (1, [7], (7,)),
        (2, [1, 9], (1, 9)),
        (5, [1, 2], (1, 1, 1, 2, 2)),
        (6, [1, 50, 3], (1, 1, 50, 50, 3, 3)),
    ],
)
def test_each_copy_plays_its_share_so_that_short_episodes_are_not_favoured(
    episodes: int, lengths: list[int], returns: tuple[float, ...]
) -> None:
    game = CountingGame(lengths)
    came = play_episodes(game, zeros, num_envs=len(lengths), episodes=episodes, seed=0)
    assert came == returns


def test_lost_lives_do_not_end_an_episode() -> None:
    game = CountingGame([4], loses_lives=True)
    assert play_episodes(game, zeros, num_envs=1, episodes=2, seed=0) == (4, 4)


def agent_with(recogniser: RecogniserConfig) -> ContinualDQN:
    sequence = GameSequence(
        fixed_visits(["a", "b"], 1, 60),
        lambda name, n: CountingGame([9] * n),
        num_envs=2,
    )
    agent = ContinualDQN(
        "MlpPolicy",
        sequence,
        learning_starts=20,
        buffer_size=500,
        batch_size=8,
        recogniser=recogniser,
        policy_kwargs={"task_gains": True, "max_tasks": 4},
        replay_gib=0.1,
        seed=0,
        device="cpu",
    )
    agent.learn(120)
    return agent


def evaluator(
    episodes: int = 3, exploration_eps: float = 0.05, seed: int = 5
) -> Evaluator:
    lengths = {"a": 3, "b": 6}
    return Evaluator(
        games=("a", "b"),
        make_game=lambda name, n: CountingGame([lengths[name]] * n),
        episodes=episodes,
        exploration_eps=exploration_eps,
        seed=seed,
    )


def test_all_games_are_scored_under_the_label_the_recogniser_gives() -> None:
    agent = agent_with(ScriptedLabels(labels=(0, 1, 2), at_evaluation=3))
    labels = set()
    act = agent.act

    def watched(observations: np.ndarray, rate: float, rng: np.random.Generator):  # type: ignore[no-untyped-def]
        labels.add(agent.task)
        return act(observations, rate, rng)

    agent.act = watched  # type: ignore[assignment, method-assign]
    scores = list(evaluator().scores(agent))
    assert [(s.game, s.label, s.returns) for s in scores] == [
        ("a", 3, (3, 3, 3)),
        ("b", 3, (6, 6, 6)),
    ]
    assert labels == {3}
    assert agent.task == 2


def test_a_game_is_scored_under_another_label_with_the_same_randomness() -> None:
    agent = agent_with(ScriptedLabels(labels=(0, 1), at_evaluation=0))
    played: list[tuple[int, list[int]]] = []
    act = agent.act

    def watched(observations: np.ndarray, rate: float, rng: np.random.Generator):  # type: ignore[no-untyped-def]
        actions = act(observations, rate, rng)
        played.append((agent.task, actions.tolist()))
        return actions

    agent.act = watched  # type: ignore[assignment, method-assign]
    seen: list[np.ndarray] = []
    scorer = dataclasses.replace(evaluator(exploration_eps=1.0), spectator=seen.append)
    actions = {}
    for under in (None, 3, NO_TASK):
        played.clear()
        score = scorer.score(agent, "b", under)
        tasks = {task for task, _ in played}
        assert tasks == {score.label} == {0 if under is None else under}
        actions[under] = [chosen for _, chosen in played]
    assert actions[None] == actions[3] == actions[NO_TASK]
    assert len(seen) == len(actions[None])  # the spectator saw one of the three
    assert agent.task == 1


def test_an_oracle_is_told_the_truth() -> None:
    agent = agent_with(OracleRecogniser())
    assert [score.label for score in evaluator().scores(agent)] == [0, 1]


def test_scoring_leaves_the_agent_as_it_was() -> None:
    agent = agent_with(ScriptedLabels(labels=(0, 1), at_evaluation=0))
    generators = agent._rng.bit_generator.state, torch.get_rng_state()
    before = {
        name: tensor.clone()
        for name, tensor in (
            agent.policy.state_dict() | agent.continual_state.state_dict()
        ).items()
    }
    added = agent.memories[1].added
    list(evaluator().scores(agent))
    after = agent.policy.state_dict() | agent.continual_state.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert agent._rng.bit_generator.state == generators[0]
    assert torch.equal(torch.get_rng_state(), generators[1])
    assert agent.memories[1].added == added


def test_the_agents_own_label_returns_even_if_scoring_is_interrupted() -> None:
    agent = agent_with(ScriptedLabels(labels=(0, 1), at_evaluation=3))

    def interrupt(*_: object) -> np.ndarray:
        raise KeyboardInterrupt

    agent.act = interrupt  # type: ignore[assignment, method-assign]
    with pytest.raises(KeyboardInterrupt):
        list(evaluator().scores(agent))
    assert agent.task == 1


def test_the_same_seed_gives_the_same_actions() -> None:
    agent = agent_with(OracleRecogniser())
    rows: list[list[list[int]]] = []
    act = agent.act
    for seed in (5, 5, 6):
        chosen: list[list[int]] = []

        def watched(observations: np.ndarray, rate: float, rng: np.random.Generator):  # type: ignore[no-untyped-def]
            actions = act(observations, rate, rng)
            chosen.append(actions.tolist())  # noqa: B023
            return actions

        agent.act = watched  # type: ignore[assignment, method-assign]
        list(evaluator(exploration_eps=0.9, seed=seed).scores(agent))
        rows.append(chosen)
    assert rows[0] == rows[1] != rows[2]


def test_more_episodes_than_copies_are_played_by_eight() -> None:
    made = []

    def make(name: str, num_envs: int) -> CountingGame:
        made.append(num_envs)
        return CountingGame([2] * num_envs)

    scorer = Evaluator(
        games=("a",), make_game=make, episodes=20, exploration_eps=0.0, seed=0
    )
    assert scorer.random_returns("a", 20) == (2.0,) * 20
    assert scorer.random_returns("a", 3) == (2.0,) * 3
    assert made == [8, 3]
