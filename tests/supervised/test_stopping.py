"""When a visit ends, and with which weights."""

from statistics import fmean
from typing import Any

import pytest
import torch
from torch import Tensor

from clrl.supervised.data import DATASETS
from clrl.supervised.stopping import AllPasses, EarlyStopping, Stopping
from clrl.supervised.stream import ExampleBatch, TaskStream
from clrl.supervised.streams import Permutations
from clrl.supervised.train import Trainer

from ..fakes import parameters_of
from .small import stream
from .test_train import Diary, trainer_of

PASSES = 12
EXAMPLES = 60


def streams() -> tuple[TaskStream, TaskStream]:
    """Two permutations of a few digits, and the same with others to validate on."""
    data = DATASETS["digits"].load(None)
    held_out = data.holding_out(200)
    changes: dict[str, Any] = {
        "passes": PASSES,
        "examples_per_task": EXAMPLES,
        "batch_size": 10,
    }
    config = Permutations(tasks=2)
    return stream(config, held_out, **changes), stream(config, held_out, **changes)


def stopped(patience_passes: int, learning_rate: float) -> tuple[Trainer, list[str]]:
    """What a trainer did."""
    made, validation = streams()
    trainer = trainer_of(
        made,
        learning_rate=learning_rate,
        stopping=EarlyStopping(validation, patience_passes),
    )
    diary = Diary()
    trainer.learn(diary)
    return trainer, diary.events


def ends(events: list[str]) -> list[int]:
    """After how many examples of training each visit ended."""
    return [int(e.split()[-1]) for e in events if "ended" in e]


def test_each_kind_of_stopping_is_one() -> None:
    _, validation = streams()
    assert isinstance(AllPasses(), Stopping)
    assert isinstance(EarlyStopping(validation, 0), Stopping)


@pytest.mark.parametrize("patience_passes", [0, 1, 4])
def test_a_visit_in_which_nothing_is_learnt_ends_after_the_patience(
    patience_passes: int,
) -> None:
    _, events = stopped(patience_passes, learning_rate=1e-12)
    visit = (1 + patience_passes + 1) * EXAMPLES  # the best pass, then one too many
    assert ends(events) == [visit, 2 * visit]


def test_patience_that_never_ends_shows_all_passes() -> None:
    _, events = stopped(PASSES, learning_rate=1e-12)
    assert ends(events) == [PASSES * EXAMPLES, 2 * PASSES * EXAMPLES]


@pytest.mark.parametrize("patience_passes", [0, 2])
def test_the_best_pass_over_all_tasks_met_is_kept_as_a_loop_by_hand_finds_it(
    patience_passes: int,
) -> None:
    trainer, events = stopped(patience_passes, learning_rate=0.2)
    made, validation = streams()
    twin = trainer_of(made, learning_rate=0.2)
    best_passes, shown = [], []
    for task in range(2):
        accuracies: list[float] = []
        weights: list[list[Tensor]] = []
        for number in range(PASSES):
            for images, labels in _batches(made, task, number):
                batch = ExampleBatch(images, labels, torch.full_like(labels, task))
                twin.learner.step(batch, task)
            met = range(task + 1)
            accuracies.append(fmean(_accuracy(twin, validation, k) for k in met))
            weights.append([p.clone() for p in parameters_of(twin.network)])
            if len(accuracies) - 1 - _first_best(accuracies) > patience_passes:
                break
        best = _first_best(accuracies)
        best_passes.append(best)
        shown.append(len(accuracies) * EXAMPLES)
        with torch.no_grad():
            for parameter, kept in zip(
                twin.network.parameters(), weights[best], strict=True
            ):
                parameter.copy_(kept)
    assert ends(events) == [shown[0], sum(shown)]
    assert min(shown) < PASSES * EXAMPLES  # something ended early
    assert max(best_passes) > 0
    for a, b in zip(
        parameters_of(trainer.network), parameters_of(twin.network), strict=True
    ):
        assert torch.equal(a, b)


def _first_best(accuracies: list[float]) -> int:
    return accuracies.index(max(accuracies))


def _batches(made: TaskStream, visit: int, number: int) -> list[tuple[Tensor, Tensor]]:
    """The batches of one pass of a visit."""
    size = EXAMPLES // made.batch_size
    arrivals = list(made.batches(visit))[number * size : (number + 1) * size]
    return [(a.examples.images, a.examples.labels) for a in arrivals]


def _accuracy(trainer: Trainer, validation: TaskStream, task: int) -> float:
    images, labels = validation.test(task)
    right = trainer.network(images, torch.full_like(labels, task)).argmax(1) == labels
    return int(right.sum()) / len(labels)
