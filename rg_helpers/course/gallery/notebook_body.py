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
TABLE = re.compile(r"<table\b.*?</table>", re.DOTALL)
TAG = re.compile(r"<[^>]+>")


def notebook_body(path: str | Path) -> tuple[str, str]:
    """Return the executed notebook `path` as the body of a page, and a list of its sections.

    Figures and formulas are embedded, tables scroll by themselves, headings carry plain anchors.
    """
    notebook = read_notebook(path)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = draw_formulas(MEASURED_MARKS.sub("", cell.source))
        for output in cell.get("outputs", []):
            if "text/markdown" in output.get("data", {}):
                output.data["text/markdown"] = draw_formulas(output.data["text/markdown"])
    _keep_static_outputs(notebook)
    exporter = HTMLExporter(template_name="basic", embed_images=True)
    body, _ = exporter.from_notebook_node(
        notebook, resources={"metadata": {"path": str(Path(path).parent)}}
    )
    body, sections = _name_headings(body)
    links = "".join(f'<li><a href="#{anchor}">{text}</a></li>' for anchor, text in sections)
    return TABLE.sub(lambda match: scrolling(match[0]), body), f"<ol>{links}</ol>" if links else ""


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
    """Drop widget views, which are empty without a kernel, where nothing stands beside them."""
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if not is_widget_view(output)]
