"""The explorer as a page of its own: module, style and data in one file, no kernel, no network."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rg_helpers.artefacts import write_text

FOLDER = Path(__file__).parent
# The module by ideas: each file declares functions, the last one exports. Neither anywidget, which
# takes one text, nor a page opened from disk could follow imports between files.
MODULE_PARTS = ("graphs.js", "words.js", "drawing.js", "controls.js", "explorer.js")
STYLE = FOLDER / "explorer.css"
# Nothing may be fetched: what the page needs stands in it.
POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'"
ROW, CONTROLS, TALLEST = 27, 330, 900  # pixels of a line, of what stands round the text, of a frame


def module_source() -> str:
    """Return the explorer's JavaScript: one module without imports, joined from its parts."""
    return "\n".join((FOLDER / part).read_text(encoding="utf-8") for part in MODULE_PARTS)


def explorer_html(data: Mapping[str, Any], path: str | Path) -> Path:
    """Write the explorer over `explorer_data` as one HTML file that opens from disk."""
    return write_text(path, explorer_page(data))


def explorer_page(data: Mapping[str, Any]) -> str:
    """Return the whole HTML page; without JavaScript it lists the lines and what they follow from.

    Raises `ValueError` for data that `explorer_data` did not make.
    """
    if "methods" not in data or "kinds" not in data:
        raise ValueError(f"data with the keys {list(data)}: pass what explorer_data returns")
    title = html.escape(data["title"] or "Reasoning graph")
    # "<" could end the script element; JSON reads the escape as the same character.
    plain = json.dumps(data, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>\n{STYLE.read_text(encoding='utf-8')}</style>\n</head>\n"
        f'<body class="rgx-page">\n<main id="explorer">{_plain_list(data)}</main>\n'
        f'<script type="application/json" id="explorer-data">{plain}</script>\n'
        f'<script type="module">\n{module_source()}\n'
        'const given = JSON.parse(document.getElementById("explorer-data").textContent);\n'
        'window.explorer = mount(document.getElementById("explorer"), given);\n'
        "</script>\n</body>\n</html>\n"
    )


def explorer_frame(data: Mapping[str, Any]) -> str:
    """Return the page as an `iframe` element, to stand in any other page or notebook output.

    The frame carries the page in itself and may run its script, but reach neither the page around
    it nor the network.
    """
    height = min(TALLEST, CONTROLS + ROW * len(data["kinds"]))
    return (
        f'<iframe sandbox="allow-scripts" title="reasoning-graph explorer" width="100%" '
        f'height="{height}" style="border: 0" srcdoc="{html.escape(explorer_page(data))}"></iframe>'
    )


def _plain_list(data: Mapping[str, Any]) -> str:
    from rg_helpers.explorer.words import line_in_words

    lines = (
        f"<li>{html.escape(line_in_words(data, node))}</li>" for node in range(len(data["kinds"]))
    )
    return f'<ol start="0">{"".join(lines)}</ol>'
