"""The bibliography: every work that notebooks and docstrings cite, read from BibTeX."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

BIBLIOGRAPHY = Path(__file__).with_name("references.bib")
ARXIV_ID = re.compile(r"(?<![\w./])\d{4}\.\d{5}(?!\d)")
ENTRY = re.compile(r"^@(\w+)\{([\w-]+),\n(.*?)^\}", re.MULTILINE | re.DOTALL)
FIELD = re.compile(r"^\s*(\w+) = \{(.*)\},$", re.MULTILINE)


@dataclass(frozen=True)
class Reference:
    """One work. `place` is the journal, the conference or the publisher."""

    key: str
    authors: tuple[str, ...]  # "Last, First", or "others" as the last
    year: str
    title: str
    place: str = ""
    arxiv: str = ""
    doi: str = ""
    url: str = ""

    @property
    def short(self) -> str:
        """The work as prose names it: "Jain & Wallace 2019"."""
        last = [author.partition(",")[0] for author in self.authors]
        if len(last) == 2 and "others" not in last:
            return f"{last[0]} & {last[1]} {self.year}"
        return f"{last[0]} et al. {self.year}" if len(last) > 1 else f"{last[0]} {self.year}"

    @property
    def links(self) -> list[tuple[str, str]]:
        """Name and address of every place where the work can be read."""
        found = []
        if self.arxiv:
            found.append((f"arXiv {self.arxiv}", f"https://arxiv.org/abs/{self.arxiv}"))
        if self.doi:
            found.append((f"doi {self.doi}", f"https://doi.org/{self.doi}"))
        if self.url:
            found.append((self.url.removeprefix("https://"), self.url))
        return found


def read_references(path: str | Path = BIBLIOGRAPHY) -> dict[str, Reference]:
    """Return the works by key, in the order of authors and years.

    The file is BibTeX with one field a line. Raises `ValueError` for an entry without authors,
    title or year, or for a key given twice.
    """
    found: dict[str, Reference] = {}
    for _, key, body in ENTRY.findall(Path(path).read_text(encoding="utf-8")):
        fields = dict(FIELD.findall(body))
        missing = {"author", "title", "year"} - set(fields)
        if missing or key in found:
            fault = f"lacks {', '.join(sorted(missing))}" if missing else "is there twice"
            raise ValueError(f"{path}: the entry {key} {fault}")
        found[key] = Reference(
            key=key,
            authors=tuple(fields["author"].split(" and ")),
            year=fields["year"],
            title=fields["title"],
            place=next(
                (fields[n] for n in ("journal", "booktitle", "publisher") if n in fields), ""
            ),
            arxiv=fields.get("eprint", ""),
            doi=fields.get("doi", ""),
            url=fields.get("url", ""),
        )
    order = sorted(found.values(), key=lambda work: (work.authors[0].lower(), work.year))
    return {work.key: work for work in order}


def references_page(works: Sequence[Reference], cited: Mapping[str, Sequence[str]]) -> str:
    """Return the body of the list of works; `cited` names, by key, links to pages that cite one."""
    lines = []
    for work in works:
        authors = ", ".join(map(_given_first, work.authors)).replace(", et al.", " et al.")
        places = [f'<a href="{url}">{html.escape(name)}</a>' for name, url in work.links]
        tail = [html.escape(work.place)] if work.place else []
        used = cited.get(work.key, ())
        note = f' <span class="aside">Cited in {", ".join(used)}.</span>' if used else ""
        lines.append(
            f'<li id="{work.key}">{html.escape(authors)} ({work.year}). '
            f"<cite>{html.escape(work.title)}</cite>{'' if work.title.endswith('?') else '.'} "
            f"{'. '.join([*tail, *places])}.{note}</li>"
        )
    return "\n".join(
        [
            "<h1>References</h1>",
            f'<p class="lead">{len(works)} works that the chapters and the package build on.</p>',
            f'<ol class="references">\n{chr(10).join(lines)}\n</ol>',
        ]
    )


def by_arxiv(works: Mapping[str, Reference]) -> dict[str, Reference]:
    """Return the works that have an arXiv number, by it."""
    return {work.arxiv: work for work in works.values() if work.arxiv}


def _given_first(author: str) -> str:
    last, _, first = author.partition(", ")
    return "et al." if author == "others" else f"{first} {last}".strip()
