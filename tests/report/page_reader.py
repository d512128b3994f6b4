"""Reads a report as a browser would take it apart."""

from html.parser import HTMLParser

EMPTY = frozenset(("meta", "link", "br", "img", "wbr"))
LOADING = frozenset(("src", "href", "poster", "data", "action", "srcset", "xlink:href"))


class PageReader(HTMLParser):
    """Collects what a test asks of a page; an element that is not closed fails."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.loaded: list[str] = []
        self.attributes: set[str] = set()
        self.headings: list[str] = []
        self.cells: list[str] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert self._open == []

    @property
    def text(self) -> str:
        """All that a reader of the page reads."""
        return " ".join(" ".join(self.texts).split())

    def handle_starttag(
        self, tag: str, attributes: list[tuple[str, str | None]]
    ) -> None:
        self.tags.append(tag)
        for name, value in attributes:
            self.attributes.add(name)
            if name == "id":
                self.ids.append(str(value))
            if name in LOADING:
                self.loaded.append(str(value))
        if tag not in EMPTY:
            self._open.append(tag)

    def handle_startendtag(
        self, tag: str, attributes: list[tuple[str, str | None]]
    ) -> None:
        self.handle_starttag(tag, attributes)
        if tag not in EMPTY:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] not in ("style", "title"):
            self.texts.append(data)
        if self._open and self._open[-1] == "h2":
            self.headings.append(data)
        if self._open and self._open[-1] == "td":
            self.cells.append(data.strip())
