"""Figures as files: equal figures are equal files."""

import io
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

_PNG_DPI = 160


def save_figure(figure: Figure, stem: Path) -> bytes:
    """Writes ``<stem>.svg`` and ``<stem>.png``.

    Returns:
        The SVG.
    """
    out = io.BytesIO()
    # Without a salt and with a date, equal figures would be different files.
    with mpl.rc_context({"svg.hashsalt": "clrl"}):
        figure.savefig(out, format="svg", metadata={"Date": None})
    stem.with_name(f"{stem.name}.svg").write_bytes(out.getvalue())
    figure.set_layout_engine("none")  # it has been laid out
    figure.savefig(stem.with_name(f"{stem.name}.png"), dpi=_PNG_DPI)
    return out.getvalue()
