"""What continual-learning methods add to an update of the Atari agent."""

import copy
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from turns import Measurement, alternate, ratio, repeat

from clrl.continual.learner import ContinualLearner
from clrl.continual.methods import EWC, GEM, MAS, Finetune, MethodConfig
from clrl.rl.learner import make_learner
from clrl.rl.policy import ContinualDQNPolicy
from clrl.rl.replay import ReplayBatch
from clrl.types import B

METHODS: Mapping[str, MethodConfig] = {
    "ewc": EWC(importance_batches=1),
    "mas": MAS(importance_batches=1),
    "gem": GEM(),
}
TASKS = (1, 5, 20)
CALLS_PER_GEM_CALL = 25  # GEM's updates take as much longer as there are memories


def method_costs(
    policy: ContinualDQNPolicy,
    sample: Callable[[int], ReplayBatch],
    *,
    batch_size: int,
    repetitions: int,
    calls: int,
) -> Iterator[tuple[str, Measurement]]:
    """Time of an update after some tasks were left, over one of plain fine-tuning.

    Args:
        policy: Is copied; the copies learn.
        sample: Draws transitions from a replay memory.
        batch_size: Of an update.
        repetitions: Turns, over which medians are taken.
        calls: Updates in each turn; of GEM one for ``CALLS_PER_GEM_CALL``.
    """
    batch = sample(batch_size)
    for name, method in METHODS.items():
        updates = max(1, calls // CALLS_PER_GEM_CALL) if name == "gem" else calls
        learners = {"plain": learner_of(policy, Finetune())}
        for tasks in TASKS:
            learners[f"{tasks}"] = learner = learner_of(policy, method)
            memory_size = method.examples_per_task if isinstance(method, GEM) else 1
            leave_tasks(learner, [sample(memory_size) for _ in range(tasks)])
        candidates: dict[str, Callable[[], object]] = {
            # A label that none of the tasks left has.
            n: repeat(functools.partial(learner.step, batch, max(TASKS)), updates)
            for n, learner in learners.items()
        }
        turns = alternate(candidates, repetitions)
        for tasks in TASKS:
            yield (
                f"{name}_overhead_{tasks}",
                Measurement(value=ratio(turns, f"{tasks}", "plain"), unit="times"),
            )


def learner_of(
    policy: ContinualDQNPolicy, method: MethodConfig
) -> ContinualLearner[ReplayBatch]:
    """Learns with a copy of the policy's networks and optimiser."""
    return make_learner(
        copy.deepcopy(policy),
        method,
        gamma=0.99,
        double_q=False,
        max_grad_norm=10,
        precision="float32",
        generator=torch.Generator().manual_seed(0),
    )


def leave_tasks(learner: ContinualLearner[B], batches: Sequence[B]) -> None:
    """Meets one batch of each task, then leaves the task; no weight changes."""
    for task, batch in enumerate(batches):
        learner.method.rehearsal(batch, task)
        learner.leave(task, [batch])
