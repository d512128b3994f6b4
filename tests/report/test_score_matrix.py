from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from clrl.history import history_of
from clrl.records import Record
from clrl.report.score_matrix import (
    COLOURS,
    colour_of_label,
    draw,
    save_picture,
)
from clrl.summary import summarise_history

from ..synthetic_run import (
    ACCURACIES,
    GAMES,
    description,
    supervised_description,
    supervised_run,
    synthetic_run,
)

TEN_GAMES = (
    "space_invaders",
    "road_runner",
    "krull",
    "gopher",
    "freeway",
    "demon_attack",
    "defender",
    "crazy_climber",
    "breakout",
    "boxing",
)


@pytest.mark.parametrize("games", [("pong",), ("pong", "adventure"), GAMES, TEN_GAMES])
def test_a_picture_is_written_for_any_number_of_games(
    tmp_path: Path, games: tuple[str, ...]
) -> None:
    history = history_of(synthetic_run(games, episodes_per_visit=5))
    summary = summarise_history(history, description(games))
    save_picture(history, summary, tmp_path / "scores.png")
    height, width, _ = imread(tmp_path / "scores.png").shape
    assert width > height > 300


def test_twenty_games_share_little_more_room_than_eight() -> None:
    many = tuple(f"game_{i}" for i in range(20))
    pictures = []
    for games in (many[:8], many):
        history = history_of(synthetic_run(games, episodes_per_visit=5))
        pictures.append(draw(history, summarise_history(history, description(games))))
    few, all_of_them = (picture.get_size_inches().prod() for picture in pictures)
    assert few < all_of_them < 2.5 * few
    names = pictures[1].axes[0].get_xticklabels()
    assert [name.get_text() for name in names] == [f"game {i}" for i in range(20)]
    assert {name.get_rotation() for name in names} == {90}


def test_a_run_that_stopped_before_its_first_visit_has_a_picture(
    tmp_path: Path,
) -> None:
    before: list[Record] = [
        r for r in synthetic_run() if r.kind in ("evaluation", "random_policy")
    ][:6]
    history = history_of(before)
    summary = summarise_history(history, description())
    save_picture(history, summary, tmp_path / "scores.png")
    assert (tmp_path / "scores.png").stat().st_size > 0


def test_every_raw_score_is_written_into_its_cell() -> None:
    history = history_of(synthetic_run())
    summary = summarise_history(history, description())
    texts = [text.get_text() for text in draw(history, summary).axes[0].texts]
    assert len(texts) == len(summary.stages) * len(GAMES)
    assert f"{summary.scores[2][1]:,.0f}" in texts


def test_an_inferred_task_has_the_colour_of_its_game() -> None:
    summary = summarise_history(history_of(synthetic_run()), description())
    assert colour_of_label(1, summary) == COLOURS[1]
    assert colour_of_label(99, summary) not in COLOURS


def test_the_picture_of_a_supervised_run_shows_accuracies() -> None:
    history = history_of(supervised_run())
    summary = summarise_history(history, supervised_description())
    matrix, _colours, strips, first, second = draw(history, summary).axes
    texts = [text.get_text() for text in matrix.texts]
    assert texts == [f"{a:.3f}" for row in ACCURACIES for a in row]
    assert strips.get_xlabel() == "examples"
    for task, axes in enumerate((first, second)):
        ((line,),) = (axes.lines,)
        points = np.stack([line.get_xdata(), line.get_ydata()], axis=1)
        expected = [(100 * i, row[task]) for i, row in enumerate(ACCURACIES)]
        np.testing.assert_allclose(points, expected)
