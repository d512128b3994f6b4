"""Which gradient is applied."""

from collections.abc import Callable
from typing import Protocol

from clrl.types import B_contra, Parameters, TaskId


class GradientConstraint(Protocol[B_contra]):
    """Turns the gradient of the current loss into the gradient that is applied."""

    def __call__(
        self,
        gradient: Parameters,
        gradient_of: Callable[[B_contra], Parameters],
        task: TaskId,
    ) -> Parameters:
        """The gradient to apply while ``task`` is the current task.

        Args:
            gradient: Gradient of objective and penalty, by parameter name.
            gradient_of: Gradient of the mean objective on any other batch, for constraints
                that compare with a memory of earlier tasks.
            task: The current task.
        """
        ...


class NoConstraint:
    """Applies the gradient as it is."""

    def __call__(
        self, gradient: Parameters, gradient_of: object, task: TaskId
    ) -> Parameters:
        """``gradient``, as it came."""
        del gradient_of, task
        return gradient
