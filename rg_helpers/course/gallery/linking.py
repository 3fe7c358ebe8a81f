"""Links inside the prose of a notebook's page: terms, cited works and other notebooks.

Only Markdown cells are prose. Code, headings, formulas and what is a link already stay as they
are; a term is linked where a page first uses it, a work and a notebook wherever they are named. A
term that no prose of a page uses is linked in the tables and sentences that its code printed.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from html.parser import HTMLParser

from rg_helpers.course.gallery.glossary import Term, form_pattern
from rg_helpers.course.gallery.references import ARXIV_ID, Reference

PROSE = "text_cell_render"  # the class of nbconvert's Markdown cells
PRINTED = "output_markdown"  # and of the Markdown that code displays
UNTOUCHED = {"a", "code", "pre", "h1", "h2", "h3", "h4", "h5", "h6", "summary", "th"}
VOID = {"img", "br", "hr", "input", "wbr"}
NOTEBOOK = re.compile(r"\b(?P<word>[Nn]otebook )(?P<number>\d\d)\b")


def link_prose(
    body: str,
    *,
    terms: Sequence[Term] = (),
    works: Mapping[str, Reference] | None = None,
    notebooks: Mapping[str, str] | None = None,
    root: str = "../",
) -> tuple[str, set[str]]:
    """Return `body` with links in its prose, and the keys of the works that it cites.

    `works` are by arXiv number, `notebooks` maps numbers ("03") to pages; `root` leads from the
    page's folder to the one of glossary.html and references.html.
    """
    linker = _Linker(PROSE, terms, works or {}, notebooks or {}, root)
    prose = linker.link(body)
    left = [term for term in terms if term.slug not in linker.seen]
    return _Linker(PRINTED, left, {}, {}, root).link(prose), linker.cited


class _Linker(HTMLParser):
    """Writes everything out as it came in, but for the text inside <div>s of the class `place`."""

    def __init__(
        self,
        place: str,
        terms: Sequence[Term],
        works: Mapping[str, Reference],
        notebooks: Mapping[str, str],
        root: str,
    ) -> None:
        super().__init__(convert_charrefs=False)
        self.written: list[str] = []
        self.cited: set[str] = set()
        self.seen: set[str] = set()  # slugs of the terms that are linked
        self._place = place
        self._by_form = {_plain(form): term for term in terms for form in term.forms}
        # One pass for each kind would find terms inside links just made, so all are one pattern.
        kinds = [ARXIV_ID.pattern, NOTEBOOK.pattern]
        if self._by_form:
            kinds.append(f"(?i:{form_pattern(self._by_form).pattern})")
        self._pattern = re.compile("|".join(kinds))
        self._works, self._notebooks, self._root = works, notebooks, root
        self._divisions = 0  # open <div>s since the place began; 0 outside it
        self._untouched = 0

    def link(self, body: str) -> str:
        """Return `body` with its links."""
        self.feed(body)
        self.close()
        return "".join(self.written)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.written.append(self.get_starttag_text() or "")
        if tag == "div" and (self._divisions or self._place in (dict(attrs).get("class") or "")):
            self._divisions += 1
        if tag in UNTOUCHED and tag not in VOID:
            self._untouched += 1

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.written.append(self.get_starttag_text() or "")

    def handle_endtag(self, tag: str) -> None:
        self.written.append(f"</{tag}>")
        if tag == "div" and self._divisions:
            self._divisions -= 1
        if tag in UNTOUCHED and self._untouched:
            self._untouched -= 1

    def handle_data(self, data: str) -> None:
        if not self._divisions:
            self.written.append(data)
            return
        for work in ARXIV_ID.findall(data):  # also where it is a link already
            if work in self._works:
                self.cited.add(self._works[work].key)
        self.written.append(data if self._untouched else self._pattern.sub(self._link, data))

    def handle_entityref(self, name: str) -> None:
        self.written.append(f"&{name};")

    def handle_charref(self, name: str) -> None:
        self.written.append(f"&#{name};")

    def handle_comment(self, data: str) -> None:
        self.written.append(f"<!--{data}-->")

    def handle_decl(self, decl: str) -> None:
        self.written.append(f"<!{decl}>")

    def _link(self, match: re.Match[str]) -> str:
        found = match[0]
        if match["number"]:
            page = self._notebooks.get(match["number"])
            return f'<a href="{page}">{found}</a>' if page else found
        if found in self._works:
            key = self._works[found].key
            return f'<a href="{self._root}references.html#{key}">{found}</a>'
        term = self._by_form.get(_plain(found))
        if term is None or term.slug in self.seen:
            return found
        self.seen.add(term.slug)
        told = html.escape(term.text, quote=True)
        return (
            f'<a class="term" href="{self._root}glossary.html#{term.slug}" title="{told}">'
            f"{found}</a>"
        )


def _plain(form: str) -> str:
    return " ".join(form.lower().split())
