"""Q-networks: shared weights, and gains and biases that each task may own."""

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from jaxtyping import Float, Int64
from torch import Tensor, nn

from clrl.continual.network import ContinualNetwork, TaskOwned
from clrl.continual.task_layers import TaskLayers, applied
from clrl.errors import ConfigError, unknown_name
from clrl.types import NO_TASK, TaskId


class Convolution(NamedTuple):
    """A convolution without padding, followed by a ReLU."""

    filters: int
    kernel_size: int
    stride: int


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """Convolutions, then fully connected layers; a ReLU after all but the last."""

    convolutions: Sequence[Convolution] = ()
    hidden: Sequence[int]

    @property
    def layers(self) -> int:
        """How many there are, the last one included."""
        return len(self.convolutions) + len(self.hidden) + 1


ARCHITECTURES: Mapping[str, Architecture] = {
    # Mnih et al. (2015), Methods, "Model architecture".
    "nature": Architecture(
        convolutions=(
            Convolution(32, 8, 4),
            Convolution(64, 4, 2),
            Convolution(64, 3, 1),
        ),
        hidden=(512,),
    ),
    # Kirkpatrick et al. (2017), SI, "Atari experiments".
    "kirkpatrick2017": Architecture(
        convolutions=(
            Convolution(32, 8, 4),
            Convolution(64, 4, 2),
            Convolution(128, 3, 1),
        ),
        hidden=(1024,),
    ),
    # For 42x42 frames: a tenth of the multiplications of ``nature``.
    "small": Architecture(
        convolutions=(
            Convolution(16, 6, 3),
            Convolution(32, 4, 2),
            Convolution(64, 3, 1),
        ),
        hidden=(256,),
    ),
    # For observations that are vectors; Stable-Baselines3's MlpPolicy.
    "mlp": Architecture(hidden=(64, 64)),
}


class TaskSelection(NamedTuple):
    """Which tasks a batch holds, worked out once for all layers.

    Attributes:
        present: The distinct tasks.
        position: For each example the index of its task in ``present`` [B].
    """

    present: list[int]
    position: Int64[Tensor, "B"]


class GainsAndBiases(TaskOwned):
    """y_i = (x_i + b_i^c) g_i^c, a gain g and a bias b for each task c and feature i.

    Source: Kirkpatrick et al. (2017), SI, "Atari experiments". Each task's pair is a
    parameter of its own, so that an optimiser with momentum leaves absent tasks alone.
    """

    def __init__(self, features: int, max_tasks: int) -> None:
        """Gains 1 and biases 0 for every task."""
        super().__init__()
        start = torch.stack([torch.ones(features), torch.zeros(features)])
        self.tasks = nn.ParameterList(start.clone() for _ in range(max_tasks))

    def forward(
        self, features: Float[Tensor, "B F *pixels"], selection: TaskSelection
    ) -> Float[Tensor, "B F *pixels"]:
        """``features`` shifted and scaled as each example's task wants it."""
        present = torch.stack([self._of(c) for c in selection.present])  # [U, 2, F]
        if len(selection.present) > 1:
            present = present[selection.position]  # [B, 2, F]
        pixels = (1,) * (features.dim() - 2)
        gain, bias = present.reshape(*present.shape, *pixels).unbind(dim=1)
        return (features + bias) * gain

    def _of(self, task: TaskId) -> Float[Tensor, "2 F"]:
        """A task's gains and biases; without a task those that change nothing."""
        if task == NO_TASK:
            ones = torch.ones_like(self.tasks[0][0])
            return torch.stack([ones, torch.zeros_like(ones)])
        own: Tensor = self.tasks[task]
        return own


class NoTaskPart(nn.Module):
    """No task owns anything; the layer's own bias is shared."""

    def forward(self, features: Tensor, selection: TaskSelection) -> Tensor:
        """``features``, as they came."""
        del selection
        return features


