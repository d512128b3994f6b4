"""ContinualDQN: Stable-Baselines3's DQN for tasks that change without notice."""

from typing import Any, ClassVar

import numpy as np
import torch
from gymnasium import spaces
from jaxtyping import Bool, Float32, Int64, Integer, Shaped
from stable_baselines3 import DQN
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.noise import ActionNoise
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import (
    GymEnv,
    MaybeCallback,
    RolloutReturn,
    Schedule,
    TrainFreq,
)
from stable_baselines3.common.utils import polyak_update
from stable_baselines3.common.vec_env import VecEnv

from clrl.continual.methods import Finetune, MethodConfig
from clrl.errors import ConfigError, DivergenceError
from clrl.metrics import Consolidated, RunningMeans
from clrl.recognition.recognisers import OneTaskRecogniser, RecogniserConfig
from clrl.rl.available_memory import available_bytes
from clrl.rl.captured import CapturedLearner
from clrl.rl.environment import (
    refuse_normalised_observations,
    require_actions_that_fit,
    true_task,
)
from clrl.rl.exploration import EpsilonSchedule, TaskTimers
from clrl.rl.frames import default_frame_store, on_device
from clrl.rl.learner import make_learner
from clrl.rl.policy import ContinualDQNPolicy
from clrl.rl.replay import ReplayMemories
from clrl.rl.replay_budget import ReplayBudget
from clrl.rl.state import ContinualState
from clrl.rl.transition import what_follows
from clrl.rl.update_log import UpdateLog
from clrl.types import TaskId


