"""Fully connected networks, parts of which each task may own."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import prod
from typing import Literal, TypeAlias

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from clrl.continual.network import ContinualNetwork, TaskOwned
from clrl.errors import ConfigError
from clrl.types import NO_TASK, TaskId

MASKED = -1e4
"""The logit of a class that may not be answered: its probability is exactly 0.

Finite, because an infinite one would turn 0 times its logarithm into NaN.
"""


Initialisation: TypeAlias = Literal["fan_in", "xavier"]
"""How weights begin; ``initialise`` says what each name means."""


def initialise(network: nn.Module, how: Initialisation) -> None:
    """Gives every linear layer its first weights and biases.

    ``fan_in``: uniform in ±1/√fan_in, as PyTorch has made them already. ``xavier``:
    weights uniform in ±√(6/(fan_in + fan_out)), biases 0 (Glorot & Bengio, 2010, eq.
    16; so in the code of Lopez-Paz & Ranzato, 2017).
    """
    if how == "xavier":
        for layer in network.modules():
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)


class TaskLinear(TaskOwned):
    """A linear layer for each task.

    Each task's is a module of its own, so that an optimiser with momentum leaves absent
    tasks alone.
    """

    def __init__(self, features: int, outputs: int, tasks: int) -> None:
        """Independent layers for ``tasks`` tasks."""
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(features, outputs) for _ in range(tasks))
        self._outputs = outputs

    def copy(self, source: TaskId, to: TaskId) -> None:
        """Gives task ``to`` the weights and biases that ``source`` has now."""
        self.layers[to].load_state_dict(self.layers[source].state_dict())

    def forward(
        self, x: Float[Tensor, "B F"], task: Int64[Tensor, "B"]
    ) -> Float[Tensor, "B O"]:
        """Each example through its own task's layer.

        Raises:
            ConfigError: An example is of no task, which has no layer.
        """
        present = torch.unique(task).tolist()
        if NO_TASK in present:
            raise ConfigError(
                "each task owns this layer, got examples without a task; score them "
                "under a label."
            )
        if len(present) == 1:
            outputs: Tensor = self.layers[present[0]](x)
            return outputs
        outputs = x.new_empty(len(x), self._outputs)
        for one in present:
            rows = (task == one).nonzero()[:, 0]
            outputs = outputs.index_copy(0, rows, self.layers[one](x[rows]))
        return outputs


class AllClasses(nn.Module):
    """Every class may be answered in every task."""

    def forward(
        self, logits: Float[Tensor, "B C"], task: Int64[Tensor, "B"]
    ) -> Float[Tensor, "B C"]:
        """``logits``, as they came."""
        del task
        return logits


class ClassMask(nn.Module):
    """Only some classes may be answered in each task."""

    allowed: Bool[Tensor, "T C"]

    def __init__(self, allowed: Bool[Tensor, "T C"]) -> None:
        """``allowed`` says which classes each task has."""
        super().__init__()
        self.register_buffer("allowed", allowed, persistent=False)

    def forward(
        self, logits: Float[Tensor, "B C"], task: Int64[Tensor, "B"]
    ) -> Float[Tensor, "B C"]:
        """``logits``, those of the task's other classes at ``MASKED``.

        Under ``NO_TASK`` all may be answered.
        """
        allowed = self.allowed[task] | (task == NO_TASK)[:, None]
        return logits.masked_fill(~allowed, MASKED)


class MLP(ContinualNetwork):
    """Linear layers with ReLUs between them, dropout behind the input and each ReLU."""

    def __init__(
        self,
        image_shape: Sequence[int],
        n_outputs: int,
        hidden: Sequence[int],
        *,
        input_dropout: float = 0.0,
        hidden_dropout: float = 0.0,
        initialisation: Initialisation = "fan_in",
        task_input: bool = False,
        task_hidden: bool = False,
        task_head: bool = False,
        task_layers_copied: bool = False,
        max_tasks: int = 1,
        mask: nn.Module | None = None,
    ) -> None:
        """Initial weights from torch's global generator.

        Args:
            image_shape: Of one image.
            n_outputs: Number of labels.
            hidden: Width of each hidden layer; none: a linear classifier.
            input_dropout: Probability that a pixel is zeroed in training.
            hidden_dropout: Probability that a hidden unit is zeroed in training.
            initialisation: How weights begin.
            task_input: Whether each task owns its first layer.
            task_hidden: Whether each task owns the layers between first and last.
            task_head: Whether each task owns its last layer.
            task_layers_copied: Whether a task's own layers begin as a copy of those of
                the task before.
            max_tasks: Tasks that may own layers.
            mask: Of the logits, by task; None: ``AllClasses``.
        """
        super().__init__()
        widths = [prod(image_shape), *hidden, n_outputs]
        last = len(widths) - 2
        self.layers = nn.ModuleList()
        for i, (features, outputs) in enumerate(pairwise(widths)):
            owned = (
                (task_input and i == 0)
                or (task_hidden and 0 < i < last)
                or (task_head and i == last)
            )
            self.layers.append(
                TaskLinear(features, outputs, max_tasks)
                if owned
                else nn.Linear(features, outputs)
            )
        self.input_dropout = nn.Dropout(input_dropout)
        self.hidden_dropout = nn.Dropout(hidden_dropout)
        self.mask = AllClasses() if mask is None else mask
        owns_layers = any(isinstance(layer, TaskLinear) for layer in self.layers)
        self._max_tasks = max_tasks if owns_layers else None
        self._task_layers_copied = task_layers_copied
        initialise(self, initialisation)

    def forward(self, inputs: Tensor, task: Int64[Tensor, "B"]) -> Float[Tensor, "B C"]:
        """Logits of ``inputs`` [B, ...]; bytes are scaled from 0..255 to 0..1."""
        *_, embedding = self._features(inputs, task)
        return self.readout(embedding, task)

    def activations(
        self, inputs: Tensor, task: Int64[Tensor, "B"]
    ) -> list[Float[Tensor, "B F ..."]]:
        """What the hidden layers put out, past ReLU and dropout."""
        _, *activations = self._features(inputs, task)
        return activations

    def readout(
        self, embedding: Float[Tensor, "B F"], task: Int64[Tensor, "B"]
    ) -> Float[Tensor, "B C"]:
        """Logits for what the last hidden layer puts out."""
        logits: Tensor = self.mask(_applied(self.layers[-1], embedding, task), task)
        return logits

    def readout_parameters(self) -> frozenset[str]:
        """Those of the last layer; none without a hidden one."""
        if len(self.layers) == 1:
            return frozenset()
        last = f"layers.{len(self.layers) - 1}."
        return frozenset(n for n, _ in self.named_parameters() if n.startswith(last))

    def _features(
        self, inputs: Tensor, task: Int64[Tensor, "B"]
    ) -> Iterator[Float[Tensor, "B F"]]:
        """The scaled inputs, then the output of each hidden layer."""
        x = inputs.flatten(1).float()
        if inputs.dtype == torch.uint8:
            x = x.div_(255)  # it is a copy: bytes were turned into floats
        x = self.input_dropout(x)
        yield x
        *hidden, _ = self.layers
        for layer in hidden:
            x = self.hidden_dropout(torch.relu(_applied(layer, x, task)))
            yield x

    def begin(self, task: TaskId, after: TaskId) -> None:
        """Prepares for ``task``, never met before, which follows the task ``after``."""
        if self._task_layers_copied:
            for layer in self.layers:
                if isinstance(layer, TaskLinear):
                    layer.copy(after, task)

    def require_room(self, task: TaskId) -> None:
        """Checks that the network can serve ``task``, counted from 0.

        Raises:
            ConfigError: Tasks own layers, and there are no more.
        """
        if self._max_tasks is not None and task >= self._max_tasks:
            raise ConfigError(
                f"the network has room for {self._max_tasks} tasks, got task {task} "
                "(counted from 0); raise network.max_tasks, or let the recogniser make "
                "fewer contexts."
            )


def _applied(layer: nn.Module, x: Tensor, task: Tensor) -> Tensor:
    outputs: Tensor = layer(x, task) if isinstance(layer, TaskLinear) else layer(x)
    return outputs
