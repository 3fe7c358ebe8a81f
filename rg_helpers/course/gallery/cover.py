"""The first page of the gallery: the poster, and the chapters with a figure of each."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rg_helpers.artefacts import read_json
from rg_helpers.course.gallery.frame import BOOK
from rg_helpers.course.notebook_files import MEASURED, read_notebook

LONGEST_TEASER = 340  # characters


@dataclass(frozen=True)
class Chapter:
    """A notebook as the cover shows it; every field is text, `page` an address or None."""

    title: str
    page: str | None
    teaser: str
    facts: str  # minutes, memory, profile
    fault: str  # why there is nothing finished to show; "" if all is well
    picture: tuple[str, str] | None  # address and text alternative


def cover(chapters: Sequence[Chapter], facts: Sequence[tuple[str, str]], figures: Path) -> str:
    """Return the body of the cover; `facts` are numbers and what they count."""
    counted = "".join(
        f"<li><b>{html.escape(number)}</b>{html.escape(what)}</li>" for number, what in facts
    )
    return "\n".join(
        [
            '<div class="cover">',
            f"<h1>{BOOK}</h1>",
            '<p class="lead">A language model solves a problem step by step. Its sentences become '
            "nodes, what follows from what becomes edges, and because the problems carry their "
            "true graph, every drawing is compared with it.</p>",
            poster(figures),
            f'<ul class="facts">{counted}</ul>',
            "</div>",
            '<h2 id="chapters">The chapters</h2>',
            f'<ol class="chapters">\n{chr(10).join(map(_chapter, chapters))}\n</ol>',
        ]
    )


def poster(figures: Path) -> str:
    """Return the poster as a figure with its text alternative, or nothing where there is none."""
    path = figures / "poster.png"
    if not path.is_file() or not path.with_suffix(".json").is_file():
        return ""
    alt = html.escape(read_json(path.with_suffix(".json")).get("alt", ""), quote=True)
    data = base64.b64encode(path.read_bytes()).decode("ascii")
    return (
        f'<figure class="plate"><img alt="{alt}" src="data:image/png;base64,{data}">'
        f"<figcaption>{alt}</figcaption></figure>"
    )


def notebook_picture(path: Path) -> tuple[str, str] | None:
    """Return the figure that stands for a notebook, as an address and its text alternative.

    It is the one with most in it (the largest file) among those that fit the cover's frame.
    """
    found = []
    for cell in read_notebook(path).cells:
        for output in cell.get("outputs", []):
            picture = output.get("data", {}).get("image/png")
            if picture:
                said = output.get("metadata", {}).get("image/png", {}).get("alt", "")
                found.append((_fits_frame(picture), len(picture), picture, said))
    if not found:
        return None
    *_, picture, said = max(found, key=lambda entry: entry[:2])
    return f"data:image/png;base64,{picture.replace(chr(10), '')}", said or "a figure"


def measured(path: Path) -> str:
    """Return what a notebook's head says of its minutes and memory, as plain text, or nothing."""
    for cell in read_notebook(path).cells:
        found = MEASURED.search(cell.source)
        if found:
            line = re.sub(r"<!--.*?-->", "", found[0])
            return _plain(line).partition(":")[2].strip()
    return ""


def teaser(path: Path) -> str:
    """Return the first paragraph of a notebook below its title, as plain text of a few lines."""
    for cell in read_notebook(path).cells:
        if cell.cell_type == "markdown":
            blocks = re.split(r"\n\s*\n", cell.source)
            prose = [block for block in blocks if not block.startswith(("#", "**", "-", "<", "|"))]
            if prose:
                return _shortened(_plain(prose[0]))
    return ""


def _chapter(chapter: Chapter) -> str:
    title = html.escape(chapter.title)
    thumb = ""
    if chapter.page:
        title = f'<a href="{chapter.page}">{title}</a>'
        if chapter.picture:
            address, said = chapter.picture
            thumb = (
                f'<a class="thumb" href="{chapter.page}" tabindex="-1">'
                f'<img alt="{html.escape(said, quote=True)}" src="{address}"></a>'
            )
    fault = f'<p class="failed">{html.escape(chapter.fault)}</p>' if chapter.fault else ""
    return (
        f"<li><div>{thumb}</div><div><h3>{title}</h3><p>{html.escape(chapter.teaser)}</p>{fault}"
        f'<p class="aside">{html.escape(chapter.facts)}</p></div></li>'
    )


def _fits_frame(picture: str) -> bool:
    header = base64.b64decode(picture[:64])
    width, height = (int.from_bytes(header[at : at + 4], "big") for at in (16, 20))
    return 1.2 <= width / max(height, 1) <= 2.4


def _plain(markdown: str) -> str:
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", markdown)
    text = re.sub(r"(?<!\w)[*_]{1,2}(\S.*?)[*_]{1,2}(?!\w)|`([^`]*)`", r"\1\2", text, flags=re.S)
    return " ".join(text.split())


def _shortened(text: str) -> str:
    if len(text) <= LONGEST_TEASER:
        return text
    end = max(text.rfind(mark, 0, LONGEST_TEASER) for mark in (". ", "? ", "! "))
    return text[: end + 1] if end > 0 else text[:LONGEST_TEASER].rsplit(" ", 1)[0] + " …"
