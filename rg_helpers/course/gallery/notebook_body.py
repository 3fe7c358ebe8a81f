"""One executed notebook as HTML that needs no network: figures and formulas inside, no scripts.

nbconvert's own page templates load require.js, MathJax and mermaid from the web; its `basic`
template gives the bare body, which is tidied here. Formulas are drawn by matplotlib's mathtext;
what mathtext cannot draw stays readable as TeX.
"""

from __future__ import annotations

import html
import re
from pathlib import Path

import nbformat
from nbconvert import HTMLExporter

from rg_helpers.course.gallery.formulas import draw_formulas
from rg_helpers.course.gallery.frame import scrolling
from rg_helpers.course.notebook_files import is_widget_view, read_notebook

# A line that begins with a comment is HTML to Markdown, so that nothing in it would be formatted.
MEASURED_MARKS = re.compile(r"<!-- /?measured -->")
HEADING = re.compile(
    r'<h(?P<level>[1-6]) id="[^"]*">(?P<text>.*?)'
    r'<a class="anchor-link" href="[^"]*">[^<]*</a></h(?P=level)>',
    re.DOTALL,
)
# nbconvert closes a <details> at the end of its line and leaves what it should fold outside, so
# words stand in for the tags until the page is written.
OPENING, CLOSING = "RGH-FOLD-OPENS", "RGH-FOLD-CLOSES"
FOLD_TAGS = re.compile(r"<details>\s*<summary>(?P<said>.*?)</summary>|</details>", re.DOTALL)
FOLD_WORDS = re.compile(rf"<p>(?:{OPENING} (?P<said>.*?)|{CLOSING})</p>", re.DOTALL)
SOLUTION, SOLVED = "RGH-SOLUTION-OPENS", "RGH-SOLUTION-CLOSES"
SOLUTION_CELL = re.compile(  # a Markdown cell that holds nothing but one of the words
    r'<div class="cell [^>]*>(?:(?!<div class="cell ).)*?'
    rf"<p>(?P<word>{SOLUTION}|{SOLVED})</p>\s*(?:</div>\s*){{3}}",
    re.DOTALL,
)
TABLE = re.compile(r"<table\b.*?</table>", re.DOTALL)
TAG = re.compile(r"<[^>]+>")


def notebook_body(path: str | Path) -> tuple[str, str]:
    """Return the executed notebook `path` as the body of a page, and a list of its sections.

    Figures and formulas are embedded, tables scroll by themselves, headings carry plain anchors,
    solutions are folded.
    """
    notebook = read_notebook(path)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = _prepared(cell.source)
        for output in cell.get("outputs", []):
            if "text/markdown" in output.get("data", {}):
                output.data["text/markdown"] = _prepared(output.data["text/markdown"])
    _keep_static_outputs(notebook)
    _fold_solutions(notebook)
    exporter = HTMLExporter(template_name="basic", embed_images=True)
    body, _ = exporter.from_notebook_node(
        notebook, resources={"metadata": {"path": str(Path(path).parent)}}
    )
    body = FOLD_WORDS.sub(_fold_tag, SOLUTION_CELL.sub(_solution_tag, body))
    body, sections = _name_headings(body)
    links = "".join(f'<li><a href="#{anchor}">{text}</a></li>' for anchor, text in sections)
    return TABLE.sub(lambda match: scrolling(match[0]), body), f"<ol>{links}</ol>" if links else ""


def _prepared(markdown: str) -> str:
    """Return Markdown with formulas drawn, and words in the place of what nbconvert would break."""

    def word(match: re.Match[str]) -> str:
        said = match["said"]
        return f"\n\n{CLOSING if said is None else f'{OPENING} {said.strip()}'}\n\n"

    return draw_formulas(FOLD_TAGS.sub(word, MEASURED_MARKS.sub("", markdown)))


def _fold_tag(match: re.Match[str]) -> str:
    said = match["said"]
    return "</details>" if said is None else f"<details><summary>{said}</summary>"


def _solution_tag(match: re.Match[str]) -> str:
    return "</details>" if match["word"] == SOLVED else "<details><summary>Solution</summary>"


def _fold_solutions(notebook: nbformat.NotebookNode) -> None:
    """Put every cell tagged `solution` between cells that become a fold."""
    cells = []
    for cell in notebook.cells:
        if "solution" in cell.metadata.get("tags", []):
            words = (nbformat.v4.new_markdown_cell(word) for word in (SOLUTION, SOLVED))
            cells += [next(words), cell, next(words)]
        else:
            cells.append(cell)
    notebook.cells = cells


def _name_headings(body: str) -> tuple[str, list[tuple[str, str]]]:
    """Give headings short anchors, each once; return them with the sections of level 2."""
    sections, used = [], set()

    def name(match: re.Match[str]) -> str:
        words = html.unescape(TAG.sub("", match["text"])).strip()
        slug = re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-") or "section"
        anchor = next(
            slug if count == 1 else f"{slug}-{count}"
            for count in range(1, len(used) + 2)
            if (slug if count == 1 else f"{slug}-{count}") not in used
        )
        used.add(anchor)
        if match["level"] == "2":
            sections.append((anchor, html.escape(words)))
        return f'<h{match["level"]} id="{anchor}">{match["text"]}</h{match["level"]}>'

    return HEADING.sub(name, body), sections


def _keep_static_outputs(notebook: nbformat.NotebookNode) -> None:
    """Drop widget views, which are empty without a kernel; pictures and pages beside them stay."""
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if not is_widget_view(output)]
            for data in (output.get("data", {}) for output in cell.outputs):
                for kind in [kind for kind in data if "widget-view" in kind]:
                    del data[kind]
