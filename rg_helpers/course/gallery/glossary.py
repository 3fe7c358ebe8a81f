"""The glossary: the terms of the field and the course, one or two plain sentences each."""

from __future__ import annotations

import html
import re
import string
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rg_helpers.artefacts import read_json
from rg_helpers.course.gallery.formulas import formula_image
from rg_helpers.course.gallery.references import Reference

GLOSSARY = Path(__file__).with_name("glossary.json")


@dataclass(frozen=True)
class Term:
    """One entry. `notebook` is the number of the notebook that introduces the term ("03"), `also`
    lists its other forms, `formula` is TeX, and `source` the key of a work in references.bib."""

    term: str
    notebook: str
    text: str
    also: tuple[str, ...] = ()
    formula: str = ""
    source: str = ""

    @property
    def forms(self) -> tuple[str, ...]:
        """The ways in which prose may write the term."""
        return (self.term, *self.also)

    @property
    def slug(self) -> str:
        """The name of the entry's anchor."""
        return re.sub(r"[^a-z0-9]+", "-", self.term.lower()).strip("-")


def read_glossary(path: str | Path = GLOSSARY) -> list[Term]:
    """Return the entries in alphabetical order.

    Raises `ValueError` for an entry that lacks a field or repeats a form of another one, which
    would leave it open where a word of the prose leads.
    """
    terms = []
    for entry in read_json(path):
        try:
            terms.append(Term(**{**entry, "also": tuple(entry.get("also", ()))}))
        except TypeError as error:
            raise ValueError(f"{path}: entry {str(entry)[:60]} is malformed: {error}") from error
    owners: dict[str, str] = {}
    for term in terms:
        for form in term.forms:
            other = owners.setdefault(form.lower(), term.term)
            if other != term.term:
                raise ValueError(
                    f"{path}: {form!r} stands for {other!r} and {term.term!r}: drop one"
                )
    return sorted(terms, key=lambda term: term.slug)


def glossary_page(
    terms: Sequence[Term], references: Mapping[str, Reference], pages: Mapping[str, str]
) -> str:
    """Return the body of the glossary; `pages` gives the page of a notebook by its number."""
    letters = sorted({term.slug[0] for term in terms})
    bar = "".join(f'<a href="#letter-{letter}">{letter.upper()}</a>' for letter in letters)
    parts = []
    for letter in letters:
        parts.append(f'<h2 id="letter-{letter}">{letter.upper()}</h2>\n<dl class="glossary">')
        parts += [_entry(t, references, pages) for t in terms if t.slug[0] == letter]
        parts.append("</dl>")
    return "\n".join(
        [
            "<h1>Glossary</h1>",
            f'<p class="lead">{len(terms)} terms of the field and of this course. In the chapters '
            "a dotted line marks a term where it is first used.</p>",
            f'<nav class="letters" aria-label="Letters">{bar}</nav>',
            *parts,
        ]
    )


def _entry(term: Term, references: Mapping[str, Reference], pages: Mapping[str, str]) -> str:
    formula = f"<dd>{formula_image(term.formula)}</dd>" if term.formula else ""
    notes = [f"introduced in {notebook_link(term.notebook, pages)}"]
    if term.source:
        work = references[term.source]
        notes.append(f'<a href="references.html#{work.key}">{html.escape(work.short)}</a>')
    return (
        f'<dt id="{term.slug}">{html.escape(term.term)}</dt>\n<dd>{html.escape(term.text)}</dd>'
        f'{formula}<dd class="aside">{" · ".join(notes)}</dd>'
    )


def notebook_link(number: str, pages: Mapping[str, str]) -> str:
    """Return "notebook 03", as a link where the gallery has its page."""
    name = f"notebook {html.escape(number)}"
    return f'<a href="{pages[number]}">{name}</a>' if number in pages else name


def form_pattern(forms: Iterable[str]) -> re.Pattern[str]:
    """Return a pattern that finds any of `forms` as whole words, longest first, in any case.

    Where a form has a space, prose may break the line.
    """
    spelled = sorted(set(forms), key=len, reverse=True)
    middle = "|".join(r"\s+".join(map(re.escape, form.split())) for form in spelled)
    edge = f"[{string.ascii_letters}0-9_-]"
    return re.compile(rf"(?<!{edge})(?:{middle})(?!{edge})", re.IGNORECASE)
