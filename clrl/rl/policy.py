"""The Stable-Baselines3 policy around a Q-network that is told the task."""

from typing import Any

import torch
from gymnasium import spaces
from jaxtyping import Int64
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule
from stable_baselines3.dqn.policies import DQNPolicy
from torch import Tensor

from clrl.continual.network import ContinualNetwork
from clrl.continual.task_layers import TaskLayers
from clrl.rl.network import build_network
from clrl.types import TaskId

_IMAGE_DIMENSIONS = 3


class ContinualDQNPolicy(DQNPolicy):
    """A ``DQNPolicy`` whose online and target networks know each observation's task.

    ``task`` is the label under which ``predict`` acts; the algorithm sets it.
    """

    q_net: ContinualNetwork  # type: ignore[assignment]
    q_net_target: ContinualNetwork  # type: ignore[assignment]

    def __init__(  # noqa: PLR0917 - as in DQNPolicy
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Discrete,
        lr_schedule: Schedule,
        network: str | None = None,
        task_gains: bool = False,
        task_layers: TaskLayers | None = None,
        input_dropout: float = 0.0,
        hidden_dropout: float = 0.0,
        max_tasks: int = 32,
        channels_last: bool = False,
        optimizer_class: type[torch.optim.Optimizer] = torch.optim.Adam,
        optimizer_kwargs: dict[str, Any] | None = None,
    ) -> None:
        """Builds both networks and the optimiser.

        Args:
            observation_space: Images with channels first, or vectors.
            action_space: The actions.
            lr_schedule: Learning rate by remaining progress (1 to 0).
            network: Name or import path, see ``clrl.rl.network.build_network``; by
                default ``nature`` for images and ``mlp`` for vectors.
            task_gains: Whether each task owns gains and biases in every layer.
            task_layers: Which layers each task owns; None: none.
            input_dropout: Probability that a pixel, or another input, is zeroed in
                updates.
            hidden_dropout: Probability that an output of a hidden layer is zeroed in
                updates.
            max_tasks: Tasks that may own gains and biases, or layers.
            channels_last: Whether convolutions keep the channels of a pixel side by
                side in memory: faster, and equal up to rounding.
            optimizer_class: Of the online network.
            optimizer_kwargs: Its arguments besides the learning rate.

        Raises:
            TypeError: Observations that are not a Box.
            ConfigError: An unknown network.
        """
        if not isinstance(observation_space, spaces.Box):
            raise TypeError(
                f"observations must come from a Box space, got {observation_space}; "
                "wrap the environment, with FlattenObservation for example."
            )
        self.task = 0
        self.network_name = network or _default_network(observation_space)
        self.task_gains = task_gains
        self.task_layers = task_layers or TaskLayers()
        self.input_dropout = input_dropout
        self.hidden_dropout = hidden_dropout
        self.max_tasks = max_tasks
        self.channels_last = channels_last
        super().__init__(
            observation_space,
            action_space,
            lr_schedule,
            optimizer_class=optimizer_class,
            optimizer_kwargs=optimizer_kwargs,
        )

    def make_q_net(self) -> ContinualNetwork:  # type: ignore[override]
        """A freshly initialised Q-network."""
        assert isinstance(self.observation_space, spaces.Box)
        assert isinstance(self.action_space, spaces.Discrete)
        network = build_network(
            self.network_name,
            self.observation_space,
            int(self.action_space.n),
            **self._network_options(),
        ).to(self.device)
        if self.channels_last:
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return network

    @property
    def owns_parts(self) -> bool:
        """Whether tasks own any part of the network, of which there are so many."""
        return self.task_gains or self.task_layers.owns_layers

    def begin(self, task: TaskId, after: TaskId) -> None:
        """Prepares for ``task``, never met before, which follows the task ``after``."""
        for network in (self.q_net, self.q_net_target):
            network.begin(task, after)

    def task_of(self, observations: Tensor) -> Int64[Tensor, "B"]:
        """The current task, once for each of ``observations`` [B, ...]."""
        return torch.full((len(observations),), self.task, device=observations.device)

    def set_training_mode(self, mode: bool) -> None:
        """Puts the online network into training or evaluation mode."""
        self.q_net.train(mode)
        self.training = mode

    def _build(self, lr_schedule: Schedule) -> None:
        self.q_net = self.make_q_net()
        self.q_net_target = self.make_q_net()
        self.q_net_target.load_state_dict(self.q_net.state_dict())
        self.q_net_target.eval()
        self.optimizer = self.optimizer_class(
            self.q_net.parameters(),
            lr=lr_schedule(1),  # type: ignore[call-arg]
            **self.optimizer_kwargs,
        )

    def _network_options(self) -> dict[str, Any]:
        """What is not asked for is not mentioned: not every network knows of it."""
        options: dict[str, Any] = {
            "task_gains": self.task_gains,
            "max_tasks": self.max_tasks,
        }
        if self.task_layers.owns_layers:
            options["task_layers"] = self.task_layers
        if self.input_dropout:
            options["input_dropout"] = self.input_dropout
        if self.hidden_dropout:
            options["hidden_dropout"] = self.hidden_dropout
        return options

    def _predict(self, observation: PyTorchObs, deterministic: bool = True) -> Tensor:
        assert isinstance(observation, Tensor)
        actions: Tensor = self.q_net(observation, self.task_of(observation)).argmax(1)
        return actions

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {
            "observation_space": self.observation_space,
            "action_space": self.action_space,
            "lr_schedule": self._dummy_schedule,
            "network": self.network_name,
            "task_gains": self.task_gains,
            "task_layers": self.task_layers,
            "input_dropout": self.input_dropout,
            "hidden_dropout": self.hidden_dropout,
            "max_tasks": self.max_tasks,
            "channels_last": self.channels_last,
            "optimizer_class": self.optimizer_class,
            "optimizer_kwargs": self.optimizer_kwargs,
        }


def _default_network(observation_space: spaces.Box) -> str:
    is_image = len(observation_space.shape) == _IMAGE_DIMENSIONS
    return "nature" if is_image else "mlp"
