"""What a report calls things: a run is on games, or on tasks of images."""

from typing import NamedTuple

from clrl.summary import Measure


class Words(NamedTuple):
    """Names for what runs of every domain have.

    Attributes:
        task: What is learnt.
        tasks: Several of them.
        steps: What training is counted in.
        scale: Of the scores that the measures are computed on.
    """

    task: str
    tasks: str
    steps: str
    scale: str


_WORDS: dict[Measure, Words] = {
    "return": Words(
        "game",
        "games",
        "agent steps",
        "human-normalised score (0 random, 1 human)",
    ),
    "accuracy": Words("task", "tasks", "examples", "accuracy"),
}


def words_of(measure: Measure) -> Words:
    """The words for runs whose scores are of this kind."""
    return _WORDS[measure]
