"""The frame of every page of the gallery: head, style, the book's own navigation."""

from __future__ import annotations

import functools
import html
from collections.abc import Iterable, Sequence
from pathlib import Path

from pygments.formatters import HtmlFormatter

BOOK = "Reasoning graphs of language models"
PARTS = (  # the pages that the navigation names, by file
    ("index.html", "Chapters"),
    ("claims.html", "Claims"),
    ("glossary.html", "Glossary"),
    ("references.html", "References"),
    ("runs.html", "Runs"),
)
LIGHT_CODE, DARK_CODE = "friendly", "native"  # Pygments' styles


def page(title: str, body: str, *, root: str = "", here: str = "", contents: str = "") -> str:
    """Return a whole HTML page; `title` is text, `body` and `contents` are HTML.

    `root` leads from the page's folder to the site's ("../"), `here` is the file of `PARTS` that
    the page belongs to, and `contents`, where given, stands beside the body.
    """
    links = "".join(
        f'<a href="{root}{file}"{_current(file == here)}>{name}</a>' for file, name in PARTS
    )
    name = title if title == BOOK else f"{title} · {BOOK}"
    aside = f'<nav class="contents" aria-label="On this page">{contents}</nav>' if contents else ""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{html.escape(name)}</title>\n<style>{style()}</style>\n</head>\n<body>\n"
        '<a class="skip" href="#main">Skip to the text</a>\n'
        f'<header class="site"><a class="book" href="{root}index.html">{BOOK}</a>'
        f'<nav aria-label="The book">{links}</nav></header>\n'
        f'<div class="sheet{" with-contents" if contents else ""}">{aside}\n'
        f'<main id="main">\n{body}\n</main></div>\n'
        '<footer class="site">Every number here was written by code of the repository.</footer>\n'
        "</body>\n</html>\n"
    )


@functools.cache
def style() -> str:
    """Return the style sheet of every page, with the colours of code for both schemes."""
    sheet = Path(__file__).with_name("site.css").read_text(encoding="utf-8")
    light = HtmlFormatter(style=LIGHT_CODE).get_style_defs(".highlight")
    dark = HtmlFormatter(style=DARK_CODE).get_style_defs(".highlight")
    return f"{light}\n@media (prefers-color-scheme: dark) {{\n{dark}\n}}\n{sheet}"


def table(
    header: Iterable[str],
    rows: Iterable[Sequence[str]],
    numbers: Iterable[int] = (),
    stacked: bool = False,
) -> str:
    """Return an HTML table; cells are HTML already, those in columns `numbers` align right.

    A `stacked` table becomes one block a row on narrow screens, every cell with its heading.
    """
    header, numbers = list(header), set(numbers)
    head = "".join(f'<th scope="col">{cell}</th>' for cell in header)
    lines = []
    for row in rows:
        cells = (
            f'<td data-label="{html.escape(header[column], quote=True)}"'
            f"{' class=number' if column in numbers else ''}>{cell}</td>"
            for column, cell in enumerate(row)
        )
        lines.append(f"<tr>{''.join(cells)}</tr>")
    kind = ' class="stacked"' if stacked else ""
    body = f"<table{kind}><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"
    return body if stacked else scrolling(body)


def scrolling(body: str) -> str:
    """Wrap what may be wider than a phone, so that it scrolls and the page does not."""
    return f'<div class="scroll" tabindex="0">{body}</div>'


def _current(is_here: bool) -> str:
    return ' aria-current="page"' if is_here else ""
