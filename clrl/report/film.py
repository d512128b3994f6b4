"""Moving pictures of play: short GIFs, and frames that say what the agent thinks."""

import io

import numpy as np
from jaxtyping import UInt8
from PIL import Image


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
