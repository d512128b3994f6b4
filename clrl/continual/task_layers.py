"""Layers of which each task owns one: heads, input layers, or whole networks."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from clrl.continual.network import TaskOwned
from clrl.errors import ConfigError
from clrl.types import NO_TASK, TaskId


@dataclass(frozen=True, kw_only=True)
class TaskLayers:
    """Which layers of a network each task owns; by default none."""

    task_input: bool = False
    """Whether each task owns the first layer (the multimodal baseline of Lopez-Paz and
    Ranzato, 2017)."""

    task_hidden: bool = False
    """Whether each task owns the layers between the first and the last; with both of
    them too, tasks share nothing (the independent baseline, ibid.)."""

    task_head: bool = False
    """Whether each task owns the last layer (multi-headed)."""

    task_layers_copied: bool = False
    """Whether the layers that a new task owns begin as a copy of the previous task's,
    not afresh (``finetune`` in the code of Lopez-Paz and Ranzato, 2017)."""

    def __post_init__(self) -> None:
        """Raises ConfigError where there is nothing to copy."""
        if self.task_layers_copied and not self.owns_layers:
            raise ConfigError(
                "network.task_layers_copied needs layers that tasks own, got none; "
                "switch network.task_input, task_hidden or task_head on too."
            )

    @property
    def owns_layers(self) -> bool:
        """Whether tasks own any layer."""
        return self.task_input or self.task_hidden or self.task_head

    def refuse_no_label(self, key: str) -> None:
        """Raises ConfigError if tasks own layers, which no label would choose.

        Args:
            key: Of the config, that asks for scores without a label.
        """
        if self.owns_layers:
            raise ConfigError(
                "without a label no layer that a task owns can be chosen, got no_label "
                f"in {key}; leave it out."
            )

    def layer(
        self, i: int, last: int, make: Callable[[], nn.Module], tasks: int
    ) -> nn.Module:
        """Layer ``i`` of 0 to ``last``: one from ``make``, or one for each task."""
        return LayerPerTask(make, tasks) if self._owns(i, last) else make()

    def shares_layers(self, count: int) -> bool:
        """Whether tasks share any of ``count`` layers."""
        return not all(self._owns(i, count - 1) for i in range(count))

    def _owns(self, i: int, last: int) -> bool:
        return (
            (self.task_input and i == 0)
            or (self.task_hidden and 0 < i < last)
            or (self.task_head and i == last)
        )

    def begin(self, network: nn.Module, task: TaskId, after: TaskId) -> None:
        """Prepares for ``task``, never met before, which follows the task ``after``."""
        if self.task_layers_copied:
            for module in network.modules():
                if isinstance(module, LayerPerTask):
                    module.copy(after, task)


class LayerPerTask(TaskOwned):
    """A layer for each task.

    Each task's is a module of its own, so that an optimiser with momentum leaves absent
    tasks alone.
    """

    def __init__(self, make: Callable[[], nn.Module], tasks: int) -> None:
        """Independent layers from ``make`` for ``tasks`` tasks."""
        super().__init__()
        self.layers = nn.ModuleList(make() for _ in range(tasks))

    def copy(self, source: TaskId, to: TaskId) -> None:
        """Gives task ``to`` the weights and biases that ``source`` has now."""
        self.layers[to].load_state_dict(self.layers[source].state_dict())

    def forward(
        self, x: Float[Tensor, "B F *pixels"], task: Int64[Tensor, "B"]
    ) -> Float[Tensor, "B O *outputs"]:
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
        rows = [(task == one).nonzero()[:, 0] for one in present]
        parts = [self.layers[one](x[r]) for one, r in zip(present, rows, strict=True)]
        together = torch.cat(parts)
        return torch.empty_like(together).index_copy(0, torch.cat(rows), together)


def applied(layer: nn.Module, x: Tensor, task: Int64[Tensor, "B"]) -> Tensor:
    """What a layer, shared or one for each task, makes of ``x``."""
    outputs: Tensor = layer(x, task) if isinstance(layer, LayerPerTask) else layer(x)
    return outputs