class QNetwork(ContinualNetwork):
    """Q(s, a) for every action a, under the task of each observation s."""

    def __init__(
        self,
        observation_space: spaces.Box,
        n_actions: int,
        architecture: Architecture,
        *,
        task_gains: bool = False,
        task_layers: TaskLayers | None = None,
        input_dropout: float = 0.0,
        hidden_dropout: float = 0.0,
        max_tasks: int = 1,
    ) -> None:
        """Initial weights uniform in ±1/√fan_in, PyTorch's default and the EWC paper's.

        Args:
            observation_space: Images [channels, H, W], or vectors.
            n_actions: Number of outputs.
            architecture: Layers.
            task_gains: Whether each task has gains and biases in every layer, instead
                of one bias shared by all.
            task_layers: Which layers each task owns; None: none.
            input_dropout: Probability that a pixel, or another input, is zeroed in
                training.
            hidden_dropout: Probability that an output of a hidden layer is zeroed in
                training.
            max_tasks: Tasks that may own gains and biases, or layers.

        Raises:
            ValueError: The images are too small for the convolutions.
        """
        super().__init__()
        self._is_image = observation_space.dtype == np.uint8
        self._task_gains = task_gains
        self._task_layers = task_layers or TaskLayers()
        self._max_tasks = max_tasks
        self._first_linear = len(architecture.convolutions)
        self._last = architecture.layers - 1
        self.layers = nn.ModuleList()
        self.task_parts = nn.ModuleList()

        shape = observation_space.shape
        for convolution in architecture.convolutions:
            channels, *sides = shape
            shape = (
                convolution.filters,
                *(
                    (s - convolution.kernel_size) // convolution.stride + 1
                    for s in sides
                ),
            )
            if min(shape) < 1:
                raise ValueError(
                    f"the network's convolutions need larger images than "
                    f"{observation_space.shape}; use 84x84 frames or the small network."
                )
            self._add(
                partial(nn.Conv2d, channels, *convolution, bias=not task_gains),
                convolution.filters,
            )
        features = int(np.prod(shape))
        for width in (*architecture.hidden, n_actions):
            self._add(partial(nn.Linear, features, width, bias=not task_gains), width)
            features = width
        self._input_dropout = nn.Dropout(input_dropout)
        self._hidden_dropout = nn.Dropout(hidden_dropout)

    def _add(self, make: Callable[[], nn.Module], features: int) -> None:
        i = len(self.layers)
        self.layers.append(
            self._task_layers.layer(i, self._last, make, self._max_tasks)
        )
        self.task_parts.append(
            GainsAndBiases(features, self._max_tasks)
            if self._task_gains
            else NoTaskPart()
        )

    def forward(self, inputs: Tensor, task: Int64[Tensor, "B"]) -> Float[Tensor, "B A"]:
        """Q-values of ``inputs`` [B, ...]; images are scaled from 0..255 to 0..1."""
        for x in self._outputs(inputs, task):
            q_values = x
        return q_values

    def activations(
        self, inputs: Tensor, task: Int64[Tensor, "B"]
    ) -> list[Float[Tensor, "B F ..."]]:
        """What the convolutions and the fully connected layers but the last put out."""
        return list(self._outputs(inputs, task))[:-1]

    def readout(
        self, embedding: Float[Tensor, "B F"], task: Int64[Tensor, "B"]
    ) -> Float[Tensor, "B A"]:
        """Q-values for what the last hidden layer puts out."""
        q_values: Tensor = self.task_parts[-1](
            applied(self.layers[-1], embedding, task), self._select(task)
        )
        return q_values

    def readout_parameters(self) -> frozenset[str]:
        """Those of the last layer with its gains and biases; none without others."""
        if len(self.layers) == 1:
            return frozenset()
        ours = (f"layers.{self._last}.", f"task_parts.{self._last}.")
        return frozenset(n for n, _ in self.named_parameters() if n.startswith(ours))

    def begin(self, task: TaskId, after: TaskId) -> None:
        """Prepares for ``task``, never met before, which follows the task ``after``."""
        self._task_layers.begin(self, task, after)

    def _outputs(
        self, inputs: Tensor, task: Int64[Tensor, "B"]
    ) -> Iterator[Float[Tensor, "B F ..."]]:
        """The output of each layer, after its ReLU where it has one."""
        selection = self._select(task)
        x = inputs.float().div_(255) if self._is_image else inputs.float()
        x = self._input_dropout(x)
        for i, (layer, task_part) in enumerate(
            zip(self.layers, self.task_parts, strict=True)
        ):
            if i == self._first_linear:
                x = x.flatten(start_dim=1)
            x = task_part(applied(layer, x, task), selection)
            if i < self._last:
                x = self._hidden_dropout(torch.relu(x))
            yield x

    def _select(self, task: Int64[Tensor, "B"]) -> TaskSelection:
        if not self._task_gains:
            return TaskSelection([], task)
        present, position = torch.unique(task, return_inverse=True)
        return TaskSelection(present.tolist(), position)


def build_network(
    name: str,
    observation_space: spaces.Box,
    n_actions: int,
    *,
    task_gains: bool = False,
    max_tasks: int = 1,
    **options: Any,
) -> ContinualNetwork:
    """The Q-network called ``name``: an architecture of this module, or an import path.

    An import path such as ``my_package.my_network`` names a callable that takes the
    arguments of ``QNetwork`` except the architecture, those that are used.

    Args:
        name: As above.
        observation_space: What the network is shown.
        n_actions: Number of outputs.
        task_gains: See ``QNetwork``.
        max_tasks: See ``QNetwork``.
        options: Others of ``QNetwork``, which a network of one's own must know.

    Raises:
        ConfigError: No such architecture (the nearest names are listed), or nothing at
            the import path.
    """
    options |= {"task_gains": task_gains, "max_tasks": max_tasks}
    if name in ARCHITECTURES:
        return QNetwork(
            observation_space,
            n_actions,
            ARCHITECTURES[name],
            **options,
        )
    module, _, attribute = name.rpartition(".")
    if not module:
        raise unknown_name("network", name, ARCHITECTURES)
    try:
        make = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"expected a network at the import path {name!r}, got: {error}; check the "
            f"path, or use one of {', '.join(sorted(ARCHITECTURES))}."
        ) from error
    network: ContinualNetwork = make(observation_space, n_actions, **options)
    return network
