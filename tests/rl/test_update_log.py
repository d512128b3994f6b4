"""What updates report is read at once on a CPU, and together on a GPU."""

from collections.abc import Callable

import pytest
import torch

from clrl.continual.methods import Finetune
from clrl.errors import DivergenceError
from clrl.rl.dqn import ContinualDQN
from clrl.rl.update_log import UpdateLog

from .test_loop import NUM_ENVS, agent_of

UPDATES_OF_A_GPU = 100


def reported(number: int) -> dict[str, torch.Tensor]:
    return {"loss": torch.tensor(float(number)), "norm": torch.tensor(-1.0)}


def test_a_cpu_is_read_after_every_update() -> None:
    log = UpdateLog(torch.device("cpu"))
    assert not log.is_due
    log.add(reported(3))
    assert log.is_due
    assert list(log.read()) == [{"loss": 3.0, "norm": -1.0}]
    assert not log.is_due
    assert list(log.read()) == []


def test_a_gpu_is_read_after_many_updates_the_oldest_first() -> None:
    log = UpdateLog(torch.device("cuda"))
    scalars = reported(0)
    for number in range(UPDATES_OF_A_GPU):
        assert not log.is_due
        # As a graph does: the same memory is written to in every update.
        scalars["loss"].fill_(number)
        log.add(scalars)
    assert log.is_due
    assert [named["loss"] for named in log.read()] == list(range(UPDATES_OF_A_GPU))


def agent_that_reads_seldom() -> ContinualDQN:
    agent = agent_of(Finetune(), "cpu")
    agent.update_log = UpdateLog(torch.device("cuda"))
    return agent


def test_means_do_not_depend_on_how_often_they_are_read() -> None:
    often, seldom = agent_of(Finetune(), "cpu"), agent_that_reads_seldom()
    for agent in (often, seldom):
        agent.learn(60 * NUM_ENVS, log_interval=None)  # type: ignore[arg-type]
    assert seldom.update_means.drain() == {}
    seldom.read_updates()
    assert seldom.update_means.drain() == often.update_means.drain()


@pytest.mark.parametrize(
    "make", [lambda: agent_of(Finetune(), "cpu"), agent_that_reads_seldom]
)
def test_the_update_that_broke_is_named_however_late_it_is_read(
    make: Callable[[], ContinualDQN], monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = make()
    step = agent.learner.step

    def breaking(batch: object, task: int) -> dict[str, torch.Tensor]:
        metrics = step(batch, task)  # type: ignore[arg-type]
        if agent._n_updates == 6:
            metrics["loss"] = torch.tensor(float("nan"))
        return metrics

    monkeypatch.setattr(agent.captured, "step", breaking)
    with pytest.raises(DivergenceError, match="loss became nan at update 7 "):
        agent.learn(60 * NUM_ENVS)
        agent.read_updates()
