"""Formulas of Markdown as embedded pictures, drawn by matplotlib's mathtext."""

from __future__ import annotations

import base64
import functools
import html
import io
import re

# Code first: a dollar sign inside `code` or a fenced block is no formula.
CODE_OR_MATH = re.compile(
    r"(?P<code>```.*?```|~~~.*?~~~|`[^`\n]+`)"
    r"|\$\$(?P<display>.+?)\$\$"
    r"|(?<![\\$\w])\$(?P<inline>[^\s$](?:[^$\n]*[^\s$\\])?)\$(?![\w$])",
    re.DOTALL,
)


def draw_formulas(markdown: str) -> str:
    """Replace $...$ and $$...$$ in Markdown by pictures of the formulas, TeX as their text."""

    def draw(match: re.Match[str]) -> str:
        if match["code"]:
            return match["code"]
        if match["inline"]:
            return formula_image(match["inline"])
        return f'<p class="formula">{formula_image(match["display"], display=True)}</p>'

    return CODE_OR_MATH.sub(draw, markdown)


@functools.cache
def formula_image(tex: str, display: bool = False) -> str:
    """Return a formula as an embedded picture with TeX as its text, or as code if it fails."""
    from matplotlib import mathtext, rc_context
    from matplotlib.font_manager import FontProperties

    source = " ".join(tex.split())
    picture = io.BytesIO()
    try:
        with rc_context({"savefig.transparent": True}):  # the page may be dark
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
