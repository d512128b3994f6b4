"""The agent at play, from files beside the run, as part of its report."""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

_TYPES = {"png": "image/png", "mp4": "video/mp4"}


class Play(NamedTuple):
    """What there is to see of one game.

    Attributes:
        game: Its name.
        filmstrip: A PNG as a data URI; None without one.
        video: An MP4 likewise.
        left_out: Names of files for which the report has no room.
    """

    game: str
    filmstrip: str | None
    video: str | None
    left_out: tuple[str, ...]


def plays(videos: Path, games: Sequence[str], room_bytes: int) -> list[Play]:
    """The games of which there is a file, in order.

    Filmstrips come before videos where there is not room for everything, because they
    can be printed.

    Args:
        videos: A directory with ``<game>.png`` and ``<game>.mp4``; need not exist.
        games: Of the run.
        room_bytes: That all of them may take in the report.
    """
    uris: dict[tuple[str, str], str] = {}
    left_out: dict[str, list[str]] = {game: [] for game in games}
    for kind, media_type in _TYPES.items():
        for game in games:
            path = videos / f"{game}.{kind}"
            if not path.is_file():
                continue
            size = 4 * -(-path.stat().st_size // 3) + 100
            if size > room_bytes:
                left_out[game].append(f"videos/{path.name}")
                continue
            room_bytes -= size
            data = base64.b64encode(path.read_bytes()).decode("ascii")
            uris[game, kind] = f"data:{media_type};base64,{data}"
    found = [
        Play(
            game,
            uris.get((game, "png")),
            uris.get((game, "mp4")),
            tuple(left_out[game]),
        )
        for game in games
    ]
    return [play for play in found if play.filmstrip or play.video or play.left_out]
