"""Which gradient is applied."""

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar, runtime_checkable

from clrl.continual.state import Stateful, Stateless
from clrl.types import Batch, Parameters, TaskId

B_co = TypeVar("B_co", bound=Batch, covariant=True)


@runtime_checkable
class GradientConstraint(Stateful, Protocol[B_co]):
    """Turns the gradient of the current loss into the gradient that is applied."""

    def __call__(
        self,
        gradient: Parameters,
        gradients_of: Callable[[Sequence[B_co]], Parameters],
        task: TaskId,
    ) -> Parameters:
        """The gradient to apply while ``task`` is the current task.

        Args:
            gradient: Gradient of objective and penalty, by parameter name.
            gradients_of: Gradient of the mean objective on each of K other batches,
                [K, ...] by parameter name, for constraints that compare with memories
                of earlier tasks.
            task: The current task.
        """
        ...


class NoConstraint(Stateless):
    """Applies the gradient as it is."""

    def __call__(
        self, gradient: Parameters, gradients_of: object, task: TaskId
    ) -> Parameters:
        """``gradient``, as it came."""
        del gradients_of, task
        return gradient
