"""Every link of a folder of pages, checked: what it leads to is there, and nothing is fetched."""

from __future__ import annotations

from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

FETCHING = {"script": "src", "link": "href", "iframe": "src", "img": "src", "source": "src",
            "video": "src", "audio": "src", "object": "data"}  # fmt: skip


def broken_links(folder: str | Path) -> list[str]:
    """Return a line for every fault of the pages below `folder`; none if all is well.

    Faults are: a link to a file or an anchor that is not there, or that leads out of the folder or
    begins at the root of the file system; a picture, script or style that is not inside the page
    itself or the folder; a picture without a text alternative; an anchor given twice. Links to
    other sites are not followed.
    """
    folder = Path(folder).resolve()
    pages = {path: _read(path) for path in sorted(folder.rglob("*.html"))}
    return [
        f"{path.relative_to(folder)}: {fault}"
        for path, page in pages.items()
        for fault in _faults(path, page, pages, folder)
    ]


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.anchors: list[str] = []
        self.links: list[str] = []
        self.fetched: list[tuple[str, str]] = []
        self.pictures_without_text = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if given.get("id"):
            self.anchors.append(given["id"] or "")
        if tag == "a" and given.get("href"):
            self.links.append(given["href"] or "")
        if tag in FETCHING and given.get(FETCHING[tag]):
            self.fetched.append((tag, given[FETCHING[tag]] or ""))
        if tag == "img" and not (given.get("alt") or "").strip():
            self.pictures_without_text += 1


def _read(path: Path) -> _Page:
    page = _Page()
    page.feed(path.read_text(encoding="utf-8"))
    page.close()
    return page


def _faults(path: Path, page: _Page, pages: dict[Path, _Page], folder: Path) -> Iterator[str]:
    for anchor in sorted({name for name in page.anchors if page.anchors.count(name) > 1}):
        yield f"the anchor {anchor!r} is there twice"
    if page.pictures_without_text:
        yield f"{page.pictures_without_text} pictures without a text alternative"
    for tag, address in page.fetched:
        parts = urlsplit(address)
        if parts.scheme == "data":
            continue
        if parts.scheme or parts.netloc or not _target(path, parts.path).is_file():
            yield f"<{tag}> fetches {address[:80]}"
    for link in dict.fromkeys(page.links):
        parts = urlsplit(link)
        if parts.scheme in ("http", "https", "mailto"):
            continue
        target = _target(path, parts.path) if parts.path else path
        if parts.scheme or parts.netloc or parts.path.startswith("/"):
            yield f"{link} does not work from a folder: write it relative to the page"
        elif not target.is_relative_to(folder):
            yield f"{link} leads out of the site"
        elif not target.is_file():
            yield f"{link} leads nowhere"
        elif target in pages and unquote(parts.fragment) not in ["", *pages[target].anchors]:
            yield f"{link} leads to an anchor that is not there"


def _target(path: Path, address: str) -> Path:
    return (path.parent / unquote(address)).resolve()
