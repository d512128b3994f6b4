"""Moving pictures of play: videos that say what the agent thinks, strips, GIFs."""

import io
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageFont

WIDTH, HEIGHT = 640, 432
"""Of a video's frames, in pixels; video codecs want multiples of 16."""

_SCREEN_AT, _ENLARGE = (8, 6), 2
_PANEL_X, _NAME_X, _BAR_X, _BAR_END = 348, 436, 444, 580
_BARS_Y, _BARS_END = 96, 424
_BACKGROUND, _INK, _DIM = "#14171c", "#f2f2f2", "#8b93a0"
_TAKEN, _OTHER = "#e69f00", "#4f7cac"  # told apart by colour-blind viewers too
_CAPTION_HEIGHT = 18


class Moment(NamedTuple):
    """One decision of an agent.

    Attributes:
        screen: What the game shows, in colour.
        q_values: Of all actions, under the label.
        action: The action taken.
        label: The inferred task.
        score: Sum of the episode's raw rewards so far.
        step: Agent steps in the episode so far.
    """

    screen: UInt8[np.ndarray, "H W 3"]
    q_values: Float[np.ndarray, "A"]
    action: int
    label: int
    score: float
    step: int


class FrameDrawer:
    """Draws moments as frames of a video: the screen, and a bar for each Q-value.

    Bars span the Q-values seen since the video began, so that they compare over time;
    the ends of the span stand above them.

    Args:
        game: Its name.
        action_names: A name for each action.
    """

    def __init__(self, game: str, action_names: Sequence[str]) -> None:
        self._game = game
        self._action_names = action_names
        self._low = np.inf
        self._high = -np.inf
        self._large, self._small = (
            ImageFont.load_default(18),
            ImageFont.load_default(12),
        )

    def __call__(self, moment: Moment) -> UInt8[np.ndarray, "432 640 3"]:
        """The next frame."""
        self._low = min(self._low, float(moment.q_values.min()))
        self._high = max(self._high, float(moment.q_values.max()))
        image = Image.new("RGB", (WIDTH, HEIGHT), _BACKGROUND)
        screen = Image.fromarray(moment.screen)
        enlarged = screen.resize((320, 420), Image.Resampling.NEAREST)
        image.paste(enlarged, _SCREEN_AT)
        draw = ImageDraw.Draw(image)
        draw.text((_PANEL_X, 8), self._game.replace("_", " "), _INK, self._large)
        draw.text((_PANEL_X, 36), f"score {moment.score:,.10g}", _INK, self._large)
        facts = f"task {moment.label}   step {moment.step}"
        draw.text((_PANEL_X, 64), facts, _DIM, self._small)
        # Bars do not begin at zero, so without their ends they would lie.
        ends = f"from {self._low:.2g} to {self._high:.2g}"
        draw.text((_PANEL_X, 80), f"Q-values {ends} (orange: taken)", _DIM, self._small)
        self._draw_bars(draw, moment)
        return np.asarray(image)

    def _draw_bars(self, draw: ImageDraw.ImageDraw, moment: Moment) -> None:
        span = (self._high - self._low) or 1.0
        row = (_BARS_END - _BARS_Y) / len(self._action_names)
        for action, name in enumerate(self._action_names):
            value = float(moment.q_values[action])
            top = _BARS_Y + action * row
            middle = top + row / 2
            taken = action == moment.action
            colour = _TAKEN if taken else _OTHER
            length = (value - self._low) / span * (_BAR_END - _BAR_X)
            draw.rectangle((_BAR_X, top + 2, _BAR_X + length, top + row - 3), colour)
            ink = _TAKEN if taken else _INK
            draw.text((_NAME_X, middle), name, ink, self._small, anchor="rm")
            draw.text(
                (_BAR_END + 6, middle), f"{value:.3g}", ink, self._small, anchor="lm"
            )


class Filmstrip:
    """A few screens side by side, evenly spaced over a video of unknown length.

    Args:
        length: Screens in the strip.
    """

    def __init__(self, length: int = 8) -> None:
        self._length = length
        self._moments: list[Moment] = []
        self._every = 1
        self._seen = 0

    def add(self, moment: Moment) -> None:
        """Sees the next moment; at most four times the strip's length are kept."""
        if self._seen % self._every == 0:
            self._moments.append(moment)
        self._seen += 1
        if len(self._moments) > 4 * self._length:
            self._moments = self._moments[::2]
            self._every *= 2

    def moments(self) -> list[Moment]:
        """Those in the strip; fewer than its length only if fewer were added."""
        last = len(self._moments) - 1
        wanted = np.linspace(0, last, min(self._length, last + 1)).round()
        return [self._moments[int(index)] for index in wanted]

    def picture(self) -> Image.Image:
        """The strip, each screen with its score below.

        Raises:
            ValueError: Nothing was added.
        """
        moments = self.moments()
        if not moments:
            raise ValueError("a filmstrip needs at least one moment, got none.")
        height, width, _ = moments[0].screen.shape
        size = (len(moments) * (width + 4) - 4, height + _CAPTION_HEIGHT)
        strip = Image.new("RGB", size, _BACKGROUND)
        draw, font = ImageDraw.Draw(strip), ImageFont.load_default(12)
        for column, moment in enumerate(moments):
            x = column * (width + 4)
            strip.paste(Image.fromarray(moment.screen), (x, 0))
            caption = f"step {moment.step}, score {moment.score:,.10g}"
            place = (x + width / 2, height + _CAPTION_HEIGHT / 2)
            draw.text(place, caption, _INK, font, anchor="mm")
        return strip


def gif(
    frames: UInt8[np.ndarray, "T H W"], *, milliseconds: int, enlarge: int = 1
) -> bytes:
    """Grey frames as an animated GIF that repeats for ever.

    Args:
        frames: At least one.
        milliseconds: Of each frame; GIF counts in tens of them.
        enlarge: Each pixel becomes a square of this many pixels a side.
    """
    large = frames.repeat(enlarge, axis=1).repeat(enlarge, axis=2)
    first, *others = [Image.fromarray(frame) for frame in large]
    buffer = io.BytesIO()
    first.save(
        buffer,
        format="GIF",
        save_all=True,
        append_images=others,
        duration=milliseconds,
        loop=0,
    )
    return buffer.getvalue()
