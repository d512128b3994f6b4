"""Fully connected networks, parts of which each task may own."""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import pairwise
from math import prod
from typing import Literal, TypeAlias

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from clrl.continual.network import MASKED, ContinualNetwork
from clrl.continual.task_layers import TaskLayers, applied
from clrl.errors import ConfigError
from clrl.types import NO_TASK, TaskId

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
        task_layers: TaskLayers | None = None,
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
            task_layers: Which layers each task owns; None: none.
            max_tasks: Tasks that may own layers.
            mask: Of the logits, by task; None: ``AllClasses``.
        """
        super().__init__()
        widths = [prod(image_shape), *hidden, n_outputs]
        last = len(widths) - 2
        self._task_layers = task_layers or TaskLayers()
        self.layers = nn.ModuleList(
            self._task_layers.layer(
                i, last, partial(nn.Linear, features, outputs), max_tasks
            )
            for i, (features, outputs) in enumerate(pairwise(widths))
        )
        self.input_dropout = nn.Dropout(input_dropout)
        self.hidden_dropout = nn.Dropout(hidden_dropout)
        self.mask = AllClasses() if mask is None else mask
        self._max_tasks = max_tasks if self._task_layers.owns_layers else None
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
        logits: Tensor = self.mask(applied(self.layers[-1], embedding, task), task)
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
            x = self.hidden_dropout(torch.relu(applied(layer, x, task)))
            yield x

    def begin(self, task: TaskId, after: TaskId) -> None:
        """Prepares for ``task``, never met before, which follows the task ``after``."""
        self._task_layers.begin(self, task, after)

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
