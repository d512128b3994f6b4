"""The loop: what happens when, and that it learns, forgets and remembers."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from clrl.continual.importance import UNLABELLED
from clrl.continual.learner import ContinualLearner
from clrl.continual.methods import EWC, Domain, Finetune, MethodConfig
from clrl.continual.task_layers import LayerPerTask
from clrl.errors import ConfigError, DivergenceError
from clrl.metrics import Consolidated
from clrl.recognition.recognisers import (
    OneTaskRecogniser,
    OracleRecogniser,
    RecogniserConfig,
)
from clrl.supervised.data import DATASETS
from clrl.supervised.evaluate import score_tasks
from clrl.supervised.objective import STATISTICS, CrossEntropy
from clrl.supervised.stopping import AllPasses, Stopping
from clrl.supervised.stream import ExampleBatch, TaskStream
from clrl.supervised.streams import Permutations
from clrl.supervised.train import Memories, Trainer

from ..fakes import ScriptedLabels, Taped, parameters_of
from .small import as_set, mlp, stream, visit


class Diary:
    """Writes down what the trainer tells."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    def started(self, trainer: Trainer) -> None:
        self.events.append("started")

    def labelled(self, trainer: Trainer) -> None:
        self.events.append(f"label {trainer.task} at {trainer.examples}")

    def left(self, trainer: Trainer, consolidated: Consolidated) -> None:
        self.events.append(f"left {consolidated.task} at {trainer.examples}")

    def visit_started(self, trainer: Trainer, visit: int) -> None:
        self.events.append(f"visit {visit} at {trainer.examples}")

    def updated(self, trainer: Trainer, metrics: Mapping[str, float]) -> None:
        pass

    def visit_ended(self, trainer: Trainer, visit: int) -> None:
        self.events.append(f"visit {visit} ended at {trainer.examples}")


def trainer_of(
    made: TaskStream,
    method: MethodConfig | None = None,
    recogniser: RecogniserConfig | None = None,
    *,
    learning_rate: float = 0.1,
    memory_examples: int = 1_000,
    of_test: bool = False,
    stopping: Stopping | None = None,
    **network: Any,
) -> Trainer:
    torch.manual_seed(0)
    shape = made.dataset.train.images.shape[1:]
    net = mlp(shape, made.n_outputs, (50,), **network)
    domain = Domain[ExampleBatch](
        statistics=STATISTICS,
        batch_type=ExampleBatch,
        objective=CrossEntropy(),
        generator=torch.Generator().manual_seed(0),
    )
    return Trainer(
        stream=made,
        learner=ContinualLearner(
            network=net,
            optimizer=torch.optim.SGD(net.parameters(), lr=learning_rate),
            objective=CrossEntropy(),
            method=(method or Finetune()).build(domain),
        ),
        recogniser=recogniser or OracleRecogniser(),
        memories=Memories(examples=memory_examples, batch_size=8, of_test=of_test),
        seed=0,
        stopping=stopping or AllPasses(),
    )


def test_a_told_learner_leaves_each_task_before_it_is_scored() -> None:
    diary = Diary()
    trainer_of(stream(Permutations(tasks=2), passes=2), Taped()).learn(diary)
    assert diary.events == [
        "started",
        "label 0 at 0",
        "visit 0 at 0",
        "left 0 at 48",
        "label 1 at 48",
        "visit 0 ended at 48",
        "visit 1 at 48",
        "left 1 at 96",
        "visit 1 ended at 96",
    ]


def test_a_learner_that_is_not_told_leaves_one_task_at_the_end() -> None:
    diary = Diary()
    trainer = trainer_of(stream(Permutations(tasks=2)), Taped(), OneTaskRecogniser())
    trainer.learn(diary)
    assert [e for e in diary.events if "left" in e or "label" in e] == [
        "label 0 at 0",
        "left 0 at 48",
    ]


def test_a_label_that_comes_late_leaves_the_task_it_stood_for() -> None:
    diary = Diary()
    labels = ScriptedLabels(labels=(0,) * 6 + (1,))  # a visit has 5 batches
    trainer_of(stream(Permutations(tasks=2)), Taped(), labels).learn(diary)
    assert diary.events[3:7] == [
        "visit 0 ended at 24",
        "visit 1 at 24",
        "left 0 at 29",
        "label 1 at 29",
    ]


def test_a_task_is_left_with_its_own_examples_under_its_own_label() -> None:
    method = Taped()
    made = stream(Permutations(tasks=2), passes=3)
    trainer_of(made, method).learn(Diary())
    assert [task for task, _ in method.tape] == [0, 1]
    for task, batches in method.tape:
        images = torch.cat([batch.inputs for batch in batches])
        assert len(images) == 24  # each once, though it was shown three times
        assert as_set(images) == as_set(visit(made, task)[0])
        assert all((batch.task == task).all() for batch in batches)


def test_a_memory_keeps_no_more_than_it_may() -> None:
    method = Taped()
    made = stream(Permutations(tasks=1))
    trainer_of(made, method, memory_examples=10).learn(Diary())
    ((_, batches),) = method.tape
    assert sum(len(batch.labels) for batch in batches) == 10


def digits() -> TaskStream:
    """Two permutations of 400 digits."""
    made = stream(
        Permutations(tasks=2),
        DATASETS["digits"].load(None),
        batch_size=20,
        passes=8,
        examples_per_task=400,
    )
    assert isinstance(made, TaskStream)
    return made


def accuracies(trainer: Trainer) -> list[float]:
    return [score.accuracy for score in score_tasks(trainer)]


