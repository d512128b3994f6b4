"""Matplotlib figures as SVG that is part of a page and wears the page's colours.

A page can be light, dark or on paper, so a figure in it names no colour of its own:
``INK``, ``MUTED``, ``FAINT`` and the games' ``COLOURS`` are exchanged for what the
page's style sheet defines. Text stays text and takes the page's font.
"""

import io
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from types import MappingProxyType

import matplotlib
from markupsafe import Markup, escape
from matplotlib.figure import Figure

from clrl.report.score_matrix import COLOURS

INK = "#010101"
MUTED = "#020202"
FAINT = "#030303"

# COLOURS for a dark page: as far apart, and lighter.
DARK_COLOURS = (
    "#56A0D8",
    "#F0B53C",
    "#2CC295",
    "#DD94BE",
    "#F0824A",
    "#86CBF0",
    "#BFA25A",
    "#A6A6A6",
    "#9A8FE0",
    "#5FB874",
)

_VARIABLES = {
    INK: "currentColor",
    MUTED: "var(--muted)",
    FAINT: "var(--faint)",
    **{colour.lower(): f"var(--game-{i})" for i, colour in enumerate(COLOURS)},
}
_POINTS_PER_INCH = 72
_NO_METADATA = dict.fromkeys(("Date", "Creator", "Format", "Type"))


def inline_svg(
    draw: Callable[[Figure], None],
    *,
    width: float,
    height: float,
    name: str,
    label: str,
) -> Markup:
    """A figure as an ``<svg>`` element; the same figure gives the same text.

    Args:
        draw: Draws it.
        width: Of its coordinates, in points; the page decides how large it is shown.
        height: The same.
        name: Different for each figure of a page.
        label: What it shows, for those who do not see it.
    """
    with page_style():
        figure = Figure(figsize=(width / _POINTS_PER_INCH, height / _POINTS_PER_INCH))
        draw(figure)
        return svg_of(figure, name=name, label=label)


def svg_of(
    figure: Figure,
    *,
    name: str,
    label: str,
    colours: Mapping[str, str] = MappingProxyType({}),
) -> Markup:
    """As ``inline_svg``, of a figure that was drawn under ``page_style``.

    Args:
        figure: Drawn.
        name: Different for each figure of a page.
        label: What it shows, for those who do not see it.
        colours: What takes the place of further colours, by their small hexadecimals.
    """
    out = io.StringIO()
    with page_style():
        figure.savefig(out, format="svg", transparent=True, metadata=_NO_METADATA)
    width, height = figure.get_size_inches() * _POINTS_PER_INCH
    text = out.getvalue()
    body = text[text.index("<svg") :]
    body = body[body.index(">") + 1 :]
    body = _in_colours(_without_style(body), _VARIABLES | dict(colours))
    for clean in (_in_page_font, _short):
        body = clean(body)
    body = _with_names_of_its_own(body, name)
    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" '
        f'role="img" aria-label="{escape(label)}">'
    )
    return Markup(opening + body.rstrip())


def palette(colours: Sequence[str]) -> Markup:
    """``COLOURS`` or ``DARK_COLOURS`` as the custom properties of a style sheet."""
    return Markup(" ".join(f"--game-{i}: {c};" for i, c in enumerate(colours)))


def page_style() -> AbstractContextManager[None]:
    """Matplotlib's parameters for figures on a page."""
    return matplotlib.rc_context(
        {
            "svg.fonttype": "none",
            "svg.hashsalt": "clrl",
            "font.size": 10,
            "text.color": INK,
            "axes.edgecolor": FAINT,
            "axes.labelcolor": MUTED,
            "axes.facecolor": "none",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "xtick.color": FAINT,
            "ytick.color": FAINT,
            "xtick.labelcolor": MUTED,
            "ytick.labelcolor": MUTED,
            "lines.linewidth": 1.6,
        }
    )


def _without_style(svg: str) -> str:
    """Matplotlib's style sheet would apply to the whole page."""
    return re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", svg, flags=re.DOTALL)


def _in_colours(svg: str, variables: Mapping[str, str]) -> str:
    return re.sub(r"#[0-9a-f]{6}\b", lambda m: variables.get(m[0], m[0]), svg)


def _in_page_font(svg: str) -> str:
    return re.sub(r"; font-family: [^;\"]*", "", svg)


def _short(svg: str) -> str:
    """Coordinates to a hundredth of a point, and no indentation."""
    svg = re.sub(
        r'\b(?:d|x|y|transform)="[^"]*"',
        lambda m: re.sub(r"(\.\d\d)\d+", r"\1", m[0]).replace("\n", ""),
        svg,
    )
    return re.sub(r"\n\s*", "\n", svg)


def _with_names_of_its_own(svg: str, name: str) -> str:
    """Identifiers are unique in a page; those that nothing refers to are left out."""
    used = set(re.findall(r"#([\w.-]+)", svg))
    svg = re.sub(
        r' id="([^"]*)"',
        lambda m: f' id="{name}-{m[1]}"' if m[1] in used else "",
        svg,
    )
    svg = re.sub(r'xlink:href="#', f'href="#{name}-', svg)
    return re.sub(r"url\(#", f"url(#{name}-", svg)
