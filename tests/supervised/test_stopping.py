"""When a visit ends, and with which weights."""

import copy
from itertools import accumulate
from statistics import fmean
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from clrl.continual.learner import ContinualLearner
from clrl.continual.methods import EWC, SI, Finetune, MethodConfig
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


def digits(visits: tuple[int, ...] = (0, 1)) -> TaskStream:
    """Two permutations of a few digits; others to validate on are its test examples."""
    made = stream(
        Permutations(tasks=2),
        DATASETS["digits"].load(None).holding_out(200),
        visits=visits,
        passes=PASSES,
        examples_per_task=EXAMPLES,
        batch_size=10,
    )
    assert isinstance(made, TaskStream)
    return made


def stopped(
    patience_passes: int,
    learning_rate: float,
    method: MethodConfig | None = None,
    visits: tuple[int, ...] = (0, 1),
) -> tuple[Trainer, list[str]]:
    """What a trainer did."""
    made = digits(visits)
    trainer = trainer_of(
        made,
        method,
        learning_rate=learning_rate,
        stopping=EarlyStopping(made, patience_passes),
    )
    diary = Diary()
    trainer.learn(diary)
    return trainer, diary.events


def ends(events: list[str]) -> list[int]:
    """After how many examples of training each visit ended."""
    return [int(e.split()[-1]) for e in events if "ended" in e]


def test_each_kind_of_stopping_is_one() -> None:
    assert isinstance(AllPasses(), Stopping)
    assert isinstance(EarlyStopping(digits(), 0), Stopping)


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


class Twin(NamedTuple):
    """What a loop by hand found.

    Attributes:
        trainer: After the best pass of the last visit.
        shown: Examples that each visit showed.
        best_passes: The best pass of each visit, counted from 0.
        left: State of the method and weights when each visit was left.
    """

    trainer: Trainer
    shown: list[int]
    best_passes: list[int]
    left: list[tuple[dict[str, Tensor], list[Tensor]]]


def by_hand(
    patience_passes: int,
    learning_rate: float,
    method: MethodConfig | None = None,
    visits: tuple[int, ...] = (0, 1),
) -> Twin:
    """Keeps a copy of everything after each pass, and goes on from the best one."""
    made = digits(visits)
    twin = trainer_of(made, method, learning_rate=learning_rate)
    found = Twin(twin, [], [], [])
    for number, task in enumerate(visits):
        accuracies: list[float] = []
        copies: list[ContinualLearner[ExampleBatch]] = []
        for passed in range(PASSES):
            for images, labels in _batches(made, number, passed):
                batch = ExampleBatch(images, labels, torch.full_like(labels, task))
                twin.learner.step(batch, task)
            met = set(visits[: number + 1])
            accuracies.append(fmean(_accuracy(twin, k) for k in met))
            copies.append(copy.deepcopy(twin.learner))
            if len(accuracies) - 1 - _first_best(accuracies) > patience_passes:
                break
        best = _first_best(accuracies)
        found.best_passes.append(best)
        found.shown.append(len(accuracies) * EXAMPLES)
        kept = copies[best]
        twin.network.load_state_dict(kept.network.state_dict())
        twin.learner.method.load_state_dict(kept.method.state_dict())
        if number + 1 == len(visits) or visits[number + 1] != task:
            twin.learner.leave(task, [])
        found.left.append((twin.learner.method.state_dict(), _weights(twin)))
    return found


@pytest.mark.parametrize("visits", [(0, 1), (0, 1, 0)])
@pytest.mark.parametrize("patience_passes", [0, 2])
@pytest.mark.parametrize("method", [Finetune(), SI(strength=0.5)])
def test_the_best_pass_over_all_tasks_met_is_kept_as_a_loop_by_hand_finds_it(
    method: MethodConfig, patience_passes: int, visits: tuple[int, ...]
) -> None:
    trainer, events = stopped(patience_passes, 0.2, method, visits)
    twin = by_hand(patience_passes, 0.2, method, visits)
    assert ends(events) == list(accumulate(twin.shown))
    assert min(twin.shown) < PASSES * EXAMPLES  # something ended early
    assert max(twin.best_passes) > 0
    for a, b in zip(_weights(trainer), _weights(twin.trainer), strict=True):
        assert torch.equal(a, b)
    state, expected = trainer.learner.method.state_dict(), twin.left[-1][0]
    assert state.keys() == expected.keys()
    for name, tensor in state.items():
        assert torch.equal(tensor, expected[name]), name


def test_a_task_is_consolidated_at_the_weights_that_came_back() -> None:
    trainer, _ = stopped(2, 0.1, EWC(strength=1.0, importance_batches=2))
    state = trainer.learner.method.state_dict()
    for name, parameter in trainer.network.named_parameters():
        assert torch.equal(state[f"penalty.1.parameters.{name}"], parameter)


def _first_best(accuracies: list[float]) -> int:
    return accuracies.index(max(accuracies))


def _weights(trainer: Trainer) -> list[Tensor]:
    return parameters_of(trainer.network)


def _batches(made: TaskStream, visit: int, number: int) -> list[tuple[Tensor, Tensor]]:
    """The batches of one pass of a visit."""
    size = EXAMPLES // made.batch_size
    arrivals = list(made.batches(visit))[number * size : (number + 1) * size]
    return [(a.examples.images, a.examples.labels) for a in arrivals]


def _accuracy(trainer: Trainer, task: int) -> float:
    images, labels = trainer.stream.test(task)
    right = trainer.network(images, torch.full_like(labels, task)).argmax(1) == labels
    return int(right.sum()) / len(labels)
