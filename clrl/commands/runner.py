"""What trains and evaluates the runs of a config's domain."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, cast, runtime_checkable

from clrl.progress import Listener
from clrl.run_directory import RunDirectory

if TYPE_CHECKING:
    from clrl.config.any_domain import CommonConfig
    from clrl.records import Evaluation, Labelling, Relabelled


@runtime_checkable
class Runner(Protocol):
    """The module that trains and evaluates the runs of a domain."""

    def check(self, config: "CommonConfig") -> None:
        """Refuses what is wrong with a config, before anything is written."""
        ...

    def train(
        self, config: "CommonConfig", directory: RunDirectory, listener: Listener
    ) -> None:
        """Trains, and keeps what comes out."""
        ...

    def evaluate(
        self,
        directory: RunDirectory,
        episodes: int | None,
        listener: Listener,
        also_under: "Sequence[Labelling] | None" = None,
    ) -> list["Evaluation | Relabelled"]:
        """Scores all tasks with what was kept."""
        ...


def runner_of(config: "CommonConfig") -> Runner:
    """What runs a config; only the modules of its own domain are imported."""
    from clrl.config.supervised import SupervisedRunConfig

    if isinstance(config, SupervisedRunConfig):
        from clrl.run import supervised

        return cast("Runner", supervised)
    from clrl.run import games

    return cast("Runner", games)
