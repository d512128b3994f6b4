"""The values that learnt parameters are held to, and which of them hold when."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from torch import Tensor

from clrl.continual.state import Stateful
from clrl.errors import ConfigError
from clrl.types import Parameters, TaskId


class Anchor(NamedTuple):
    """Parameters to stay near (``theta*``), and how much each matters (``Omega``)."""

    parameters: Parameters
    importance: Parameters


@runtime_checkable
class Anchors(Stateful, Protocol):
    """Which anchors are kept, and which of them hold during a task."""

    def add(self, task: TaskId, anchor: Anchor) -> None:
        """Takes the anchor of ``task``, which was just left.

        Raises:
            ValueError: If its parameters are not those of the earlier anchors.
        """
        ...

    def active(self, task: TaskId) -> Sequence[Anchor]:
        """The anchors that hold while ``task`` is the current task."""
        ...

    def of(self, task: TaskId) -> Anchor | None:
        """The anchor that holds ``task``; None if there is none yet."""
        ...


class PerTaskAnchors:
    """One anchor for each task left; leaving a task again replaces its anchor.

    Kirkpatrick et al. (2017), Atari experiments: one penalty per task, recomputed each
    time the task is left.

    Args:
        own_task_active: Whether a task that returns is held by its own old anchor too.
            The paper speaks of active constraints without saying which; off, a task is
            free to improve on what it was.
    """

    def __init__(self, *, own_task_active: bool = False) -> None:
        self._own_task_active = own_task_active
        self._anchors: dict[TaskId, Anchor] = {}

    def add(self, task: TaskId, anchor: Anchor) -> None:
        """Keeps ``anchor`` for ``task``, in place of an earlier one.

        Raises:
            ValueError: If its parameters are not those of the other anchors.
        """
        for earlier in self._anchors.values():
            require_same_shapes(anchor.parameters, earlier.parameters)
        self._anchors[task] = anchor

    def active(self, task: TaskId) -> list[Anchor]:
        """All anchors, less that of ``task`` itself unless ``own_task_active``."""
        # By task, not by time: sums in floating point must not depend on a resume.
        return [
            self._anchors[other]
            for other in sorted(self._anchors)
            if other != task or self._own_task_active
        ]

    def of(self, task: TaskId) -> Anchor | None:
        """The anchor of ``task``; None if it was never left."""
        return self._anchors.get(task)

    def state_dict(self) -> dict[str, Tensor]:
        """The anchors: ``<task>.parameters.<name>``, ``<task>.importance.<name>``."""
        return {
            f"{task}.{name}": tensor
            for task, anchor in self._anchors.items()
            for name, tensor in _anchor_state(anchor).items()
        }

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Replaces all anchors.

        Raises:
            ValueError: If ``state`` was not saved from per-task anchors.
        """
        split: dict[TaskId, dict[str, Tensor]] = {}
        for full_name, tensor in state.items():
            task, _, name = full_name.partition(".")
            if not task.isdecimal():
                raise ValueError(
                    f"a per-task anchor's name must begin with its task, got "
                    f"{full_name!r}; load the state of the same kind of penalty."
                )
            split.setdefault(int(task), {})[name] = tensor
        self._anchors = {task: _anchor_of(part) for task, part in split.items()}


class OnlineAnchor:
    """One anchor for everything learnt so far, at the parameters of the task left last.

    Its importance is ``decay`` times the old plus the new one: Schwarz et al. (2018),
    online EWC. It holds during every task. With ``decay`` 0 only the last solution
    counts.

    Args:
        decay: Share of the old importance that stays, in [0, 1]; 1 forgets nothing.

    Raises:
        ConfigError: If ``decay`` is outside [0, 1].
    """

    def __init__(self, decay: float) -> None:
        if not 0 <= decay <= 1:
            raise ConfigError(
                f"decay must be between 0 and 1, got {decay}; "
                "1 keeps the importance of all tasks, 0 that of the last one only."
            )
        self._decay = decay
        self._anchor: Anchor | None = None

    def add(self, task: TaskId, anchor: Anchor) -> None:
        """Moves the anchor to ``anchor``; adds its importance to the decayed old one.

        Raises:
            ValueError: If its parameters are not those of the earlier anchor.
        """
        del task
        if self._anchor is not None:
            require_same_shapes(anchor.parameters, self._anchor.parameters)
            old = self._anchor.importance
            importance = {
                name: self._decay * old[name].to(new.device) + new
                for name, new in anchor.importance.items()
            }
            anchor = Anchor(anchor.parameters, importance)
        self._anchor = anchor

    def active(self, task: TaskId) -> list[Anchor]:
        """The one anchor, whatever the task; none before the first task is left."""
        del task
        return [] if self._anchor is None else [self._anchor]

    def of(self, task: TaskId) -> Anchor | None:
        """The one anchor, whatever the task; None before the first task is left."""
        del task
        return self._anchor

    def state_dict(self) -> dict[str, Tensor]:
        """The anchor, as ``parameters.<name>`` and ``importance.<name>``."""
        return {} if self._anchor is None else _anchor_state(self._anchor)

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Replaces the anchor.

        Raises:
            ValueError: If ``state`` was not saved from an online anchor.
        """
        self._anchor = _anchor_of(state) if state else None


def require_same_shapes(
    got: Mapping[str, Tensor], expected: Mapping[str, Tensor]
) -> None:
    """Checks that two sets of parameters have the same names and shapes.

    Raises:
        ValueError: If they have not, naming one parameter that differs.
    """
    for name in sorted(got.keys() | expected.keys()):
        shapes = [tuple(p[name].shape) if name in p else None for p in (expected, got)]
        if shapes[0] != shapes[1]:
            raise ValueError(
                f"shared parameter {name!r} must have shape {shapes[0]} as anchored, "
                f"got {shapes[1]} (None: absent); the network must not change while "
                "its parameters are anchored."
            )


def _anchor_state(anchor: Anchor) -> dict[str, Tensor]:
    return {
        f"{part}.{name}": tensor
        for part, tensors in anchor._asdict().items()
        for name, tensor in tensors.items()
    }


def _anchor_of(state: Mapping[str, Tensor]) -> Anchor:
    parts: dict[str, Parameters] = {part: {} for part in Anchor._fields}
    for full_name, tensor in state.items():
        part, _, name = full_name.partition(".")
        if part not in parts:
            raise ValueError(
                f"an anchor's tensors must be named {' or '.join(parts)}, then the "
                f"parameter, got {full_name!r}; load the state of the same penalty."
            )
        parts[part][name] = tensor.detach().clone()
    anchor = Anchor(**parts)
    require_same_shapes(anchor.importance, anchor.parameters)
    return anchor
