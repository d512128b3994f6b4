import re
from xml.etree import ElementTree

from matplotlib.figure import Figure

from clrl.report.inline_svg import FAINT, INK, MUTED, inline_svg
from clrl.report.score_matrix import COLOURS


def drawn(name: str = "one", title: str = "returns") -> str:
    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        axes.plot([0, 1, 2], [3, 1, 2], color=INK)
        axes.axvspan(0, 1, color=COLOURS[1], alpha=0.2)
        axes.scatter([1, 2], [1, 2], color=COLOURS[0])
        axes.axhline(1.123456, color=MUTED)
        axes.axhline(2.0, color=FAINT)
        axes.set_title(title)

    return str(inline_svg(draw, width=200, height=100, name=name, label="a <b> & c"))


def test_a_figure_is_well_formed_and_named_for_those_who_cannot_see_it() -> None:
    root = ElementTree.fromstring(drawn())
    assert root.attrib["role"] == "img"
    assert root.attrib["aria-label"] == "a <b> & c"
    assert root.attrib["viewBox"] == "0 0 200 100"


def test_every_colour_is_the_pages() -> None:
    svg = drawn()
    for colour in ("currentColor", "--muted", "--faint", "--game-0", "--game-1"):
        assert colour in svg
    assert re.findall(r"(?:fill|stroke): #\w+", svg) == []


def test_figures_of_one_page_share_no_identifier() -> None:
    ids = [set(re.findall(r' id="([^"]+)"', drawn(name))) for name in ("one", "two")]
    assert ids[0]
    assert not ids[0] & ids[1]


def test_what_a_figure_refers_to_is_in_it() -> None:
    svg = drawn()
    ids = set(re.findall(r' id="([^"]+)"', svg))
    referred = set(re.findall(r'(?:href="#|url\(#)([^")]+)', svg))
    assert referred == ids


def test_a_figure_leaves_the_rest_of_its_page_alone() -> None:
    svg = drawn()
    assert "<style" not in svg
    assert "font-family" not in svg


def test_text_stays_text_and_is_escaped() -> None:
    assert ">returns</text>" in drawn()
    assert "<script>" not in drawn(title="<script>alert(1)</script>")


def test_the_same_figure_gives_the_same_text() -> None:
    assert drawn() == drawn()
