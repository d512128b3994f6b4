"""Learners that are not told when the task changes, on tasks that can be told apart."""

from typing import Any

import numpy as np
import pytest
import torch

from clrl.continual.methods import METHODS
from clrl.evaluation.recognition import adjusted_rand_index
from clrl.recognition.image_recognisers import (
    FlatImageRecogniser,
    ImageRecogniserConfig,
    TreeImageRecogniser,
)
from clrl.recognition.recognisers import OracleRecogniser
from clrl.supervised.data import DATASETS, load_mnist
from clrl.supervised.evaluate import score_tasks
from clrl.supervised.stream import TaskStream
from clrl.supervised.streams import Permutations

from ..fakes import parameters_of
from .original_files import MNIST_DIR, needs_mnist
from .small import stream
from .test_train import Diary, trainer_of

BOTH = [FlatImageRecogniser, TreeImageRecogniser]


def digits(**changes: Any) -> TaskStream:
    """Three permutations of digits, which return."""
    values: dict[str, Any] = {
        "visits": (0, 1, 2, 1, 0),
        "examples_per_task": 60,
        "batch_size": 12,
    }
    data = DATASETS["digits"].load(None)
    made: TaskStream = stream(Permutations(tasks=3), data, **(values | changes))
    return made


@pytest.mark.parametrize("method", METHODS)
def test_every_method_learns_the_same_as_if_it_were_told(method: str) -> None:
    told_diary, diary = Diary(), Diary()
    told, trainer = (
        trainer_of(digits(), METHODS[method](), labels, learning_rate=1e-3)
        for labels in (OracleRecogniser(), FlatImageRecogniser())
    )
    told.learn(told_diary)
    trainer.learn(diary)
    assert diary.events == told_diary.events
    assert sum("label" in event for event in diary.events) == 5
    for ours, theirs in zip(
        parameters_of(trainer.network), parameters_of(told.network), strict=True
    ):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("recogniser", BOTH)
def test_tasks_may_own_layers_under_inferred_labels(
    recogniser: type[ImageRecogniserConfig],
) -> None:
    heads: dict[str, Any] = {"task_head": True, "max_tasks": 3}
    told = trainer_of(digits(), None, OracleRecogniser(), **heads)
    trainer = trainer_of(digits(), None, recogniser(max_contexts=3), **heads)
    for each in (told, trainer):
        each.learn(Diary())
    scores = list(score_tasks(trainer))
    assert [score.label for score in scores] == [0, 1, 2]
    assert scores == list(score_tasks(told))


@pytest.mark.parametrize("recogniser", BOTH)
def test_a_restored_recogniser_names_the_same_tasks(
    recogniser: type[ImageRecogniserConfig],
) -> None:
    trained, fresh = (trainer_of(digits(), None, recogniser()) for _ in range(2))
    trained.learn(Diary())
    fresh.load_state_dict(trained.state_dict())
    assert [score.label for score in score_tasks(fresh)] == [0, 1, 2]


def contingency_of(made: TaskStream, recogniser: ImageRecogniserConfig) -> np.ndarray:
    """Examples by true task and label, as a trainer would label them."""
    labeller = recogniser.build(lambda: -1)
    table = np.zeros((len(made.tasks), recogniser.max_contexts), np.int64)
    for visit, task in enumerate(made.visits):
        for examples, *_ in made.batches(visit):
            label = labeller.observe(examples.images.numpy())
            table[task, label] += len(examples.labels)
    return table


@needs_mnist
@pytest.mark.slow
@pytest.mark.parametrize("recogniser", BOTH)
def test_twenty_permutations_of_mnist_are_told_apart(
    recogniser: type[ImageRecogniserConfig],
) -> None:
    made = stream(
        Permutations(tasks=20),
        load_mnist(MNIST_DIR.parent),
        examples_per_task=1_000,
        batch_size=10,
    )
    table = contingency_of(made, recogniser())
    assert adjusted_rand_index(table) >= 0.99
    assert np.sum(table.sum(axis=0) > 0) == 20
