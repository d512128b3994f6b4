import json
import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib.patches import Rectangle
from rich.console import Console

from clrl.evaluation.recognition import Timeline
from clrl.report.recognition import (
    RecognisedStream,
    draw_contexts,
    draw_timeline,
    recognition_table,
    write_json,
)
from clrl.report.score_matrix import COLOURS


def stream(labels: tuple[int, ...] = (0, 1, 0)) -> RecognisedStream:
    """Two games, the second found 20 steps late; context 2 was made in vain."""
    return RecognisedStream(
        games=("pong", "boxing"),
        recogniser="fmn",
        policy="random policy",
        truth=Timeline(np.array([0, 100, 200]), np.array([0, 1, 0])),
        labels=Timeline(np.array([0, 120, 200]), np.array(labels)),
        total_steps=300,
        frames_per_step=4,
        recognition_seconds=0.6,
        posterior_steps=np.array([0, 100, 200]),
        posterior=np.array([[0.1, 0, 0, 0.9], [0, 0.8, 0, 0.2], [1.0, 0, 0, 0]]),
        screens=np.stack([np.full((42, 42), grey) for grey in (10.0, 90.0, 200.0)]),
    )


def test_the_json_has_the_measures_and_both_timelines(tmp_path: Path) -> None:
    write_json(stream(), tmp_path / "recognition.json")
    written = json.loads((tmp_path / "recognition.json").read_text())
    assert written["measures"]["max_delay_steps"] == 20
    assert written["measures"]["max_delay_frames"] == 80
    assert written["milliseconds_per_step"] == pytest.approx(2)
    assert written["steps_by_game_and_label"] == {"pong": [200, 0], "boxing": [20, 80]}
    assert written["labels"] == {"starts": [0, 120, 200], "values": [0, 1, 0]}


def test_what_does_not_exist_is_null_in_the_json(tmp_path: Path) -> None:
    alone = Timeline(np.array([0]), np.array([0]))
    still = RecognisedStream(**{**vars(stream()), "truth": alone, "labels": alone})
    write_json(still, tmp_path / "recognition.json")
    written = json.loads((tmp_path / "recognition.json").read_text())
    assert written["measures"]["median_delay_steps"] is None


def test_a_label_has_the_colour_of_the_game_it_stands_for() -> None:
    # Label 1 of one recogniser is label 0 of another: the names do not matter.
    for labels in ((0, 1, 0), (1, 0, 1)):
        figure = draw_timeline(stream(labels))
        strips = figure.axes[0].patches
        assert all(isinstance(strip, Rectangle) for strip in strips)
        colours = [strip.get_facecolor() for strip in strips]
        true, found = colours[:3], colours[3:]
        assert true == found
        assert len(set(true)) == 2
    widths = [strip.get_width() for strip in strips if isinstance(strip, Rectangle)]
    assert widths == [100, 100, 100, 120, 80, 100]
    assert COLOURS[0] != COLOURS[1]


def test_more_tasks_than_colours_are_told_apart_by_a_pattern() -> None:
    tasks = 2 * len(COLOURS)
    steps = Timeline(np.arange(tasks), np.arange(tasks))
    many = RecognisedStream(
        **{
            **vars(stream()),
            "games": tuple(f"task {i}" for i in range(tasks)),
            "truth": steps,
            "labels": steps,
            "total_steps": tasks,
        }
    )
    strips = draw_timeline(many).axes[0].patches[:tasks]
    looks = {(strip.get_facecolor(), strip.get_hatch()) for strip in strips}
    assert len(looks) == tasks


def test_the_posterior_is_drawn_with_the_unknown_last() -> None:
    axes = draw_timeline(stream()).axes[1]
    names = [text.get_text() for text in axes.get_yticklabels()]
    assert names == ["0 (pong)", "1 (boxing)", "2", "unknown"]
    drawn = axes.collections[0].get_array()
    assert np.array_equal(np.ravel(np.asarray(drawn)), stream().posterior.T.ravel())


def test_each_context_is_shown_with_its_game(tmp_path: Path) -> None:
    figure = draw_contexts(stream())
    shown = [axes for axes in figure.axes if axes.images]
    titles = [axes.get_title() for axes in shown]
    assert titles == ["0: pong (91%)", "1: boxing (100%)", "2: never the label"]
    assert np.asarray(shown[1].images[0].get_array())[0, 0] == 90
    figure.savefig(tmp_path / "contexts.png")


def test_a_recogniser_without_screens_has_an_empty_picture(tmp_path: Path) -> None:
    blind = RecognisedStream(**{**vars(stream()), "screens": np.zeros((0, 1, 1))})
    assert not any(axes.images for axes in draw_contexts(blind).axes)


def test_the_table_says_the_measures() -> None:
    console = Console(width=100, record=True)
    console.print(recognition_table(stream()))
    text = console.export_text()
    assert re.search(r"longest delay, agent steps\W+20 ", text)
    assert "6.67%" in text
