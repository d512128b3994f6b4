"""Where a network is trained: the CPU or a GPU, by name."""

import torch

from clrl.errors import ConfigError


def device_of(name: str) -> torch.device:
    """The device called ``name``, a GPU with its number.

    Args:
        name: ``auto`` (a GPU where there is one), ``cpu``, ``cuda``, ``cuda:1``, ….

    Raises:
        ConfigError: It is not here, or torch knows of no such device.
    """
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        name = "cuda" if gpus else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(
            f"expected device auto, cpu, cuda or cuda:N, got {name!r}."
        ) from error
    if device.type != "cuda":
        return device
    if (device.index or 0) >= gpus:
        raise ConfigError(
            f"device {name} is not here: torch sees {gpus} GPUs; choose device auto or "
            "cpu, or check the driver and that torch was built for CUDA."
        )
    current = torch.cuda.current_device()
    return torch.device("cuda", current if device.index is None else device.index)


def device_name(device: torch.device) -> str:
    """``cpu``, or a GPU with its model: ``cuda:0 (NVIDIA H200)``."""
    if device.type != "cuda":
        return str(device)
    return f"{device} ({torch.cuda.get_device_name(device)})"
