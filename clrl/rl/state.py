"""What an agent knows about its tasks besides its weights, as tensors by name."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from clrl.continual.learner import Method
from clrl.recognition.protocol import TaskRecogniser
from clrl.rl.exploration import TaskTimers
from clrl.rl.policy import ContinualDQNPolicy
from clrl.rl.replay import ReplayBatch


@dataclass(frozen=True, kw_only=True)
class ContinualState:
    """Method, recogniser, ε timers and current label of an agent, to be saved."""

    method: Method[ReplayBatch]
    recogniser: TaskRecogniser
    timers: TaskTimers
    policy: ContinualDQNPolicy

    def state_dict(self) -> dict[str, Tensor]:
        """All by name: ``method.*``, ``recogniser.*``, ``timer.<task>``, ``task``."""
        state = {"task": torch.tensor(self.policy.task)}
        for name, tensor in self.method.state_dict().items():
            state[f"method.{name}"] = tensor
        for name, array in self.recogniser.state_dict().items():
            state[f"recogniser.{name}"] = torch.from_numpy(array.copy())
        for task, steps in self.timers.state_dict().items():
            state[f"timer.{task}"] = torch.tensor(steps)
        return state

    def load_state_dict(self, state: Mapping[str, Tensor], strict: bool = True) -> None:
        """Restores what ``state_dict`` returned.

        Args:
            state: As ``state_dict`` returned it.
            strict: Accepted for Stable-Baselines3; the state is always taken whole.
        """
        del strict
        self.policy.task = int(state["task"])
        self.method.load_state_dict(_part(state, "method."))
        self.recogniser.load_state_dict(
            {name: t.cpu().numpy() for name, t in _part(state, "recogniser.").items()}
        )
        self.timers.load_state_dict(
            {int(task): int(steps) for task, steps in _part(state, "timer.").items()}
        )


def _part(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in state.items()
        if name.startswith(prefix)
    }
