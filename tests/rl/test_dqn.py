"""ContinualDQN: what it adds to Stable-Baselines3's DQN, and that nothing is lost."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.callbacks import (
    BaseCallback,
    CheckpointCallback,
    EvalCallback,
    StopTrainingOnMaxEpisodes,
)
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor
from torch.nn import functional

from clrl.continual.methods import EWC, L2
from clrl.errors import ConfigError, DivergenceError
from clrl.recognition.recognisers import OracleRecogniser
from clrl.rl.dqn import ContinualDQN
from clrl.rl.evaluate import play_episodes
from clrl.rl.game_sequence import GameSequence, Visit, fixed_visits
from clrl.rl.learner import make_learner
from clrl.rl.replay import ReplayBatch
from clrl.types import TaskId

from ..fakes import (
    CART_POLES,
    FakeGames,
    Rules,
    ScriptedLabels,
    Taped,
    cart_pole,
    parameters_of,
)


def cart_poles(
    visits_per_game: int = 1, steps: int = 200, num_envs: int = 2
) -> GameSequence:
    visits = fixed_visits(CART_POLES, visits_per_game, steps)
    return GameSequence(visits, cart_pole, num_envs=num_envs)


def fakes(num_envs: int = 2, rules: Rules | None = None) -> GameSequence:
    games = FakeGames(rules or Rules(ends=0.05))
    return GameSequence([Visit("fake", 100_000)], games, num_envs=num_envs)


def agent_on(env: Any, **changes: Any) -> ContinualDQN:
    options: dict[str, Any] = {
        "learning_rate": 1e-3,
        "buffer_size": 2_000,
        "learning_starts": 20,
        "batch_size": 8,
        "train_freq": 4,
        "target_update_interval": 50,
        "exploration_steps": 100,
        "replay_gib": 0.1,
        "policy_kwargs": {"network": "mlp"},
        "seed": 0,
        "device": "cpu",
    }
    return ContinualDQN("MlpPolicy", env, **{**options, **changes})


class Watch(BaseCallback):
    """Keeps something of the agent after each step, as seen by callbacks."""

    def __init__(self) -> None:
        super().__init__()
        self.tasks: list[TaskId] = []
        self.exploration_rates: list[float] = []
        self.updates: list[int] = []
        self.targets: set[bytes] = set()

    def _on_step(self) -> bool:
        agent = self.model
        assert isinstance(agent, ContinualDQN)
        self.tasks.append(agent.task)
        self.exploration_rates.append(agent.exploration_rate)
        self.updates.append(agent._n_updates)
        self.targets.add(first_target_weights(agent))
        return True


def first_target_weights(agent: ContinualDQN) -> bytes:
    return next(agent.q_net_target.parameters()).detach().numpy().tobytes()


def assert_equal_tensors(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> None:
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


# A citizen of Stable-Baselines3


def monitored() -> DummyVecEnv:
    return DummyVecEnv([lambda: Monitor(gymnasium.make("CartPole-v1"))])


def test_evaluation_checkpoints_and_tensorboard_work(tmp_path: Path) -> None:
    agent = agent_on("CartPole-v1", tensorboard_log=str(tmp_path / "tb"))
    agent.learn(
        400,
        callback=[
            EvalCallback(
                monitored(),
                n_eval_episodes=2,
                eval_freq=150,
                log_path=str(tmp_path / "eval"),
                best_model_save_path=str(tmp_path / "best"),
                verbose=0,
            ),
            CheckpointCallback(save_freq=200, save_path=str(tmp_path / "saved")),
        ],
    )
    agent.logger.close()

    evaluations = np.load(tmp_path / "eval" / "evaluations.npz")
    assert evaluations["timesteps"].tolist() == [150, 300]
    assert evaluations["results"].shape == (2, 2)
    saved = sorted(path.name for path in (tmp_path / "saved").iterdir())
    assert saved == ["rl_model_200_steps.zip", "rl_model_400_steps.zip"]
    for path in (
        tmp_path / "best" / "best_model.zip",
        tmp_path / "saved" / "rl_model_400_steps.zip",
    ):
        mean, _ = evaluate_policy(
            ContinualDQN.load(path, device="cpu"), monitored(), n_eval_episodes=2
        )
        assert isinstance(mean, float)
        assert mean > 0

    events = EventAccumulator(str(next((tmp_path / "tb").iterdir()))).Reload()
    assert set(events.Tags()["scalars"]) >= {
        "eval/mean_reward",
        "rollout/ep_rew_mean",
        "rollout/exploration_rate",
        "rollout/task",
        "train/loss",
        "train/penalty",
        "train/gradient_norm",
        "train/learning_rate",
    }
    steps = [event.step for event in events.Scalars("train/loss")]
    assert steps == sorted(steps)
    assert all(np.isfinite(event.value) for event in events.Scalars("train/loss"))


def test_evaluate_policy_counts_whole_episodes_of_a_game_sequence() -> None:
    agent = agent_on(cart_poles())
    returns, lengths = evaluate_policy(
        agent, cart_poles(steps=2_000), n_eval_episodes=4, return_episode_rewards=True
    )
    assert isinstance(returns, list)
    assert isinstance(lengths, list)
    assert returns == lengths
    assert isinstance(returns, list)
    assert len(returns) == 4


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[ContinualDQN, Path]:
    """An agent that has left a task, and where it was saved."""
    agent = agent_on(
        cart_poles(),
        method=EWC(importance_batches=2),
        recogniser=OracleRecogniser(),
        policy_kwargs={"network": "mlp", "task_gains": True, "max_tasks": 3},
    )
    agent.learn(300)
    path = tmp_path_factory.mktemp("saved") / "agent.zip"
    agent.save(path)
    return agent, path


def test_save_and_load_restore_everything(saved: tuple[ContinualDQN, Path]) -> None:
    agent, path = saved
    loaded = ContinualDQN.load(path, device="cpu")
    assert_equal_tensors(agent.policy.state_dict(), loaded.policy.state_dict())
    assert_equal_tensors(
        agent.continual_state.state_dict(), loaded.continual_state.state_dict()
    )
    names = loaded.continual_state.state_dict().keys()
    assert any(name.startswith("method.penalty.0.importance") for name in names)
    ours, theirs = (a.policy.optimizer.state_dict() for a in (agent, loaded))
    assert ours["param_groups"] == theirs["param_groups"]
    for index, moments in ours["state"].items():
        assert_equal_tensors(moments, theirs["state"][index])
    assert loaded.task == agent.task == 1
    assert loaded.timers.state_dict() == agent.timers.state_dict() == {0: 200, 1: 100}
    assert loaded.recogniser.contexts == 2
    assert loaded.num_timesteps == 300
    assert loaded.method_config == agent.method_config

    observations = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    ours_chosen, _ = agent.predict(observations, deterministic=True)
    chosen, _ = loaded.predict(observations, deterministic=True)
    assert np.array_equal(ours_chosen, chosen)


def test_learning_goes_on_after_loading(saved: tuple[ContinualDQN, Path]) -> None:
    agent, path = saved
    loaded = ContinualDQN.load(path, device="cpu")
    loaded.set_env(cart_poles())
    before = parameters_of(loaded.q_net)
    loaded.learn(100, reset_num_timesteps=False)
    assert loaded.num_timesteps == 400
    assert loaded._n_updates > agent._n_updates
    assert not torch.equal(before[0], next(loaded.q_net.parameters()))
    # The sequence was at its first game again, where that task had been left.
    assert loaded.timers.state_dict() == {0: 300, 1: 100}


def test_what_was_saved_on_a_gpu_learns_on_a_cpu(tmp_path: Path) -> None:
    agent = agent_on(cart_poles())
    agent.learn(100)
    (group,) = agent.policy.optimizer.param_groups
    group["capturable"] = True  # as recorded updates need it
    agent.save(tmp_path / "agent.zip")
    loaded = ContinualDQN.load(tmp_path / "agent.zip", env=cart_poles(), device="cpu")
    loaded.learn(100, reset_num_timesteps=False)
    assert loaded._n_updates > agent._n_updates


def test_the_penalty_still_holds_after_loading(
    saved: tuple[ContinualDQN, Path],
) -> None:
    agent, path = saved
    loaded = ContinualDQN.load(path, device="cpu")
    batch = agent.memories[1].sample(8, np.random.default_rng(0))
    ours, theirs = (a.learner.step(batch, 1)["penalty"] for a in (agent, loaded))
    assert ours > 0
    assert torch.equal(ours, theirs)


def test_training_that_a_callback_stopped_goes_on_without_a_gap() -> None:
    agent = agent_on(
        fakes(),
        n_stack=4,
        policy_kwargs={"network": "mlp"},
    )
    agent.learn(400, StopTrainingOnMaxEpisodes(max_episodes=3))
    stopped_at = agent.num_timesteps
    assert stopped_at < 400
    assert agent.memories[0].added == stopped_at
    agent.learn(100, reset_num_timesteps=False)
    assert agent.memories[0].added == stopped_at + 100


def test_predict_explores_for_each_observation_by_itself() -> None:
    agent = agent_on(cart_poles())
    observations = np.tile(np.zeros(4, np.float32), (400, 1))
    greedy, _ = agent.predict(observations, deterministic=True)
    assert len(set(greedy.tolist())) == 1
    agent.exploration_rate = 0.5
    actions, state = agent.predict(observations)
    assert state is None
    assert 0.6 < np.mean(actions == greedy[0]) < 0.9
    one, _ = agent.predict(observations[0], deterministic=True)
    assert one.shape == ()


# Learning


def mean_return(act: Any, name: str) -> float:
    game = cart_pole(name, 8)
    returns = play_episodes(game, act, num_envs=8, episodes=40, seed=9)
    game.close()
    return float(np.mean(returns))


def test_it_learns_a_sequence_of_cart_poles() -> None:
    sequence = cart_poles(steps=6_000, num_envs=4)
    agent = agent_on(
        sequence,
        learning_starts=300,
        learning_rate=2e-3,
        batch_size=128,
        buffer_size=6_000,
        train_freq=8,
        exploration_steps=3_000,
        target_update_interval=400,
        gamma=0.95,
        seed=1,
        recogniser=OracleRecogniser(),
        policy_kwargs={"network": "mlp", "task_gains": True, "max_tasks": 2},
    )
    episodes: dict[int, list[float]] = {0: [], 1: []}

    class Returns(BaseCallback):
        visit = 0

        def _on_step(self) -> bool:
            for info in self.locals["infos"]:
                if "episode" in info:
                    episodes[self.visit].append(info["episode"]["r"])
            self.visit = sequence.visit_index
            return True

    agent.learn(sequence.total_steps, Returns())
    rng = np.random.default_rng(0)
    for visit, name in enumerate(CART_POLES):
        random = mean_return(lambda seen: rng.integers(2, size=len(seen)), name)
        assert np.mean(episodes[visit][-20:]) >= 3 * random


def test_each_task_has_its_own_epsilon_which_goes_on_when_the_task_returns() -> None:
    # The first label is for the first observations, then one for each vector step.
    labels = (0,) * 40 + (1,) * 40 + (0,) * 60
    agent = agent_on(fakes(), n_stack=4, recogniser=ScriptedLabels(labels=labels))
    watch = Watch()
    agent.learn(2 * 130, watch)
    rates = watch.exploration_rates

    def expected(steps_in_task: int) -> float:
        return (
            1.0 if steps_in_task < 20 else 1 - 0.95 * min(1, (steps_in_task - 20) / 100)
        )

    assert watch.tasks == list(labels[:130])
    in_task = [2 * step for step in [*range(40), *range(40), *range(40, 90)]]
    assert rates == pytest.approx([expected(steps) for steps in in_task])
    assert agent.timers.state_dict() == {0: 180, 1: 80}


def test_each_label_has_its_own_memory() -> None:
    agent = agent_on(
        fakes(), n_stack=4, recogniser=ScriptedLabels(labels=(0,) * 30 + (2,) * 99)
    )
    agent.learn(2 * 50)
    assert agent.memories.tasks == (0, 2)
    rewards = {
        task: agent.memories[task].sample(2_000, np.random.default_rng(0)).rewards
        for task in (0, 2)
    }
    # Rewards number the frames, so that nothing of the one lies within the other.
    assert rewards[0].max() < rewards[2].min()
    assert [agent.memories[task].added for task in (0, 2)] == [60, 40]


def test_a_change_of_label_leaves_the_task_once_with_batches_of_its_own() -> None:
    method = Taped()
    labels = (0,) * 30 + (1,) * 30 + (0,) * 99
    agent = agent_on(
        fakes(), n_stack=4, method=method, recogniser=ScriptedLabels(labels=labels)
    )
    agent.learn(2 * 100)
    assert [task for task, _ in method.tape] == [0, 1]
    assert [left.task for left in agent.consolidations] == [0, 1]
    first = {float(r) for batch in method.tape[0][1] for r in batch.rewards}
    second = {float(r) for batch in method.tape[1][1] for r in batch.rewards}
    assert max(first) < min(second)
    for task, batches in method.tape:
        assert len(batches) == 3
        assert {int(t) for batch in batches for t in batch.task} == {task}


@pytest.mark.parametrize("threshold", ["learning_starts", "consolidation_starts"])
def test_a_task_with_too_little_experience_is_not_consolidated(threshold: str) -> None:
    method = Taped()
    labels = (0,) * 30 + (1,) * 31 + (0,) * 99
    agent = agent_on(
        fakes(),
        n_stack=4,
        method=method,
        recogniser=ScriptedLabels(labels=labels),
        **{threshold: 60},
    )
    agent.learn(2 * 100)
    # 60 steps in task 0 are not more than 60; 62 in task 1 are.
    assert [task for task, _ in method.tape] == [1]


@pytest.mark.parametrize("method", [EWC(importance_batches=2), L2()], ids=["ewc", "l2"])
def test_gains_and_biases_of_a_task_do_not_move_while_another_is_trained(
    method: EWC | L2,
) -> None:
    labels = (0,) * 61 + (1,) * 999
    agent = agent_on(
        fakes(rules=Rules(ends=0.05, reward=1.0)),
        n_stack=4,
        method=method,
        recogniser=ScriptedLabels(labels=labels),
        policy_kwargs={"network": "mlp", "task_gains": True, "max_tasks": 3},
    )

    def parts(task: TaskId) -> list[Tensor]:
        return [
            parameter.detach().clone()
            for name, parameter in agent.policy.q_net.named_parameters()
            if name.endswith(f"tasks.{task}")
        ]

    fresh = [parts(task) for task in range(3)]
    agent.learn(2 * 60)
    before = [parts(task) for task in range(3)]
    updates = agent._n_updates
    agent.learn(2 * 60, reset_num_timesteps=False)
    after = [parts(task) for task in range(3)]
    assert agent._n_updates - updates > 20
    assert all(map(torch.equal, before[0], after[0]))
    assert not any(map(torch.equal, fresh[0], before[0]))
    assert not any(map(torch.equal, before[1], after[1]))
    assert all(map(torch.equal, fresh[2], after[2]))


@pytest.mark.parametrize("num_envs", [1, 8])
def test_the_target_network_follows_every_so_many_agent_steps(num_envs: int) -> None:
    agent = agent_on(
        fakes(num_envs),
        n_stack=4,
        learning_starts=0,
        train_freq=8,
        target_update_interval=64,
    )
    watch = Watch()
    agent.learn(256, watch)
    assert len(watch.targets | {first_target_weights(agent)}) == 1 + 256 // 64


@pytest.mark.parametrize(
    ("train_freq", "gradient_steps", "updates"), [(4, 1, 100), (16, 1, 25), (16, 3, 75)]
)
@pytest.mark.parametrize("num_envs", [1, 4, 8])
def test_the_number_of_environments_does_not_change_how_much_is_learnt(
    num_envs: int, train_freq: int, gradient_steps: int, updates: int
) -> None:
    agent = agent_on(
        fakes(num_envs),
        n_stack=4,
        learning_starts=0,
        train_freq=train_freq,
        gradient_steps=gradient_steps,
    )
    agent.learn(400)
    assert agent._n_updates == updates


def test_nothing_is_learnt_before_learning_starts_in_each_task() -> None:
    labels = (0,) * 50 + (1,) * 99
    agent = agent_on(
        fakes(),
        n_stack=4,
        learning_starts=40,
        train_freq=2,
        recogniser=ScriptedLabels(labels=labels),
    )
    watch = Watch()
    agent.learn(2 * 100, watch)
    # One update for each vector step, from the 21st of each task on; a callback sees
    # the updates of the steps before.
    assert watch.updates[20] == 0
    assert watch.updates[21] == 1
    first = watch.updates[50]
    assert watch.updates[70] == first
    assert watch.updates[71] == first + 1


# The importance of a Q-network


def network_and_batches() -> tuple[ContinualDQN, list[ReplayBatch]]:
    agent = agent_on(cart_poles(steps=1_000), exploration_steps=10)
    agent.learn(120)
    rng = np.random.default_rng(0)
    return agent, [agent.memories[0].sample(size, rng) for size in (5, 8)]


def q_of_the_action(agent: ContinualDQN, one: ReplayBatch) -> Tensor:
    q_values: Tensor = agent.q_net(one.observations, one.task)
    return q_values[0, one.actions[0]]


def huber_of_the_error(agent: ContinualDQN, one: ReplayBatch) -> Tensor:
    with torch.no_grad():
        best = agent.q_net(one.next_observations, one.task).argmax()
        following = agent.q_net_target(one.next_observations, one.task)[0, best]
        target = one.rewards[0]
        if not one.terminated[0]:
            target = target + agent.gamma * following
    return functional.smooth_l1_loss(q_of_the_action(agent, one), target)


def log_probability_of_the_best(agent: ContinualDQN, one: ReplayBatch) -> Tensor:
    q_values = agent.q_net(one.observations, one.task)[0]
    best: Tensor = q_values.max() - q_values.logsumexp(dim=0)
    return best


def examples(batches: list[ReplayBatch]) -> Iterator[ReplayBatch]:
    for batch in batches:
        for i in range(len(batch.task)):
            yield ReplayBatch(*(x[i : i + 1] for x in batch))


@pytest.mark.parametrize(
    ("importance", "scalar"),
    [
        (None, q_of_the_action),
        ("q_gaussian", q_of_the_action),
        ("td_error", huber_of_the_error),
        ("greedy_softmax", log_probability_of_the_best),
    ],
)
def test_the_importance_is_that_of_one_backward_pass_for_each_example(
    importance: str | None, scalar: Callable[[ContinualDQN, ReplayBatch], Tensor]
) -> None:
    agent, batches = network_and_batches()
    shared = agent.policy.q_net.shared_parameters()
    expected = {name: torch.zeros_like(p) for name, p in shared.items()}
    everything = list(examples(batches))
    for one in everything:
        gradients = torch.autograd.grad(scalar(agent, one), list(shared.values()))
        for name, gradient in zip(shared, gradients, strict=True):
            expected[name] += gradient.square() / len(everything)

    learner = make_learner(
        agent.policy,
        EWC(importance=importance, importance_batches=len(batches)),
        gamma=agent.gamma,
        double_q=agent.double_q,
        max_grad_norm=agent.max_grad_norm,
        precision="float32",
        generator=torch.Generator(),
    )
    scalars = learner.leave(0, batches)
    state = learner.method.state_dict()
    for name, omega in expected.items():
        torch.testing.assert_close(
            state[f"penalty.0.importance.{name}"], omega, rtol=1e-4, atol=1e-9
        )
        assert torch.equal(state[f"penalty.0.parameters.{name}"], shared[name])
    trace = sum(float(omega.sum()) for omega in expected.values())
    assert float(scalars["importance_trace"]) == pytest.approx(trace, rel=1e-4)


def test_leaving_a_task_is_reported_with_its_importance() -> None:
    agent = agent_on(
        fakes(rules=Rules(reward=1.0)),
        n_stack=4,
        method=EWC(importance_batches=3),
        recogniser=ScriptedLabels(labels=(0,) * 40 + (1,) * 99),
    )
    agent.learn(2 * 60)
    (left,) = agent.consolidations
    assert left.task == 0
    metrics = left.metrics
    assert metrics["importance_trace"] >= metrics["importance_max"] > 0
    assert agent.update_means.drain().keys() == {"loss", "penalty", "gradient_norm"}
    assert agent.update_means.drain() == {}


# What is refused


@pytest.mark.parametrize("reward", [np.inf, np.nan])
def test_a_loss_that_is_not_finite_stops_training_and_is_named(reward: float) -> None:
    agent = agent_on(fakes(rules=Rules(reward=reward)), n_stack=4)
    with pytest.raises(DivergenceError, match=r"^loss became (inf|nan) at update 1 "):
        agent.learn(100)


def test_normalised_observations_are_refused() -> None:
    with pytest.raises(ConfigError, match="VecNormalize"):
        agent_on(VecNormalize(monitored()))


def test_normalised_observations_are_refused_later_too() -> None:
    agent = agent_on(monitored())
    agent.set_env(VecNormalize(monitored()))
    with pytest.raises(ConfigError, match="VecNormalize"):
        agent.learn(10)


def test_an_oracle_needs_an_environment_that_knows_its_task() -> None:
    agent = agent_on("CartPole-v1", recogniser=OracleRecogniser())
    with pytest.raises(ConfigError, match="current_task"):
        agent.learn(10)


def test_more_tasks_than_the_network_has_room_for_are_refused() -> None:
    agent = agent_on(
        fakes(),
        n_stack=4,
        recogniser=ScriptedLabels(labels=(0, 1, 2)),
        policy_kwargs={"network": "mlp", "task_gains": True, "max_tasks": 2},
    )
    with pytest.raises(ConfigError, match="room for 2 tasks, got task 2"):
        agent.learn(100)


def test_an_unknown_importance_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ConfigError, match="did you mean td_error"):
        agent_on("CartPole-v1", method=EWC(importance="td_eror"))


def test_an_unknown_precision_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ConfigError, match="did you mean bfloat16"):
        agent_on(fakes(), precision="bfloat")


def test_an_unknown_network_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ConfigError, match="did you mean small"):
        agent_on("CartPole-v1", policy_kwargs={"network": "smal"})


@pytest.mark.parametrize(
    "actions", [spaces.Discrete(300), spaces.Discrete(3, start=-1)]
)
def test_actions_that_the_memory_cannot_hold_are_refused(
    actions: spaces.Discrete,
) -> None:
    class Odd(gymnasium.Env[np.ndarray, Any]):
        observation_space = spaces.Box(-1, 1, (2,), np.float32)
        action_space = actions

    with pytest.raises(ConfigError, match="counted from 0 and be at most 256"):
        agent_on(DummyVecEnv([Odd]))
