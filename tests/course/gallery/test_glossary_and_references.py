"""The glossary and the bibliography are whole, and cover what the course says and cites."""

from __future__ import annotations

import json
import re
from pathlib import Path

import nbformat
import pytest

from rg_helpers.course.gallery.formulas import formula_image
from rg_helpers.course.gallery.glossary import form_pattern, read_glossary
from rg_helpers.course.gallery.linking import link_prose
from rg_helpers.course.gallery.notebook_body import notebook_body
from rg_helpers.course.gallery.references import ARXIV_ID, by_arxiv, read_references

ROOT = Path(__file__).resolve().parents[3]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
TERMS, WORKS = read_glossary(), read_references()


def prose(path: Path) -> str:
    cells = nbformat.read(path, as_version=4).cells
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    return re.sub(r"```.*?```|`[^`]*`", "", text, flags=re.DOTALL)


def test_the_glossary_has_sixty_terms_in_plain_sentences():
    assert len(TERMS) >= 60
    for term in TERMS:
        sentences = re.findall(r"[.;](?:\s|$)", term.text)
        assert 1 <= len(sentences) <= 3, term.term
        assert term.text[0].isupper(), term.term
        assert term.text.endswith("."), term.term
        assert len(term.text) <= 260, term.term
        assert not re.search(r"\d\.\d|\d %", term.text), f"{term.term}: a measured number"
        assert term.source in {"", *WORKS}, f"{term.term}: {term.source} is not in references.bib"


def test_every_formula_can_be_drawn():
    for term in TERMS:
        if term.formula:
            assert formula_image(term.formula).startswith("<img"), term.term


def everything(path: Path) -> str:
    """Sources and printed text of a notebook, without the marks of Markdown."""
    parts = []
    for cell in nbformat.read(path, as_version=4).cells:
        parts.append(cell.source)
        for output in cell.get("outputs", []):
            data = {"text": output.get("text", ""), **output.get("data", {})}
            parts += [text for kind, text in data.items() if kind.startswith("text")]
    return re.sub(r"[*_`]+", " ", "\n".join(parts))


def test_a_term_is_used_in_the_notebook_that_is_said_to_introduce_it():
    texts = {path.name[:2]: everything(path) for path in NOTEBOOKS}
    absent = [
        f"{term.term} ({term.notebook})"
        for term in TERMS
        if term.notebook in texts and not form_pattern(term.forms).search(texts[term.notebook])
    ]
    assert not absent
    assert {term.notebook for term in TERMS} <= set(texts)


@pytest.mark.slow
def test_every_term_is_linked_from_a_page():
    linked = set()
    for path in NOTEBOOKS:
        body, _ = link_prose(notebook_body(path)[0], terms=TERMS)
        linked |= set(re.findall(r'href="\.\./glossary\.html#([\w-]+)"', body))
    absent = [term.term for term in TERMS if term.slug not in linked]
    assert not absent, f"a reader of the chapters never meets {absent}: use, rename or drop them"


def test_every_notebook_has_terms_to_link():
    for path in NOTEBOOKS:
        text = prose(path)
        found = [term for term in TERMS if form_pattern(term.forms).search(text)]
        assert len(found) >= 8, path.stem


def test_a_form_stands_for_one_term(tmp_path):
    entry = {"term": "a", "notebook": "00", "text": "X."}
    path = tmp_path / "glossary.json"
    path.write_text(json.dumps([entry, {**entry, "term": "b", "also": ["A"]}]))
    with pytest.raises(ValueError, match="'A' stands for 'a' and 'b'"):
        read_glossary(path)
    path.write_text(json.dumps([{"term": "a"}]))
    with pytest.raises(ValueError, match="malformed"):
        read_glossary(path)


def test_every_arxiv_number_that_is_cited_is_in_the_bibliography():
    known, cited = set(by_arxiv(WORKS)), {}
    for path in NOTEBOOKS:
        cells = nbformat.read(path, as_version=4).cells
        for number in ARXIV_ID.findall("\n".join(cell.source for cell in cells)):
            cited.setdefault(number, path.name)
    texts = [*(ROOT / "rg_helpers").rglob("*.py"), *(ROOT / "notebooks").glob("*.md")]
    for path in [ROOT / "README.md", *texts]:
        for number in re.findall(rf"arXiv[\s:]+({ARXIV_ID.pattern})", path.read_text("utf-8")):
            cited.setdefault(number, path.name)
    assert len(cited) > 50
    missing = {number: file for number, file in cited.items() if number not in known}
    assert not missing, f"add these to rg_helpers/course/gallery/references.bib: {missing}"


def test_every_work_can_be_found():
    assert len({work.arxiv for work in WORKS.values() if work.arxiv}) == len(by_arxiv(WORKS))
    for work in WORKS.values():
        assert re.fullmatch(r"\d{4}", work.year), work.key
        assert re.fullmatch(r"(\d{4}\.\d{5})?", work.arxiv), work.key
        assert re.fullmatch(r"(10\.\d{4,}/\S+)?", work.doi), work.key
        assert work.links or re.search(r"\d", work.place), f"{work.key}: arXiv, DOI, or a volume"
        assert re.fullmatch(r"[a-z]+\d{4}", work.key), work.key
        assert work.key.endswith(work.year), work.key
        if work.arxiv:  # not older than its preprint, and seldom more than three years younger
            assert 2000 + int(work.arxiv[:2]) <= int(work.year) + 1, work.key
            assert int(work.year) <= 2000 + int(work.arxiv[:2]) + 3, work.key


def test_a_broken_bibliography_says_which_entry(tmp_path):
    path = tmp_path / "x.bib"
    path.write_text("@misc{a2020,\n  title = {T},\n  year = {2020},\n}\n")
    with pytest.raises(ValueError, match="a2020 lacks author"):
        read_references(path)
