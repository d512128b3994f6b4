"""Updates and Q-values recorded as CUDA graphs, so that Python starts them in one call.

On a GPU the arithmetic of an update takes less time than Python needs to ask for it,
kernel by kernel. A graph is recorded once for each task and batch size, and replayed on
inputs that always lie at the same addresses. Nothing about the results changes.
"""

import contextlib
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Generic, TypeVar

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from clrl.continual.consolidation import AnchorByImportance, NoConsolidation
from clrl.continual.constraint import NoConstraint
from clrl.continual.learner import ContinualLearner, Method
from clrl.continual.path_integral import PathIntegral
from clrl.continual.penalty import NoPenalty, QuadraticPenalty
from clrl.continual.prediction import ForwardPass
from clrl.continual.rehearsal import NoRehearsal
from clrl.rl.replay import ReplayBatch
from clrl.types import TaskId

T = TypeVar("T")

WARM_UPS = 3
"""Calls that run as they are before one is recorded: libraries choose their kernels in
them, and the optimiser makes its moments."""

_CAPTURABLE = {
    "rehearsal": (NoRehearsal,),
    "penalty": (NoPenalty, QuadraticPenalty),
    "constraint": (NoConstraint,),
    "consolidation": (NoConsolidation, AnchorByImportance, PathIntegral),
    "prediction": (ForwardPass,),
}
"""Parts of a method that do the same to the same tensors in every step. Others decide
something in Python, which a graph would not do again."""


class CaptureError(RuntimeError):
    """A function does what no graph can hold: it waits for the GPU, for example."""


def cuda_graph(work: Callable[[], T], stream: torch.cuda.Stream) -> Callable[[], T]:
    """Records ``work`` on ``stream`` without running it; what is returned runs it.

    Raises:
        RuntimeError: ``work`` waits for the GPU, or does what no graph can hold.
    """
    graph = torch.cuda.CUDAGraph()
    # Graphs are of the current device; and torch.cuda.graph leaves its stream current
    # where a recording fails.
    with torch.cuda.stream(stream), torch.cuda.graph(graph, stream=stream):
        outputs = work()

    def replay() -> T:
        graph.replay()
        return outputs

    return replay


def directly(work: Callable[[], T]) -> Callable[[], T]:
    """``work`` itself: what a device without graphs does."""
    return work


class CapturedCall(Generic[T]):
    """A function of tensors of the same shapes in every call.

    What it returns after the first calls is overwritten by the next call.
    """

    def __init__(self, function: Callable[..., T], device: torch.device) -> None:
        """Nothing is recorded before the call after the warm-ups.

        Args:
            function: Of tensors on ``device``, on whose values nothing that Python does
                may depend.
            device: A GPU, or the CPU, which calls the function each time.
        """
        self._function = function
        self._stream: torch.cuda.Stream | None = None
        if device.type == "cuda":
            self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._warm_ups_left = WARM_UPS
        self._inputs: tuple[Tensor, ...] = ()
        self._replay: Callable[[], T] | None = None

    def __call__(self, *inputs: Shaped[Tensor, "..."]) -> T:
        """What the function returns for ``inputs``.

        Raises:
            CaptureError: The function cannot be recorded; it was not run.
        """
        if self._warm_ups_left:
            self._warm_ups_left -= 1
            with self._aside():
                return self._function(*inputs)
        if self._replay is None:
            self._inputs = tuple(torch.empty_like(x) for x in inputs)
            self._replay = self._recorded(lambda: self._function(*self._inputs))
        for place, value in zip(self._inputs, inputs, strict=True):
            place.copy_(value, non_blocking=True)
        return self._replay()

    def _recorded(self, work: Callable[[], T]) -> Callable[[], T]:
        try:
            if self._stream is None:
                return directly(work)
            return cuda_graph(work, self._stream)
        except RuntimeError as error:
            raise CaptureError(str(error)) from error

    @contextlib.contextmanager
    def _aside(self) -> Iterator[None]:
        """What is done in it runs on a stream of its own, as the recording will."""
        if self._stream is None:
            yield
            return
        current = torch.cuda.current_stream(self._stream.device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream), warnings.catch_warnings():
            # An optimiser that is ready to be recorded complains of not being so yet.
            warnings.filterwarnings("ignore", ".*capturable=True.*")
            yield
        current.wait_stream(self._stream)


