"""``summary.json`` read back into a ``Summary``."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

from clrl.errors import CheckpointError
from clrl.summary import Summary
from clrl.summary_recognition import RecognitionSummary
from clrl.summary_visits import RandomSummary, VisitSummary

_MATRICES = ("scores", "human_normalised", "human_normalised_57")
_NUMBERS = (
    "total_clipped",
    "acc",
    "bwt",
    "fwt",
    "forgetting",
    "isolated_forgetting",
    "zero_shot_transfer",
    "training_score",
    "total_clipped_57",
    "acc_57",
    "seconds",
)


def read_summary(path: Path) -> Summary:
    """The summary that ``write_summary`` wrote; null is NaN again.

    Raises:
        CheckpointError: The file cannot be read, or another version of clrl wrote it.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return _summary(content)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise CheckpointError(
            f"{path} must hold the fields of this version's summary, got {error!r}; "
            "remove it and read the records again."
        ) from error


def _summary(content: dict[str, Any]) -> Summary:
    # Not in the summaries of runs before there were such scores.
    content = {"relabelled": {}, "acc_relabelled": {}} | content
    expected = [field.name for field in dataclasses.fields(Summary)]
    if sorted(content) != sorted(expected):
        raise ValueError(f"the fields {', '.join(content)}")
    recognition: dict[str, Any] = {
        name: _number(value) for name, value in content["recognition"].items()
    }
    random_policy = content["random_policy"].items()
    read = {
        **{name: tuple(content[name]) for name in ("tasks", "stages", "learned")},
        **{name: _matrix(content[name]) for name in _MATRICES},
        **{name: _number(content[name]) for name in _NUMBERS},
        "recognition": RecognitionSummary(**recognition),
        "visits": tuple(VisitSummary(**visit) for visit in content["visits"]),
        "relabelled": {k: _matrix(rows) for k, rows in content["relabelled"].items()},
        "acc_relabelled": {
            k: _number(value) for k, value in content["acc_relabelled"].items()
        },
        "random_policy": {game: RandomSummary(**r) for game, r in random_policy},
    }
    return Summary(**content | read)


def _matrix(rows: list[list[float | None]]) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(_number(value) for value in row) for row in rows)


def _number(value: float | None) -> float:
    return math.nan if value is None else value
