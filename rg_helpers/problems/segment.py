"""Cutting a written solution into steps, as exact character spans."""

from __future__ import annotations

import re

# A full stop ends a sentence unless it stands inside a number (3.5) or between letters.
SENTENCE = re.compile(r"[^\s].*?(?:[.!?](?=\s|$)|\n|$)", re.DOTALL)
LINE = re.compile(r"[^\s][^\n]*")


def segment_steps(text: str, family: str | None = None) -> list[tuple[int, int]]:
    """Return the [start, end) character spans of the steps, without surrounding white space.

    Programs are cut by line. Everything else is cut by sentence, where a line break also ends
    one; that fits arithmetic, deduction and most model-written solutions.
    """
    pattern = LINE if family == "program" else SENTENCE
    spans = []
    for match in pattern.finditer(text):
        piece = match.group().rstrip()
        if piece:
            spans.append((match.start(), match.start() + len(piece)))
    return spans
