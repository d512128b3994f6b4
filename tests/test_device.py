"""Where a network is trained, by name."""

import pytest
import torch

from clrl.device import device_name, device_of
from clrl.errors import ConfigError


def test_auto_is_a_gpu_where_there_is_one() -> None:
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert device_of("auto").type == expected
    assert device_of("cpu") == torch.device("cpu")


def test_a_gpu_that_is_not_here_is_refused_not_replaced() -> None:
    missing = f"cuda:{torch.cuda.device_count()}"
    with pytest.raises(ConfigError, match=f"{missing} is not here.*auto or cpu"):
        device_of(missing)


def test_without_a_gpu_cuda_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device_of("auto") == torch.device("cpu")
    with pytest.raises(ConfigError, match="torch sees 0 GPUs"):
        device_of("cuda")


def test_a_name_that_is_none_is_refused_with_what_there_is() -> None:
    with pytest.raises(ConfigError, match="auto, cpu, cuda or cuda:N, got 'gpu'"):
        device_of("gpu")


def test_a_device_is_called_by_its_name() -> None:
    assert device_name(torch.device("cpu")) == "cpu"