class ContinualDQN(DQN):
    """A DQN that recognises its task, and protects what earlier tasks need.

    Everything of Stable-Baselines3's DQN works: ``learn``, ``predict``, ``save``,
    ``load``, callbacks, logger. What differs:

    - A recogniser labels each step. The label chooses the replay memory, the ε timer,
      the network's gains and biases, and which penalties are active. When it changes,
      the method consolidates the task that is left, from its own memory.
    - ``train_freq``, ``learning_starts`` and ``target_update_interval`` count agent
      steps summed over the environments, so that their number does not change how much
      is learnt; ``learning_starts`` and ε count the steps of the current task.
    - ε-greedy draws for each environment by itself.

    With ``Finetune``, one task and the same batches, the weights equal those of
    Stable-Baselines3's ``DQN.train``.
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {
        "CnnPolicy": ContinualDQNPolicy,
        "MlpPolicy": ContinualDQNPolicy,
    }
    policy: ContinualDQNPolicy

    def __init__(  # noqa: PLR0917 - as in DQN
        self,
        policy: str | type[ContinualDQNPolicy],
        env: GymEnv | str | None,
        learning_rate: float | Schedule = 1e-4,
        buffer_size: int = 50_000,
        learning_starts: int = 1_000,
        batch_size: int = 32,
        tau: float = 1.0,
        gamma: float = 0.99,
        train_freq: int = 4,
        gradient_steps: int = 1,
        target_update_interval: int = 10_000,
        exploration_fraction: float = 0.1,
        exploration_initial_eps: float = 1.0,
        exploration_final_eps: float = 0.05,
        max_grad_norm: float = 10,
        stats_window_size: int = 100,
        tensorboard_log: str | None = None,
        policy_kwargs: dict[str, Any] | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: torch.device | str = "auto",
        _init_setup_model: bool = True,
        *,
        method: MethodConfig | None = None,
        recogniser: RecogniserConfig | None = None,
        double_q: bool = True,
        n_stack: int = 1,
        exploration_steps: int | None = None,
        consolidation_starts: int = 0,
        replay_gib: float | None = None,
        precision: str = "float32",
        frames: str | None = None,
        overlap: bool = False,
        capture: bool | None = None,
    ) -> None:
        """Sets up the agent; arguments not listed are Stable-Baselines3's.

        Args:
            policy: ``"CnnPolicy"``, ``"MlpPolicy"`` or ``ContinualDQNPolicy``.
            env: A ``GameSequence``, or anything Stable-Baselines3 accepts.
            learning_rate: Of the optimiser.
            buffer_size: Transitions kept for each inferred task.
            learning_starts: Agent steps in a task before updates on it start.
            batch_size: Transitions of a minibatch.
            tau: Share of the online network in each update of the target network.
            gamma: Discount of one agent step.
            train_freq: Agent steps, over all environments, for each ``gradient_steps``.
            gradient_steps: Updates after each ``train_freq`` agent steps.
            target_update_interval: Agent steps between updates of the target network.
            exploration_fraction: Share of the whole training over which each task's ε
                falls, if ``exploration_steps`` is None.
            exploration_initial_eps: ε of a task when its learning starts.
            exploration_final_eps: ε of a task in the end.
            max_grad_norm: 2-norm to which larger gradients are scaled down.
            stats_window_size: Episodes that logged means are taken over.
            tensorboard_log: Directory for TensorBoard.
            policy_kwargs: Arguments of the policy: network, task_gains, max_tasks, ….
            verbose: 0 nothing, 1 information, 2 debug.
            seed: Of weights, exploration, replay and environment.
            device: Of the networks and of batches.
            method: What protects earlier tasks; ``Finetune()`` by default.
            recogniser: What labels the steps; one task for ever by default.
            double_q: Double Q-learning.
            n_stack: Frames in an observation, so that each is stored once; 1 stores
                observations whole, which is right for anything that is not stacked.
            exploration_steps: Agent steps in a task over which its ε falls.
            consolidation_starts: Agent steps of experience below which a task is not
                consolidated when it is left.
            replay_gib: GiB for all replay memories; by default four fifths of what is
                available.
            precision: Arithmetic of the networks in updates, ``float32`` or
                ``bfloat16``.
            frames: How replay memories keep frames: ``raw``, ``lz4`` or ``device``; by
                default on the device where that is a GPU, else raw.
            overlap: Whether updates are made while the environments play, so that
                actions lag behind by the updates that one step pays for.
            capture: Whether acting and updates are recorded as CUDA graphs; by default
                where ``device`` is a GPU.
        """
        self.method_config = method or Finetune()
        self.recogniser_config = recogniser or OneTaskRecogniser()
        self.double_q = double_q
        self.n_stack = n_stack
        self.exploration_steps = exploration_steps
        self.consolidation_starts = consolidation_starts
        self.replay_gib = replay_gib
        self.precision = precision
        self.frames = frames
        self.overlap = overlap
        self.capture = capture
        self._steps_owed = 0
        super().__init__(
            policy,
            env,  # type: ignore[arg-type]
            learning_rate=learning_rate,
            buffer_size=buffer_size,
            learning_starts=learning_starts,
            batch_size=batch_size,
            tau=tau,
            gamma=gamma,
            train_freq=train_freq,
            gradient_steps=gradient_steps,
            target_update_interval=target_update_interval,
            exploration_fraction=exploration_fraction,
            exploration_initial_eps=exploration_initial_eps,
            exploration_final_eps=exploration_final_eps,
            max_grad_norm=max_grad_norm,
            stats_window_size=stats_window_size,
            tensorboard_log=tensorboard_log,
            policy_kwargs=policy_kwargs,
            verbose=verbose,
            seed=seed,
            device=device,
            _init_setup_model=_init_setup_model,
        )

    @property
    def task(self) -> TaskId:
        """The label of the current step."""
        return self.policy.task

    def set_task(self, task: TaskId) -> None:
        """Makes ``predict`` act under another label.

        Raises:
            ConfigError: The network has no room for another task's own parts.
        """
        if self.policy.owns_parts and task >= self.policy.max_tasks:
            raise ConfigError(
                f"the network has room for {self.policy.max_tasks} tasks, got task "
                f"{task} (counted from 0); raise max_tasks, or let the recogniser make "
                "fewer contexts."
            )
        self.policy.task = task

    def _setup_model(self) -> None:
        refuse_normalised_observations(self._vec_normalize_env)
        assert isinstance(self.observation_space, spaces.Box)
        require_actions_that_fit(self.action_space)
        self.memories = ReplayMemories(
            self.buffer_size,
            self.observation_space.shape,
            self.observation_space.dtype,
            num_envs=self.n_envs,
            budget=ReplayBudget(self._replay_bytes()),
            n_stack=self.n_stack,
            frames=self._frame_store,
            device=self.device,
        )
        # Its presence keeps SB3 from allocating a buffer of its own.
        self.replay_buffer = self.memories  # type: ignore[assignment]
        super()._setup_model()
        self._rng = np.random.default_rng(self.seed)
        self.timers = TaskTimers()
        self.update_log = UpdateLog(self.device)
        self.update_means = RunningMeans()
        self.consolidations: list[Consolidated] = []
        self.recogniser = self.recogniser_config.build(lambda: true_task(self.env))
        self.learner = make_learner(
            self.policy,
            self.method_config,
            gamma=self.gamma,
            double_q=self.double_q,
            max_grad_norm=self.max_grad_norm,
            precision=self.precision,
            generator=torch.Generator(self.device).manual_seed(self.seed or 0),
        )
        on_gpu = self.device.type == "cuda"
        self.captured = CapturedLearner(
            self.learner,
            self.device,
            capture=on_gpu if self.capture is None else self.capture,
        )
        self.continual_state = ContinualState(
            method=self.learner.method,
            recogniser=self.recogniser,
            timers=self.timers,
            policy=self.policy,
        )

    def _replay_bytes(self) -> int:
        if self.replay_gib is not None:
            return int(self.replay_gib * 2**30)
        where = self.device if self._frame_store == "device" else None
        return int(0.8 * available_bytes(where))

    @property
    def _frame_store(self) -> str:
        return self.frames or default_frame_store(self.device)

    # Acting

    def exploration_rate_of(self, task: TaskId) -> float:
        """ε of ``task``, by its own timer."""
        steps = self.exploration_steps
        if steps is None:
            steps = int(self.exploration_fraction * self._total_timesteps)
        schedule = EpsilonSchedule(
            initial_eps=self.exploration_initial_eps,
            final_eps=self.exploration_final_eps,
            learning_starts=self.learning_starts,
            decay_steps=steps,
        )
        return schedule(self.timers[task])

    def predict(
        self,
        observation: np.ndarray | dict[str, np.ndarray],
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...] | None]:
        """Actions under the current label; each explores alone unless deterministic.

        Returns:
            Actions, and ``state`` as it came.
        """
        actions, _ = self.policy.predict(observation, deterministic=True)
        if not deterministic:
            actions = self._explore(
                np.asarray(actions), self.exploration_rate, self._rng
            )
        return actions, state

    def act(
        self,
        observations: Shaped[np.ndarray, "N ..."],
        exploration_rate: float,
        rng: np.random.Generator,
    ) -> Int64[np.ndarray, "N"]:
        """ε-greedy actions under the current label, through the method's prediction."""
        greedy = np.zeros(len(observations), dtype=np.int64)
        if exploration_rate < 1:
            greedy = self.q_values(observations).argmax(axis=1)
        return self._explore(greedy, exploration_rate, rng)

    def q_values(
        self, observations: Shaped[np.ndarray, "N ..."]
    ) -> Float32[np.ndarray, "N A"]:
        """Of every action under the current label, through the method's prediction."""
        self.policy.set_training_mode(False)
        inputs = on_device(observations, self.device)
        with torch.no_grad():
            q_values = self.captured.predict(inputs, self.task)
        return q_values.cpu().numpy()

    def newest_frames(
        self, observations: Shaped[np.ndarray, "N ..."]
    ) -> Shaped[np.ndarray, "N ..."]:
        """What a recogniser sees: the newest frame of each stack."""
        return observations if self.n_stack == 1 else observations[:, -1]

    def _explore(
        self,
        actions: Integer[np.ndarray, "*N"],
        exploration_rate: float,
        rng: np.random.Generator,
    ) -> Int64[np.ndarray, "*N"]:
        assert isinstance(self.action_space, spaces.Discrete)
        explores = rng.random(actions.shape) < exploration_rate
        random_actions = rng.integers(self.action_space.n, size=actions.shape)
        return np.where(explores, random_actions, actions)

    # Collecting

    def _setup_learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        reset_num_timesteps: bool = True,
        tb_log_name: str = "run",
        progress_bar: bool = False,
    ) -> tuple[int, BaseCallback]:
        refuse_normalised_observations(self._vec_normalize_env)
        total, callback = super()._setup_learn(
            total_timesteps, callback, reset_num_timesteps, tb_log_name, progress_bar
        )
        for task in self.memories.tasks:
            self.memories[task].interrupt()
        self.captured.forget()  # states may have been loaded since
        self._follow_label(self._last_observations())
        return total, callback

    def collect_rollouts(  # noqa: PLR0917 - as in DQN
        self,
        env: VecEnv,
        callback: BaseCallback,
        train_freq: TrainFreq,
        replay_buffer: object,
        action_noise: ActionNoise | None = None,
        learning_starts: int = 0,
        log_interval: int | None = None,
    ) -> RolloutReturn:
        """One step of every environment: act, store, recognise.

        With ``overlap``, the updates that the step before paid for are made while the
        environments play.

        Returns:
            The number of agent steps, the episodes that ended, and whether to go on.
        """
        del train_freq, replay_buffer, action_noise, learning_starts
        callback.on_rollout_start()
        self.exploration_rate = self.exploration_rate_of(self.task)
        observations = self._last_observations()
        actions = self.act(observations, self.exploration_rate, self._rng)
        env.step_async(actions)
        try:
            if self.overlap:
                self._pay_updates(self.gradient_steps, self.batch_size)
        finally:
            next_observations, rewards, dones, infos = env.step_wait()
        assert isinstance(next_observations, np.ndarray)
        self.num_timesteps += env.num_envs

        callback.update_locals(locals())
        # Stored even if training stops here, so that it may go on without a gap.
        goes_on = callback.on_step()
        self._update_info_buffer(infos, dones)
        self._remember(observations, actions, rewards, next_observations, dones, infos)
        self._last_obs = next_observations
        self._follow_label(next_observations)
        self._update_current_progress_remaining(
            self.num_timesteps, self._total_timesteps
        )
        self._on_step()
        episodes = self._count_episodes(infos, log_interval)
        callback.on_rollout_end()
        return RolloutReturn(env.num_envs, episodes, continue_training=goes_on)

    def _last_observations(self) -> Shaped[np.ndarray, "N ..."]:
        assert isinstance(self._last_obs, np.ndarray)
        return self._last_obs

    def _remember(  # noqa: PLR0917 - the parts of a step, in their usual order
        self,
        observations: Shaped[np.ndarray, "N ..."],
        actions: Int64[np.ndarray, "N"],
        rewards: Float32[np.ndarray, "N"],
        next_observations: Shaped[np.ndarray, "N ..."],
        dones: Bool[np.ndarray, "N"],
        infos: list[dict[str, Any]],
    ) -> None:
        """Stores the transitions in the memory of the label they were played under."""
        after = what_follows(next_observations, dones, infos)
        self.memories[self.task].add(
            observations,
            actions,
            rewards,
            after.observations,
            after.terminated,
            after.episode_over,
        )
        self.timers.advance(self.task, len(dones))
        assert isinstance(self.train_freq, TrainFreq)
        # Updates that were not made before learning starts are not made up for.
        unpaid = self._steps_owed % self.train_freq.frequency
        self._steps_owed = unpaid + len(dones)

    def _follow_label(self, observations: Shaped[np.ndarray, "N ..."]) -> None:
        """Asks the recogniser which task is seen, and changes over if it is another."""
        task = self.recogniser.observe(self.newest_frames(observations))
        if task != self.task:
            self._leave(self.task)
            before, known = self.task, self.memories.tasks
            self.set_task(task)
            if before in known and task not in known:
                self.policy.begin(task, after=before)
            self.captured.forget()
            self._steps_owed = 0

    def _leave(self, task: TaskId) -> None:
        memory = self.memories[task]
        memory.interrupt()
        if memory.added > max(self.learning_starts, self.consolidation_starts):
            batches = iter(lambda: memory.sample(self.batch_size, self._rng), None)
            metrics = self.learner.leave(task, batches)
            values = {name: float(metric) for name, metric in metrics.items()}
            if values:
                self.consolidations.append(Consolidated(task, values))
            for name, value in values.items():
                self.logger.record(f"consolidation/{name}", value)

    def _count_episodes(
        self, infos: list[dict[str, Any]], log_interval: int | None
    ) -> int:
        episodes = sum("episode" in info for info in infos)
        for _ in range(episodes):
            self._episode_num += 1
            if log_interval is not None and self._episode_num % log_interval == 0:
                self.dump_logs()
        return episodes

    def _on_step(self) -> None:
        """Updates the target network when its interval of agent steps is full."""
        before = self.num_timesteps - self.n_envs
        interval = self.target_update_interval
        if self.num_timesteps // interval > before // interval:
            polyak_update(
                self.q_net.parameters(), self.q_net_target.parameters(), self.tau
            )
        self.logger.record("rollout/exploration_rate", self.exploration_rate)
        self.logger.record("rollout/task", self.task)

    # Learning

    def train(self, gradient_steps: int, batch_size: int = 100) -> None:
        """The updates that the steps collected since the last call pay for.

        None with ``overlap``: they are made in the next step.

        Args:
            gradient_steps: Updates for each ``train_freq`` agent steps.
            batch_size: Transitions of a minibatch.

        Raises:
            DivergenceError: Loss, penalty or gradient is not finite.
        """
        if not self.overlap:
            self._pay_updates(gradient_steps, batch_size)

    def _pay_updates(self, gradient_steps: int, batch_size: int) -> None:
        memory = self.memories[self.task]
        if memory.added <= self.learning_starts:
            self._steps_owed = 0
            return
        assert isinstance(self.train_freq, TrainFreq)
        rounds, self._steps_owed = divmod(self._steps_owed, self.train_freq.frequency)
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        for _ in range(rounds * gradient_steps):
            batch = memory.sample(batch_size, self._rng)
            self.update_log.add(self.captured.step(batch, self.task))
            self._n_updates += 1
            if self.update_log.is_due:
                self.read_updates()

    def read_updates(self) -> None:
        """Takes note of what updates reported; a GPU reports when asked.

        Raises:
            DivergenceError: Loss, penalty or gradient of one is not finite.
        """
        reported = list(self.update_log.read())
        first = self._n_updates - len(reported) + 1
        for update, named in enumerate(reported, start=first):
            self.update_means.add(named)
            for name, value in named.items():
                if not np.isfinite(value):
                    raise DivergenceError(
                        f"{name} became {value} at update {update} "
                        f"({self.num_timesteps} agent steps, task {self.task}); lower "
                        "the learning rate or the method's strength."
                    )
                self.logger.record_mean(f"train/{name}", value)
        if reported:
            self.logger.record(
                "train/n_updates", self._n_updates, exclude="tensorboard"
            )

    def dump_logs(self) -> None:
        """Writes what was logged."""
        self.read_updates()
        super().dump_logs()

    # Saving

    def _excluded_save_params(self) -> list[str]:
        return [
            *super()._excluded_save_params(),
            "memories",
            "learner",
            "captured",
            "recogniser",
            "timers",
            "continual_state",
            "update_log",
            "update_means",
            "consolidations",
        ]

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        return ["policy", "policy.optimizer", "continual_state"], []
