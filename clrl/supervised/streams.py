"""The streams a config can name: how tasks are made from one data set."""

import abc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from clrl.checks import check_at_least, check_positive
from clrl.errors import ConfigError
from clrl.seeding import generator_of
from clrl.supervised.transforms import (
    Permuted,
    Rotated,
    Transform,
    Unchanged,
    central_permutation,
)

Scenario: TypeAlias = Literal["task", "domain", "class"]
"""What is asked of a learner at test time; van de Ven and Tolias (2019).

``task``: which of the task's classes, the task being told. ``domain``: which of the
task's classes, as the first, the second, …. ``class``: which of all classes.
"""


@dataclass(frozen=True, kw_only=True)
class ClassificationTask:
    """A task that is made from a part of a data set.

    Attributes:
        name: Unlike any other task's in the stream.
        label_of: The label that each class of the data set has in this task; examples
            of other classes do not belong to it.
        classes: The labels that may be answered.
        transform: What is done to the images.
    """

    name: str
    label_of: Mapping[int, int]
    classes: frozenset[int]
    transform: Transform


@dataclass(frozen=True, kw_only=True)
class StreamConfig(abc.ABC):
    """How tasks are made from a data set."""

    @property
    def told_tasks(self) -> bool:
        """Whether only a learner that is told the task can solve it."""
        return False

    @property
    def turns_within_visits(self) -> bool:
        """Whether a visit's first images differ in kind from its last."""
        return False

    @abc.abstractmethod
    def task_names(self, dataset: str, classes: int) -> tuple[str, ...]:
        """The tasks' names, for a data set of that name and number of classes.

        Raises:
            ConfigError: The data set cannot be divided as the config asks.
        """

    @abc.abstractmethod
    def build(
        self, dataset: str, classes: int, image_shape: Sequence[int], seed: int
    ) -> list[ClassificationTask]:
        """The tasks, in the order of their numbers.

        Args:
            dataset: Its name.
            classes: Of the data set.
            image_shape: [H, W] or [channels, H, W].
            seed: Of all randomness in the tasks.

        Raises:
            ConfigError: The data set cannot be divided as the config asks.
        """


@dataclass(frozen=True, kw_only=True)
class Plain(StreamConfig):
    """The data set as it is: one task."""

    def task_names(self, dataset: str, classes: int) -> tuple[str, ...]:
        """The data set's name."""
        del classes
        return (dataset,)

    def build(
        self, dataset: str, classes: int, image_shape: Sequence[int], seed: int
    ) -> list[ClassificationTask]:
        """One task."""
        del image_shape, seed
        return [_whole(dataset, classes, Unchanged())]


@dataclass(frozen=True, kw_only=True)
class Permutations(StreamConfig):
    """Each task sees the pixels in another random order: Kirkpatrick et al. (2017)."""

    tasks: int = 10
    """Number of tasks (ibid., fig. 3B: up to 10)."""

    square: int | None = None
    """Side in pixels of the central square that is permuted; null: the whole image
    (ibid., fig. 3C: 8 and 26)."""

    first_unchanged: bool = False
    """Whether the first task sees the images as they are; our choice."""

    def __post_init__(self) -> None:
        """Raises ConfigError where a value is out of range."""
        check_at_least("stream.tasks", self.tasks, 1)
        if self.square is not None:
            check_at_least("stream.square", self.square, 1)

    def task_names(self, dataset: str, classes: int) -> tuple[str, ...]:
        """``permutation_1``, ``permutation_2``, …."""
        del dataset, classes
        return _numbered("permutation", self.tasks)

    def build(
        self, dataset: str, classes: int, image_shape: Sequence[int], seed: int
    ) -> list[ClassificationTask]:
        """One permutation for each task, all different streams of the seed.

        Raises:
            ConfigError: The square is larger than the images.
        """
        height, width = image_shape[-2:]
        side = self.square
        if side is not None and side > min(height, width):
            raise ConfigError(
                f"stream.square must be at most {min(height, width)} for images of "
                f"{height}x{width} pixels, got {side}; lower it."
            )
        transforms: list[Transform] = [
            Permuted(self._order(height, width, generator_of(seed, "permutation", i)))
            for i in range(self.tasks)
        ]
        if self.first_unchanged:
            transforms[0] = Unchanged()
        names = self.task_names(dataset, classes)
        return [
            _whole(name, classes, transform)
            for name, transform in zip(names, transforms, strict=True)
        ]

    def _order(self, height: int, width: int, rng: np.random.Generator) -> Tensor:
        if self.square is None:
            return torch.from_numpy(rng.permutation(height * width))
        return central_permutation(height, width, self.square, rng)