def test_ewc_keeps_what_finetuning_forgets() -> None:
    finetuned, held = trainer_of(digits()), trainer_of(digits(), EWC(strength=30.0))
    untrained = accuracies(finetuned)
    finetuned.learn(Diary())
    held.learn(Diary())
    assert max(untrained) < 0.3
    (forgot, learnt), (kept, also_learnt) = accuracies(finetuned), accuracies(held)
    assert min(learnt, also_learnt) > 0.6
    assert kept > forgot + 0.1


def test_the_same_seed_trains_the_same_weights() -> None:
    first, second = (
        trainer_of(stream(Permutations(tasks=2))),
        trainer_of(stream(Permutations(tasks=2))),
    )
    first.learn(Diary())
    second.learn(Diary())
    for a, b in zip(
        parameters_of(first.network), parameters_of(second.network), strict=True
    ):
        assert torch.equal(a, b)


def test_scoring_leaves_the_learner_as_it_was() -> None:
    trainer = trainer_of(stream(Permutations(tasks=2)), hidden_dropout=0.5)
    weights, label = parameters_of(trainer.network), trainer.task
    assert accuracies(trainer) == accuracies(trainer)
    assert trainer.network.training
    assert trainer.task == label
    for a, b in zip(weights, parameters_of(trainer.network), strict=True):
        assert torch.equal(a, b)


def test_an_accuracy_is_the_share_of_test_examples_that_are_right() -> None:
    made = stream(Permutations(tasks=2))
    trainer = trainer_of(made)
    for task, score in enumerate(score_tasks(trainer)):
        examples = made.test(task)
        right = 0
        for image, label in zip(*examples, strict=True):
            logits = trainer.network(image[None], torch.tensor([task]))
            right += int(logits.argmax() == label)
        assert score.accuracy == right / len(examples.labels)
        assert (score.name, score.label) == (f"permutation_{task + 1}", task)
        assert score.examples == len(examples.labels)


def test_tasks_are_scored_under_the_label_that_is_recognised() -> None:
    labels = ScriptedLabels(labels=(0, 1), at_evaluation=1)
    trainer = trainer_of(
        stream(Permutations(tasks=2)), recogniser=labels, task_head=True, max_tasks=2
    )
    told = trainer_of(stream(Permutations(tasks=2)), task_head=True, max_tasks=2)
    scores = list(score_tasks(trainer))
    assert [score.label for score in scores] == [1, 1]
    assert scores[1] == list(score_tasks(told))[1]


def test_a_loss_that_is_not_finite_stops_the_run_with_what_to_do() -> None:
    trainer = trainer_of(stream(Permutations(tasks=1), passes=20), learning_rate=1e30)
    with pytest.raises(DivergenceError, match=r"became .* at update.*learning rate"):
        trainer.learn(Diary())


def test_an_importance_may_be_of_test_images_without_their_labels() -> None:
    method = Taped()
    made = stream(Permutations(tasks=2))
    trainer_of(made, method, of_test=True).learn(Diary())
    assert [task for task, _ in method.tape] == [0, 1]
    for task, batches in method.tape:
        images = torch.cat([batch.inputs for batch in batches])
        assert as_set(images) == as_set(made.test(task).images)
        assert all((batch.labels == UNLABELLED).all() for batch in batches)


class Starts(Diary):
    """Keeps each task's own head as it was when the task began and when it ended."""

    def __init__(self) -> None:
        super().__init__()
        self.begun: list[Tensor] = []
        self.ended: list[Tensor] = []

    def labelled(self, trainer: Trainer) -> None:
        self.begun.append(self._head(trainer, trainer.task))

    def visit_ended(self, trainer: Trainer, visit: int) -> None:
        self.ended.append(self._head(trainer, trainer.stream.visits[visit]))

    def _head(self, trainer: Trainer, task: int) -> Tensor:
        head = trainer.network.layers[-1]
        assert isinstance(head, LayerPerTask)
        weight: Tensor = head.layers[task].weight  # type: ignore[assignment]
        return weight.detach().clone()


@pytest.mark.parametrize("copied", [False, True])
def test_a_new_tasks_layers_begin_as_those_of_the_task_before(copied: bool) -> None:
    made = stream(Permutations(tasks=3), visits=(1, 0, 1, 2))
    trainer = trainer_of(made, task_head=True, max_tasks=3, task_layers_copied=copied)
    starts = Starts()
    trainer.learn(starts)
    first, second, back, third = starts.begun
    assert torch.equal(second, starts.ended[0]) == copied
    assert torch.equal(third, starts.ended[2]) == copied
    # What a task has learnt is not lost when it returns.
    assert torch.equal(back, starts.ended[0])
    assert not torch.equal(first, starts.ended[0])


def test_more_tasks_than_layers_of_their_own_are_refused() -> None:
    trainer = trainer_of(stream(Permutations(tasks=2)), task_head=True, max_tasks=1)
    with pytest.raises(ConfigError, match="max_tasks"):
        trainer.learn(Diary())


def test_a_state_restores_label_method_and_recogniser() -> None:
    made = stream(Permutations(tasks=2))
    trained, fresh = trainer_of(made, EWC()), trainer_of(made, EWC())
    trained.learn(Diary())
    fresh.load_state_dict(trained.state_dict())
    assert fresh.task == 1
    assert (fresh.examples, fresh.updates) == (trained.examples, trained.updates)
    assert fresh.recogniser.contexts == 2
    again = fresh.state_dict()
    assert again.keys() == trained.state_dict().keys()
    for name, tensor in trained.state_dict().items():
        assert torch.equal(again[name], tensor)
    assert any(name.startswith("method.penalty.1.importance") for name in again)
