"""One executed notebook as one HTML file that needs no network: styles, figures, formulas inside.

nbconvert's own page templates load require.js, MathJax and mermaid from the web; its `basic`
template gives the bare body, which is wrapped here. Formulas are drawn by matplotlib's
mathtext; what mathtext cannot draw stays readable as TeX.
"""

from __future__ import annotations

import base64
import html
import io
import re
from pathlib import Path

import nbformat
from nbconvert import HTMLExporter
from pygments.formatters import HtmlFormatter

from rg_helpers.course.notebook_files import read_notebook

# Code first: a dollar sign inside `code` or a fenced block is no formula.
CODE_OR_MATH = re.compile(
    r"(?P<code>```.*?```|~~~.*?~~~|`[^`\n]+`)"
    r"|\$\$(?P<display>.+?)\$\$"
    r"|(?<![\\$\w])\$(?P<inline>[^\s$](?:[^$\n]*[^\s$\\])?)\$(?![\w$])",
    re.DOTALL,
)
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto;
       padding: 0 1rem; color: #1a1a1a; background: #fff; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { padding: .3rem .7rem; border-bottom: 1px solid #ccc; text-align: left;
         vertical-align: top; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
a { color: #0b57a4; }
pre { margin: 0; overflow-x: auto; font: 14px/1.4 ui-monospace, monospace; }
.jp-InputArea, .input { margin-top: .8rem; }
.highlight { background: #f5f5f5; padding: .6rem; border-left: 3px solid #0b57a4; }
.output, .jp-OutputArea { padding: .2rem .6rem; }
.prompt, .jp-InputPrompt, .jp-OutputPrompt, .anchor-link { display: none; }
.output_stderr { color: #555; }
img { max-width: 100%; }
img.formula { vertical-align: middle; }
p.formula { text-align: center; }
.failed { font-weight: bold; text-decoration: underline; }
details { border: 1px solid #ccc; padding: .4rem .8rem; margin: .6rem 0; }
"""


def page(title: str, body: str, style: str = "") -> str:
    """Return a whole HTML page; `title` is text, `body` and `style` are used as they are."""
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{STYLE}{style}</style>\n</head>\n"
        f"<body>\n{body}\n</body>\n</html>\n"
    )


def notebook_page(path: str | Path, title: str) -> str:
    """Return the executed notebook `path` as a whole HTML page, figures and formulas embedded."""
    notebook = read_notebook(path)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = draw_formulas(cell.source)
        for output in cell.get("outputs", []):
            if "text/markdown" in output.get("data", {}):
                output.data["text/markdown"] = draw_formulas(output.data["text/markdown"])
    _keep_static_outputs(notebook)
    exporter = HTMLExporter(template_name="basic", embed_images=True)
    body, _ = exporter.from_notebook_node(
        notebook, resources={"metadata": {"path": str(Path(path).parent)}}
    )
    back = '<p><a href="../index.html">All notebooks</a></p>\n'
    return page(title, back + body, HtmlFormatter(style="default").get_style_defs(".highlight"))


def draw_formulas(markdown: str) -> str:
    """Replace $...$ and $$...$$ in Markdown by pictures of the formulas, TeX as their text."""

    def draw(match: re.Match[str]) -> str:
        if match["code"]:
            return match["code"]
        if match["inline"]:
            return _formula(match["inline"], display=False)
        return f'<p class="formula">{_formula(match["display"], display=True)}</p>'

    return CODE_OR_MATH.sub(draw, markdown)


def _formula(tex: str, display: bool) -> str:
    from matplotlib import mathtext
    from matplotlib.font_manager import FontProperties

    source = " ".join(tex.split())
    picture = io.BytesIO()
    try:
        mathtext.math_to_image(
            f"${source}$",
            picture,
            prop=FontProperties(size=15 if display else 12),
            dpi=96,
            format="svg",
        )
    except (ValueError, RuntimeError):  # a command that mathtext does not know
        return f"<code>{html.escape(source)}</code>"
    encoded = base64.b64encode(picture.getvalue()).decode("ascii")
    alt = html.escape(source, quote=True)
    return f'<img class="formula" alt="{alt}" src="data:image/svg+xml;base64,{encoded}">'


def _keep_static_outputs(notebook: nbformat.NotebookNode) -> None:
    """Drop widget views, which are empty without a kernel, where nothing stands beside them."""
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if not is_widget_view(output)]


def is_widget_view(output: nbformat.NotebookNode) -> bool:
    """Say whether an output is a widget with no picture or page to show in its stead."""
    kinds = set(output.get("data", {}))
    return any("widget-view" in kind for kind in kinds) and all(
        "widget-view" in kind or kind == "text/plain" for kind in kinds
    )
