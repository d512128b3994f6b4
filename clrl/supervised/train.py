"""The loop: batch, label, gradient step, and what happens when a task is left."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from clrl.continual.importance import UNLABELLED
from clrl.continual.learner import ContinualLearner
from clrl.errors import CheckpointError, DivergenceError
from clrl.metrics import Consolidated
from clrl.recognition.recognisers import RecogniserConfig
from clrl.seeding import generator_of
from clrl.supervised.data import Examples
from clrl.supervised.memory import TaskSample
from clrl.supervised.network import MLP
from clrl.supervised.stopping import Stopping
from clrl.supervised.stream import ExampleBatch, TaskStream
from clrl.types import TaskId


@runtime_checkable
class Observer(Protocol):
    """Is told what happens in training."""

    def started(self, trainer: "Trainer") -> None:
        """Nothing has been learnt yet."""
        ...

    def labelled(self, trainer: "Trainer") -> None:
        """``trainer.task`` is another label than before, or the first one."""
        ...

    def left(self, trainer: "Trainer", consolidated: Consolidated) -> None:
        """A task was left and its method had something to report."""
        ...

    def visit_started(self, trainer: "Trainer", visit: int) -> None:
        """The next update is the first one of a visit."""
        ...

    def updated(self, trainer: "Trainer", metrics: Mapping[str, float]) -> None:
        """A gradient step was taken."""
        ...

    def visit_ended(self, trainer: "Trainer", visit: int) -> None:
        """A visit is over; the weights are those that it leaves.

        If the recogniser noticed the end of the task, that was consolidated already.
        """
        ...


class SilentObserver:
    """Keeps nothing."""

    def started(self, trainer: "Trainer") -> None:
        """Nothing."""

    def labelled(self, trainer: "Trainer") -> None:
        """Nothing."""

    def left(self, trainer: "Trainer", consolidated: Consolidated) -> None:
        """Nothing."""

    def visit_started(self, trainer: "Trainer", visit: int) -> None:
        """Nothing."""

    def updated(self, trainer: "Trainer", metrics: Mapping[str, float]) -> None:
        """Nothing."""

    def visit_ended(self, trainer: "Trainer", visit: int) -> None:
        """Nothing."""


@dataclass(frozen=True, kw_only=True)
class Memories:
    """How much is kept of each task.

    Attributes:
        examples: Examples of each label.
        batch_size: Of the batches that its importance is averaged over.
        of_test: Whether the importance is of test images without labels; labels must
            then be the true tasks' numbers.
    """

    examples: int
    batch_size: int
    of_test: bool = False


class Trainer:
    """Learns from a stream, task by task, under the labels of a recogniser.

    Args:
        stream: Gives the batches.
        learner: Takes the steps; its network is an ``MLP``.
        recogniser: What labels the batches; it sees the images only.
        memories: How much is kept of each task.
        seed: Of the memories.
        stopping: Whether a visit ends before its last pass.

    Attributes:
        task: The label of the current batch.
        examples: Training examples so far, each counted in every pass.
        updates: Gradient steps so far.
    """

    def __init__(
        self,
        *,
        stream: TaskStream,
        learner: ContinualLearner[ExampleBatch],
        recogniser: RecogniserConfig,
        memories: Memories,
        seed: int,
        stopping: Stopping,
    ) -> None:
        self.stream = stream
        self.learner = learner
        self.recogniser_config = recogniser
        self.recogniser = recogniser.build(lambda: self._true_task)
        self.task: TaskId = 0
        self.examples = 0
        self.updates = 0
        self._true_task: TaskId = 0
        self._memories = memories
        self._stopping = stopping
        self._seed = seed
        self._samples: dict[TaskId, TaskSample] = {}

    @property
    def network(self) -> MLP:
        """The network that learns."""
        network = self.learner.network
        assert isinstance(network, MLP)
        return network

    def learn(self, observer: Observer) -> None:
        """Trains on the whole stream; the last task is left at its end, as all others.

        Raises:
            DivergenceError: Loss, penalty or gradient is not finite.
            ConfigError: The recogniser finds more tasks than the network has room for.
        """
        observer.started(self)
        is_labelled = False
        for visit, true_task in enumerate(self.stream.visits):
            self._true_task = true_task
            is_first = True
            met = self.stream.visits[: visit + 1]
            for examples, is_new, ends_pass in self.stream.batches(visit):
                before = self.task
                self._follow_label(examples, observer)
                if not is_labelled or self.task != before:
                    observer.labelled(self)
                    is_labelled = True
                if is_first:
                    # A told learner has left the last task when that is scored: what a
                    # method does then (merge weights, say) is part of its result.
                    if visit > 0:
                        observer.visit_ended(self, visit - 1)
                    observer.visit_started(self, visit)
                    is_first = False
                self._update(examples, is_new, observer)
                if ends_pass and self._stopping.is_over(self.learner, met):
                    break
            self._stopping.ended(self.learner)
        self._leave(observer)
        observer.visit_ended(self, len(self.stream.visits) - 1)

    def state_dict(self) -> dict[str, Tensor]:
        """All but the weights: ``task``, counts, ``method.*``, ``recogniser.*``."""
        state = {
            "task": torch.tensor(self.task),
            "examples": torch.tensor(self.examples),
            "updates": torch.tensor(self.updates),
        }
        for name, tensor in self.learner.method.state_dict().items():
            state[f"method.{name}"] = tensor
        for name, array in self.recogniser.state_dict().items():
            state[f"recogniser.{name}"] = torch.from_numpy(array.copy())
        return state

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restores what ``state_dict`` returned.

        Raises:
            CheckpointError: An earlier version saved it, without the counts.
        """
        if not {"examples", "updates"} <= state.keys():
            raise CheckpointError(
                "the checkpoint must hold the counts of examples and updates, got that "
                "of an earlier version; train the run again."
            )
        self.task = int(state["task"])
        self.examples = int(state["examples"])
        self.updates = int(state["updates"])
        parts: dict[str, dict[str, Tensor]] = {"method": {}, "recogniser": {}}
        for full_name, tensor in state.items():
            part, _, name = full_name.partition(".")
            if part in parts:
                parts[part][name] = tensor
        self.learner.method.load_state_dict(parts["method"])
        self.recogniser.load_state_dict(
            {name: tensor.cpu().numpy() for name, tensor in parts["recogniser"].items()}
        )

    def _follow_label(self, examples: Examples, observer: Observer) -> None:
        """Asks the recogniser which task is seen, and changes over if it is another."""
        task = self.recogniser.observe(examples.images.cpu().numpy())
        if task != self.task:
            self._leave(observer)
            self.network.require_room(task)
            if self.task in self._samples and task not in self._samples:
                self.network.begin(task, after=self.task)
            self.task = task

    def _leave(self, observer: Observer) -> None:
        if self.task not in self._samples:
            return
        sample = self._test_sample() if self._memories.of_test else self._sample()
        batches = sample.batches(self._memories.batch_size)
        metrics = self.learner.leave(self.task, batches)
        if metrics:
            values = {name: float(metric) for name, metric in metrics.items()}
            observer.left(self, Consolidated(self.task, values))

    def _update(self, examples: Examples, is_new: bool, observer: Observer) -> None:
        batch = ExampleBatch.of(examples, self.task)
        if is_new:  # later passes show what the visit has offered to the memory
            self._sample().add(batch)
        metrics = self.learner.step(batch, self.task)
        self.examples += len(examples.labels)
        self.updates += 1
        values = torch.stack([metric.detach() for metric in metrics.values()]).tolist()
        named = dict(zip(metrics, values, strict=True))
        for name, value in named.items():
            if not isfinite(value):
                raise DivergenceError(
                    f"{name} became {value} at update {self.updates} ({self.examples} "
                    f"examples, task {self.task}); lower the learning rate or the "
                    "method's strength."
                )
        observer.updated(self, named)

    def _sample(self) -> TaskSample:
        if self.task not in self._samples:
            self._samples[self.task] = self._empty_sample()
        return self._samples[self.task]

    def _test_sample(self) -> TaskSample:
        images, labels = self.stream.test(self.task)
        unlabelled = Examples(images, torch.full_like(labels, UNLABELLED))
        sample = self._empty_sample()
        sample.add(ExampleBatch.of(unlabelled, self.task))
        return sample

    def _empty_sample(self) -> TaskSample:
        seed = int(generator_of(self._seed, "memory", self.task).integers(2**63))
        generator = torch.Generator().manual_seed(seed)
        return TaskSample(self._memories.examples, generator)
