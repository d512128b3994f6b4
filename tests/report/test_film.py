"""Frames, strips and animations, read back pixel by pixel."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from clrl.report.film import HEIGHT, WIDTH, Filmstrip, FrameDrawer, Moment, gif

ACTIONS = ("noop", "fire", "up")
TAKEN, OTHER = (230, 159, 0), (79, 124, 172)


def moment(step: int = 0, q: tuple[float, ...] = (0.0, 1.0, 2.0)) -> Moment:
    screen = np.zeros((210, 160, 3), np.uint8)
    screen[:, :80] = (200, 10, 10)
    screen[0, 0] = step % 256
    return Moment(screen, np.array(q), action=1, label=2, score=7.5, step=step)


def bar_lengths(frame: np.ndarray) -> list[tuple[tuple[int, ...], int]]:
    """Colour and length of each bar, from the pixels right of where bars begin."""
    row = (424 - 96) / len(ACTIONS)
    found = []
    for action in range(len(ACTIONS)):
        line = frame[int(96 + action * row + 5), 444:581]
        colour = tuple(int(c) for c in line[0])
        found.append((colour, int((line == line[0]).all(axis=1).argmin())))
    return found


def test_a_frame_shows_the_screen_enlarged_beside_bars_for_the_q_values() -> None:
    draw = FrameDrawer("space_invaders", ACTIONS)
    frame = draw(moment())
    assert frame.shape == (HEIGHT, WIDTH, 3)
    assert frame.dtype == np.uint8
    assert (frame[6 + 2 : 6 + 420, 8 + 2 : 8 + 160] == (200, 10, 10)).all()
    assert (frame[6:426, 8 + 160 : 8 + 320] == 0).all()
    colours, lengths = zip(*bar_lengths(frame), strict=True)
    assert colours == (OTHER, TAKEN, OTHER)
    assert lengths[1] == pytest.approx(136 / 2, abs=2)
    assert lengths[0] <= 2


def test_bars_compare_over_time() -> None:
    draw = FrameDrawer("pong", ACTIONS)
    first = bar_lengths(draw(moment(q=(0.0, 2.0, 1.0))))
    draw(moment(q=(0.0, 2.0, 4.0)))
    later = bar_lengths(draw(moment(q=(0.0, 2.0, 1.0))))
    assert first[1][1] == 0 or first[1][1] > 130  # it filled the scale
    assert later[1][1] == pytest.approx(136 / 2, abs=2)


def test_equal_q_values_do_not_divide_by_zero() -> None:
    frame = FrameDrawer("pong", ACTIONS)(moment(q=(3.0, 3.0, 3.0)))
    assert [length for _, length in bar_lengths(frame)] == [1, 1, 1]


@settings(max_examples=40)
@given(length=st.integers(2, 9), seen=st.integers(1, 300))
def test_a_strip_is_evenly_spaced_over_all_that_was_seen(
    length: int, seen: int
) -> None:
    strip = Filmstrip(length)
    first = moment()
    for step in range(seen):
        strip.add(first._replace(step=step))
    steps = [m.step for m in strip.moments()]
    assert len(steps) == min(length, seen)
    assert steps[0] == 0
    assert len(set(steps)) == len(steps)
    ideal = np.linspace(0, seen - 1, len(steps))
    # One screen in twice to four times the strip's length is kept.
    assert np.abs(steps - ideal).max() <= seen / length


def test_a_strip_is_a_picture_of_its_screens_in_order() -> None:
    strip = Filmstrip(3)
    for step in range(3):
        strip.add(moment(step))
    picture = np.asarray(strip.picture())
    assert picture.shape == (210 + 18, 3 * 164 - 4, 3)
    for column in range(3):
        left = 164 * column
        screen = picture[:210, left : left + 160]
        assert np.array_equal(screen, moment(column).screen)
        assert picture[210:, left : left + 160].max() > 200  # a caption


def test_an_empty_strip_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one moment"):
        Filmstrip().picture()


def test_a_gif_holds_every_frame_enlarged() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (5, 6, 4), np.uint8)
    film = Image.open(io.BytesIO(gif(frames, milliseconds=70, enlarge=3)))
    assert film.size == (12, 18)
    assert film.info["loop"] == 0
    for index, frame in enumerate(frames):
        film.seek(index)
        assert film.info["duration"] == 70
        shown = np.asarray(film.convert("L"))
        assert np.array_equal(shown[::3, ::3], frame)
        assert np.array_equal(shown[2::3, 2::3], frame)
