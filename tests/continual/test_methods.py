from dataclasses import FrozenInstanceError, replace

import pytest
import torch
from jaxtyping import Float
from torch import Tensor

from clrl.continual.learner import ContinualLearner
from clrl.continual.methods import (
    EWC,
    GEM,
    L2,
    METHODS,
    ExperienceReplay,
    Finetune,
    MethodConfig,
    OnlineEWC,
    PublishedRMA,
)
from clrl.continual.network import ContinualNetwork
from clrl.errors import ConfigError, MemoryBudgetError

from .toy import (
    HiddenLayer,
    LinearNetwork,
    OfOutputs,
    ToyBatch,
    cross_entropy,
    domain,
    seeded,
    toy_batch,
)

# ``s`` whose Fisher is that of the mean of a unit Gaussian: the first output.
GAUSSIAN_MEAN = OfOutputs(lambda outputs: outputs[:, 0])


def squared_error(network: ContinualNetwork, batch: ToyBatch) -> Float[Tensor, "B"]:
    outputs = network(batch.inputs, batch.task)
    error: Tensor = outputs[:, 0] - batch.labels
    return error.square() / 2


def regression(
    task: int, scales: tuple[float, ...], slopes: tuple[float, ...]
) -> ToyBatch:
    """A target linear in four inputs of different ``scales``."""
    x = torch.randn(256, 4, generator=seeded(task)) * torch.tensor(scales)
    return ToyBatch(x, x @ torch.tensor(slopes), torch.full((256,), task))


def train(learner: ContinualLearner[ToyBatch], batch: ToyBatch, task: int) -> None:
    for _ in range(200):
        learner.step(batch, task)
    learner.leave(task, [batch])


def losses_after_both_tasks(config: MethodConfig) -> tuple[float, float]:
    """Mean losses on the first and on the second task, after training on one by one."""
    network = LinearNetwork(4, 1)
    # Both tasks need the second input, and disagree about it.
    tasks = [
        regression(0, scales=(1.0, 1.0, 0.1, 0.1), slopes=(2.0, -1.0, 0.0, 0.0)),
        regression(1, scales=(0.5, 0.5, 1.0, 1.0), slopes=(0.0, 1.0, 3.0, -1.0)),
    ]
    learner = ContinualLearner(
        network=network,
        optimizer=torch.optim.SGD(network.parameters(), lr=0.05),
        objective=squared_error,
        method=config.build(replace(domain(), statistics={"gaussian": GAUSSIAN_MEAN})),
    )
    for task, batch in enumerate(tasks):
        train(learner, batch, task)
    losses = [squared_error(network, batch).mean().item() for batch in tasks]
    return losses[0], losses[1]


def test_ewc_forgets_less_than_finetuning_and_learns_more_than_l2() -> None:
    finetune, finetune_new = losses_after_both_tasks(Finetune())
    _, l2_new = losses_after_both_tasks(L2(strength=2.0))
    ewc, ewc_new = losses_after_both_tasks(EWC(strength=2.0))
    online, _ = losses_after_both_tasks(OnlineEWC(strength=2.0))
    assert ewc < finetune / 3
    assert ewc == pytest.approx(online)
    assert finetune_new < ewc_new < l2_new


def test_methods_are_known_by_their_names() -> None:
    assert METHODS["ewc"] is EWC
    assert len(set(METHODS.values())) == len(METHODS)


@pytest.mark.parametrize("config", METHODS.values())
def test_a_method_is_built_fresh_from_frozen_knobs(config: type[MethodConfig]) -> None:
    network, batch = HiddenLayer(), toy_batch((5, 3))
    used, fresh = config().build(domain()), config().build(domain())
    empty = fresh.state_dict()
    learner = ContinualLearner(
        network=network,
        optimizer=torch.optim.SGD(network.parameters(), lr=0.1),
        objective=cross_entropy,
        method=used,
    )
    learner.step(batch, task=0)
    learner.leave(0, [batch])
    assert used.state_dict().keys() > empty.keys() or config is Finetune
    assert fresh.state_dict().keys() == empty.keys()
    with pytest.raises(FrozenInstanceError):
        config().strength = 2.0  # type: ignore[attr-defined]


@pytest.mark.parametrize("config", [EWC, OnlineEWC])
def test_the_domain_says_which_importance_is_meant(
    config: type[EWC] | type[OnlineEWC],
) -> None:
    network, batches = LinearNetwork(3, 4), [toy_batch((5, 3))]

    def trace(name: str | None) -> float:
        method = config(importance=name).build(domain())
        recorded = method.consolidation.leave(network, 0, batches)
        return recorded["importance_trace"].item()

    assert trace(None) == trace("sampled")
    assert len({trace(name) for name in ("sampled", "exact", "empirical")}) == 3


def test_an_unknown_importance_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ConfigError, match="unknown importance 'exakt'; did you mean"):
        EWC(importance="exakt").build(domain())


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (EWC(strength=-1.0), "strength must be"),
        (L2(strength=float("nan")), "strength must be"),
        (EWC(importance_batches=0), "at least 1 batch"),
        (OnlineEWC(decay=1.5), "decay must be"),
    ],
)
def test_knobs_out_of_range_are_refused_before_any_work(
    config: MethodConfig, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        config.build(domain())


@pytest.mark.parametrize("config", [ExperienceReplay, PublishedRMA])
def test_one_memory_smaller_than_the_tasks_is_refused(
    config: type[ExperienceReplay] | type[PublishedRMA],
) -> None:
    config(examples=20).check_tasks(20)
    with pytest.raises(
        ConfigError, match="at least 20, an example of each task, got 19"
    ):
        config(examples=19).check_tasks(20)
    EWC().check_tasks(10**6)


def test_memories_that_cannot_hold_all_tasks_are_refused_before_any_work() -> None:
    gem = GEM(examples_per_task=256, memory_gib=1.0)
    gem.check_memory(4, 2**20)
    with pytest.raises(
        MemoryBudgetError, match=r"1\.25 GiB \(5 tasks of 256 examples of 1,048,576"
    ):
        gem.check_memory(5, 2**20)
    with pytest.raises(MemoryBudgetError, match="2,000 examples of 1,048,576 bytes"):
        ExperienceReplay(examples=2_000).check_memory(5, 2**20)
    EWC().check_memory(10**6, 2**20)


def test_own_task_active_reaches_the_penalty() -> None:
    network, batches = LinearNetwork(3, 4), [toy_batch((5, 3))]
    values = []
    for own in (False, True):
        method = EWC(own_task_active=own).build(domain())
        method.consolidation.leave(network, 0, batches)
        moved = {
            name: torch.nn.Parameter(p + 1)
            for name, p in network.shared_parameters().items()
        }
        values.append(method.penalty.add_gradient(moved, task=0).item())
    assert values[0] == 0 < values[1]