@dataclass(frozen=True, kw_only=True)
class Rotations(StreamConfig):
    """Each task sees the images at another angle: Lopez-Paz and Ranzato (2017)."""

    tasks: int = 20
    """Number of tasks, which divide ``degrees`` into as many equal bins (ibid.)."""

    degrees: float = 180.0
    """The whole range of angles (ibid.)."""

    turning: bool = False
    """Off: one angle for each task, uniform in its bin (ibid.). On: the angle runs
    through the bin while the task is seen, so that the tasks are one continuous turn
    (Cheung et al., 2019); a task's test images are spread over its bin."""

    def __post_init__(self) -> None:
        """Raises ConfigError where a value is out of range."""
        check_at_least("stream.tasks", self.tasks, 1)
        check_positive("stream.degrees", self.degrees)

    @property
    def turns_within_visits(self) -> bool:
        """As the key ``turning`` says."""
        return self.turning

    def task_names(self, dataset: str, classes: int) -> tuple[str, ...]:
        """``rotation_1``, ``rotation_2``, …."""
        del dataset, classes
        return _numbered("rotation", self.tasks)

    def build(
        self, dataset: str, classes: int, image_shape: Sequence[int], seed: int
    ) -> list[ClassificationTask]:
        """One bin of angles for each task."""
        del image_shape
        bin_degrees = self.degrees / self.tasks
        tasks = []
        for i, name in enumerate(self.task_names(dataset, classes)):
            start, end = i * bin_degrees, (i + 1) * bin_degrees
            if not self.turning:
                start = end = generator_of(seed, "rotation", i).uniform(start, end)
            tasks.append(_whole(name, classes, Rotated(start, end)))
        return tasks


@dataclass(frozen=True, kw_only=True)
class Split(StreamConfig):
    """Each task holds some of the classes."""

    tasks: int = 5
    """Number of tasks; must divide the number of classes (Zenke et al., 2017: 5)."""

    scenario: Scenario = "task"
    """``task``: only the task's classes may be answered, so it must be told (recogniser
    oracle). ``domain``: the first class of each task is 0, the second 1, …. ``class``:
    any class may be answered."""

    shuffled_classes: bool = False
    """Whether the seed decides which classes go together; off: in their order."""

    def __post_init__(self) -> None:
        """Raises ConfigError where a value is out of range."""
        check_at_least("stream.tasks", self.tasks, 1)

    @property
    def told_tasks(self) -> bool:
        """In the scenario ``task``."""
        return self.scenario == "task"

    def task_names(self, dataset: str, classes: int) -> tuple[str, ...]:
        """``split_1``, ``split_2``, ….

        Raises:
            ConfigError: The tasks do not divide the classes.
        """
        del dataset
        if classes % self.tasks:
            divisors = [n for n in range(1, classes + 1) if classes % n == 0]
            raise ConfigError(
                f"stream.tasks must divide the {classes} classes evenly, got "
                f"{self.tasks}; use one of {', '.join(map(str, divisors))}."
            )
        return _numbered("split", self.tasks)

    def build(
        self, dataset: str, classes: int, image_shape: Sequence[int], seed: int
    ) -> list[ClassificationTask]:
        """One group of classes for each task.

        Raises:
            ConfigError: The tasks do not divide the classes.
        """
        del image_shape
        names = self.task_names(dataset, classes)
        order = np.arange(classes)
        if self.shuffled_classes:
            order = generator_of(seed, "classes").permutation(classes)
        groups = order.reshape(self.tasks, -1).tolist()
        return [
            self._task(name, group, classes)
            for name, group in zip(names, groups, strict=True)
        ]

    def _task(self, name: str, group: list[int], classes: int) -> ClassificationTask:
        label_of = {c: c for c in group}
        answers = range(classes) if self.scenario == "class" else group
        if self.scenario == "domain":
            label_of = {c: i for i, c in enumerate(group)}
            answers = range(len(group))
        return ClassificationTask(
            name=name,
            label_of=label_of,
            classes=frozenset(answers),
            transform=Unchanged(),
        )


STREAMS: Mapping[str, type[StreamConfig]] = MappingProxyType(
    {
        "plain": Plain,
        "permutations": Permutations,
        "rotations": Rotations,
        "split": Split,
    }
)
"""The streams by the name a config gives them."""


def _numbered(stem: str, count: int) -> tuple[str, ...]:
    return tuple(f"{stem}_{number}" for number in range(1, count + 1))


def _whole(name: str, classes: int, transform: Transform) -> ClassificationTask:
    """A task of all classes."""
    return ClassificationTask(
        name=name,
        label_of={c: c for c in range(classes)},
        classes=frozenset(range(classes)),
        transform=transform,
    )
