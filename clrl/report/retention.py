"""What is left of each game at the end of a run."""

from typing import NamedTuple

from clrl.summary import Summary, comparable_scores


class Retention(NamedTuple):
    """One game's score after its own last visit, against its final one.

    Attributes:
        game: Its position among the run's games.
        name: Of the game.
        stage: The stage that ended its last visit, such as ``pong #2``.
        is_last: Whether that is the run's last stage, so that nothing could be lost.
        after: Raw score then.
        best: Best raw score of any stage after training began.
        final: Raw score at the end.
        comparable_after: ``after`` on the scale of the measures: human-normalised, NaN
            where unknown; an accuracy as it is.
        comparable_final: ``final``, likewise.
    """

    game: int
    name: str
    stage: str
    is_last: bool
    after: float
    best: float
    final: float
    comparable_after: float
    comparable_final: float

    @property
    def change(self) -> float:
        """Raw; negative where the game was forgotten."""
        return self.final - self.after

    @property
    def comparable_change(self) -> float:
        """Its mean over games not trained last is BWT."""
        return self.comparable_final - self.comparable_after


def retention(summary: Summary) -> list[Retention]:
    """One row for each game that was visited and then scored, in the games' order."""
    stages = len(summary.stages)
    last = {
        visit.game: stage
        for stage, visit in enumerate(summary.visits[: stages - 1], start=1)
    }
    rows = []
    for game, name in enumerate(summary.tasks):
        if name not in last:
            continue
        stage = last[name]
        comparable = [row[game] for row in comparable_scores(summary)]
        raw = [row[game] for row in summary.scores]
        rows.append(
            Retention(
                game=game,
                name=name,
                stage=summary.stages[stage],
                is_last=stage == stages - 1,
                after=raw[stage],
                best=max(raw[1:]),
                final=raw[-1],
                comparable_after=comparable[stage],
                comparable_final=comparable[-1],
            )
        )
    return rows
