"""Saving and loading what a method has gathered, as a flat dict of tensors."""

from collections.abc import Collection, Mapping
from typing import Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class Stateful(Protocol):
    """Something whose state round-trips through a flat dict of tensors."""

    def state_dict(self) -> dict[str, Tensor]:
        """All that ``load_state_dict`` needs; the tensors are not copies."""
        ...

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Replaces the state by ``state``.

        Raises:
            ValueError: If ``state`` is of something else.
        """
        ...


class Stateless:
    """Base of choices that remember nothing."""

    def state_dict(self) -> dict[str, Tensor]:
        """Empty."""
        return {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Nothing, if there is nothing to load.

        Raises:
            ValueError: If there is.
        """
        if state:
            raise ValueError(
                f"{self.__class__.__name__} remembers nothing, so its state must be "
                f"empty, got {sorted(state)}; load it into the method it came from."
            )


def join_states(parts: Mapping[str, Stateful]) -> dict[str, Tensor]:
    """The states of ``parts`` in one flat dict, ``part.name`` by ``part.name``."""
    return join_tensors({part: owner.state_dict() for part, owner in parts.items()})


def join_tensors(parts: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The tensors of ``parts`` in one flat dict, ``part.name`` by ``part.name``."""
    return {
        f"{part}.{name}": tensor
        for part, tensors in parts.items()
        for name, tensor in tensors.items()
    }


def split_state(
    state: Mapping[str, Tensor], parts: Collection[str]
) -> dict[str, dict[str, Tensor]]:
    """The inverse of ``join_states``: a state for each of ``parts``, perhaps empty.

    Raises:
        ValueError: If a name belongs to none of ``parts``.
    """
    split: dict[str, dict[str, Tensor]] = {part: {} for part in parts}
    for full_name, tensor in state.items():
        part, _, name = full_name.partition(".")
        if part not in split:
            raise ValueError(
                f"a saved name must begin with one of {sorted(parts)}, "
                f"got {full_name!r}; load the state of the same kind of method."
            )
        split[part][name] = tensor
    return split
