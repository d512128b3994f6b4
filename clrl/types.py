"""The words every layer shares: tasks, parameters, batches and the letters of shapes.

Axis letters in jaxtyping annotations: ``B`` batch, ``A`` actions or outputs, ``C``
classes, ``K`` past tasks or outcomes, ``T`` tasks, ``N`` environments, ``S`` stacked
frames, ``H W`` pixels.
"""

from typing import Protocol, TypeAlias, TypeVar, runtime_checkable

from jaxtyping import Int64
from torch import Tensor

TaskId: TypeAlias = int
"""A task as the learner knows it: a label given by a recogniser, counted from 0."""

NO_TASK: TaskId = -1
"""No task in particular: asks a network for what all tasks share."""

Parameters: TypeAlias = dict[str, Tensor]
"""Tensors of a network by parameter name, as in ``named_parameters()``."""


@runtime_checkable
class Batch(Protocol):
    """A flat NamedTuple of tensors with a common leading axis ``B``."""

    @property
    def task(self) -> Int64[Tensor, "B"]:
        """The task each example belongs to."""
        ...


B = TypeVar("B", bound=Batch)
B_contra = TypeVar("B_contra", bound=Batch, contravariant=True)