class CapturedLearner:
    """A learner whose updates and predictions are recorded and replayed.

    What cannot be recorded is done by the learner itself, and said once. Recorded are
    constant learning rates only: they are written into a graph as numbers.
    """

    def __init__(
        self,
        learner: ContinualLearner[ReplayBatch],
        device: torch.device,
        *,
        capture: bool,
    ) -> None:
        """Nothing is recorded yet.

        Args:
            learner: Trains the network, on ``device``.
            device: Of the network and of batches.
            capture: Whether to record at all; if not, the learner does everything.
        """
        self._learner = learner
        self._device = device
        self._steps: dict[object, CapturedCall[dict[str, Tensor]]] = {}
        self._predictions: dict[object, CapturedCall[Tensor]] = {}
        self._rates: list[object] = []
        self._is_capturing = capture
        if capture and (reason := why_not_captured(learner.method)):
            self._refuse(reason)

    @property
    def is_capturing(self) -> bool:
        """Whether updates are, or will be, recorded."""
        return self._is_capturing

    def step(self, batch: ReplayBatch, task: TaskId) -> dict[str, Tensor]:
        """One gradient step, as ``ContinualLearner.step`` takes it.

        Args:
            batch: All of ``task``.
            task: The current task.

        Returns:
            As the learner's; overwritten by the next step.
        """
        if not self._is_capturing:
            return self._learner.step(batch, task)
        if not self._steps:
            self._rates = self._learning_rates()
            if self._device.type == "cuda":
                self._let_optimizer_be_recorded(True)
        if self._rates != self._learning_rates():
            self._refuse("the learning rate changes")
            return self._learner.step(batch, task)
        key = (task, len(batch.task))
        if key not in self._steps:
            self._steps[key] = CapturedCall(partial(self._step, task), self._device)
        try:
            return self._steps[key](*batch[:-1])
        except CaptureError as error:
            self._refuse(str(error))
            return self._learner.step(batch, task)

    def predict(
        self, inputs: Shaped[Tensor, "B ..."], task: TaskId
    ) -> Float[Tensor, "B A"]:
        """The outputs under ``task``, as ``ContinualLearner.predict`` gives them.

        No gradient may be wanted of them; overwritten by the next call.
        """
        labels = _constant(task, len(inputs))
        if not self._is_capturing:
            return self._learner.predict(inputs, labels.to(self._device))
        key = (task, inputs.shape)
        if key not in self._predictions:
            self._predictions[key] = CapturedCall(
                partial(self._learner.predict, task=labels), self._device
            )
        try:
            return self._predictions[key](inputs)
        except CaptureError as error:
            self._refuse(str(error))
            return self._learner.predict(inputs, labels.to(self._device))

    def forget(self) -> None:
        """Drops all recordings: the method has new anchors, or states were loaded."""
        self._steps.clear()
        self._predictions.clear()
        if self._device.type != "cuda":  # though what was loaded may be from one
            self._let_optimizer_be_recorded(False)

    def _step(  # noqa: PLR0917 - a batch's columns, in their order
        self,
        task: TaskId,
        observations: Tensor,
        actions: Tensor,
        rewards: Tensor,
        next_observations: Tensor,
        terminated: Tensor,
    ) -> dict[str, Tensor]:
        batch = ReplayBatch(
            observations,
            actions,
            rewards,
            next_observations,
            terminated,
            _constant(task, len(actions)),
        )
        return self._learner.step(batch, task)

    def _learning_rates(self) -> list[object]:
        return [group["lr"] for group in self._learner.optimizer.param_groups]

    def _let_optimizer_be_recorded(self, capturable: bool) -> None:
        """Whether counts of updates are kept, and looked at, on the GPU alone."""
        optimizer = self._learner.optimizer
        for group in optimizer.param_groups:
            if "capturable" in group:
                group["capturable"] = capturable
        for state in optimizer.state.values():
            if capturable and isinstance(state.get("step"), Tensor):
                state["step"] = state["step"].to(self._device)

    def _refuse(self, reason: str) -> None:
        self._is_capturing = False
        self.forget()
        warnings.warn(
            f"updates are not recorded as CUDA graphs but run one kernel after the "
            f"other, which is slower and changes no result: {reason}",
            stacklevel=3,
        )


def why_not_captured(method: Method[ReplayBatch]) -> str | None:
    """Why the steps of ``method`` cannot be recorded; None if they can."""
    for seam, kinds in _CAPTURABLE.items():
        part = getattr(method, seam)
        if not isinstance(part, kinds):
            return f"{type(part).__name__} does part of its work in Python"
    return None


def _constant(task: TaskId, size: int) -> Tensor:
    """Labels on the CPU, where looking at them makes no GPU wait."""
    return torch.full((size,), task)
