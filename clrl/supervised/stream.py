"""The examples of a sequence of tasks, batch by batch."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from clrl.errors import ConfigError
from clrl.seeding import generator_of
from clrl.supervised.data import Dataset, Examples
from clrl.supervised.streams import ClassificationTask
from clrl.types import TaskId


class ExampleBatch(NamedTuple):
    """Examples, each with the task that it is trained under.

    Attributes:
        inputs: Images, 0 to 255; the network scales them.
        labels: The class of each image.
        task: The learner's label of the task.
    """

    inputs: UInt8[Tensor, "B *image"]
    labels: Int64[Tensor, "B"]
    task: Int64[Tensor, "B"]

    @classmethod
    def of(cls, examples: Examples, task: TaskId) -> "ExampleBatch":
        """``examples``, all under ``task``."""
        return cls(*examples, torch.full_like(examples.labels, task))


class Arrival(NamedTuple):
    """A batch as the stream gives it, which does not say what task it is of.

    Attributes:
        examples: The images and their labels.
        is_new: Whether the visit has not shown them before.
        ends_pass: Whether the visit has shown every example equally often after it.
    """

    examples: Examples
    is_new: bool
    ends_pass: bool


@dataclass(frozen=True, kw_only=True)
class TaskStream:
    """Visits to tasks, one after the other.

    A *visit* is one stay in a task; in each *pass* of a visit every example of the task
    is seen once, in a new order. The same seed gives the same batches.

    Attributes:
        dataset: What the tasks are made from, where the batches shall be.
        tasks: By their numbers.
        visits: The task of each visit.
        batch_size: Examples of a batch; the last one of a pass may be smaller.
        passes: Passes of each visit, also called epochs, where no visit ends early.
        examples_per_task: Examples that a task has, drawn once; None: all.
        test_examples: Test examples that a task has, drawn once; None: all.
        seed: Of draws and orders.

    Raises:
        ConfigError: A task has fewer examples than ``examples_per_task`` or
            ``test_examples``.
    """

    dataset: Dataset
    tasks: Sequence[ClassificationTask]
    visits: Sequence[TaskId]
    batch_size: int
    passes: int
    examples_per_task: int | None
    test_examples: int | None = None
    seed: int
    _rows: list[Int64[Tensor, "N"]] = field(init=False, repr=False)
    _test_rows: list[Int64[Tensor, "N"]] = field(init=False, repr=False)
    _tests: dict[TaskId, Examples] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        """Draws the examples of each task."""
        numbers = range(len(self.tasks))
        rows = [self._training_rows(number) for number in numbers]
        object.__setattr__(self, "_rows", rows)
        rows = [self._testing_rows(number) for number in numbers]
        object.__setattr__(self, "_test_rows", rows)

    @property
    def n_outputs(self) -> int:
        """The number of labels in all tasks together."""
        return 1 + max(max(task.classes) for task in self.tasks)

    @property
    def total_examples(self) -> int:
        """Examples that all visits show, each counted in every pass."""
        return sum(self.visit_examples(visit) for visit in range(len(self.visits)))

    def visit_examples(self, visit: int) -> int:
        """Examples that one visit shows, each counted in every pass."""
        return self.passes * len(self._rows[self.visits[visit]])

    def batches(self, visit: int) -> Iterator[Arrival]:
        """The batches of a visit."""
        task = self.visits[visit]
        rows = self._rows[task]
        total = len(rows) * self.passes
        for number in range(self.passes):
            rng = generator_of(self.seed, "order", visit, number)
            order = rows[torch.from_numpy(rng.permutation(len(rows))).to(rows.device)]
            seen = number * len(rows)
            progress = torch.arange(seen, seen + len(rows)) / max(total - 1, 1)
            # A whole pass at once: transforming batch by batch costs more in overhead.
            examples = self._examples(task, self.dataset.train, order, progress)
            left = len(rows)
            pieces = (torch.split(tensor, self.batch_size) for tensor in examples)
            for images, labels in zip(*pieces, strict=True):
                left -= len(labels)
                yield Arrival(
                    Examples(images, labels), is_new=number == 0, ends_pass=left == 0
                )

    def test(self, task: TaskId) -> Examples:
        """The test examples of a task."""
        if task not in self._tests:
            rows = self._test_rows[task]
            progress = torch.linspace(0, 1, len(rows))
            self._tests[task] = self._examples(task, self.dataset.test, rows, progress)
        return self._tests[task]

    def _training_rows(self, task: TaskId) -> Int64[Tensor, "N"]:
        rows = self._rows_of(task, self.dataset.train)
        wanted = self.examples_per_task
        rng = generator_of(self.seed, "examples", task)
        return self._drawn(rows, wanted, rng, task, "training.examples_per_task")

    def _testing_rows(self, task: TaskId) -> Int64[Tensor, "N"]:
        rows = self._rows_of(task, self.dataset.test)
        rng = generator_of(self.seed, "test examples", task)
        return self._drawn(rows, self.test_examples, rng, task, "test_examples")

    def _drawn(
        self,
        rows: Int64[Tensor, "N"],
        wanted: int | None,
        rng: np.random.Generator,
        task: TaskId,
        key: str,
    ) -> Int64[Tensor, "M"]:
        """``wanted`` of the rows; all, in their order, if that is None."""
        if len(rows) == 0:
            raise ConfigError(
                f"task {self.tasks[task].name} must have examples to train on and to "
                "be scored on, got none; raise held_out_examples or "
                "training.validation_examples, or lower them if little else is left."
            )
        if wanted is None:
            return rows
        if wanted > len(rows):
            raise ConfigError(
                f"{key} must be at most {len(rows)}, the examples of task "
                f"{self.tasks[task].name}, got {wanted}; lower it."
            )
        drawn = rng.permutation(len(rows))[:wanted]
        return rows[torch.from_numpy(drawn).to(rows.device)]

    def _rows_of(self, task: TaskId, examples: Examples) -> Int64[Tensor, "N"]:
        classes = torch.tensor(sorted(self.tasks[task].label_of))
        belongs = torch.isin(examples.labels, classes.to(examples.labels.device))
        return belongs.nonzero()[:, 0]

    def _examples(
        self,
        task: TaskId,
        source: Examples,
        rows: Int64[Tensor, "N"],
        progress: Float[Tensor, "N"],
    ) -> Examples:
        label_of = self.tasks[task].label_of
        table = torch.tensor([label_of.get(c, -1) for c in range(self.dataset.classes)])
        images = self.tasks[task].transform(source.images[rows], progress)
        return Examples(images, table.to(rows.device)[source.labels[rows]])


def fixed_order(tasks: int, visits_per_task: int) -> tuple[TaskId, ...]:
    """The tasks by their numbers, then again."""
    return tuple(range(tasks)) * visits_per_task


def random_order(tasks: int, visits_per_task: int, seed: int) -> tuple[TaskId, ...]:
    """Rounds of all tasks, each in a random order."""
    rng = generator_of(seed, "visits")
    return tuple(int(t) for _ in range(visits_per_task) for t in rng.permutation(tasks))
