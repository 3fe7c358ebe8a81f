"""Cutting any solution into steps: by sentence, line, number, blank line or displayed formula.

Every rule returns [start, end) character spans that tile whatever is not white space, so that token
spans follow exactly. A displayed formula is never cut in the middle, and a list marker ("2.") never
stands alone. "auto" takes the mark that the writer set: numbers, else blank lines, else lines, else
sentences.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from types import MappingProxyType

from rg_helpers.problems import FAMILIES, segment_steps

Spans = list[tuple[int, int]]

AUTO = "auto"
ANSWER_MARK = re.compile(r"\banswer\b|####|\\boxed|^A:", re.IGNORECASE)
NUMBERED = re.compile(
    r"^[ \t]*(?:[*_#]+[ \t]*)?(?:step[ \t]+\d+|\(\d+\)|\d+[.)](?=[ \t]|[*_]|$))",
    re.IGNORECASE | re.MULTILINE,
)
PARAGRAPH_BREAK = re.compile(r"\n[ \t\r]*\n\s*")
LINE = re.compile(r"[^\n]+")
MARK = re.compile(r"\\\[|\\\]|\$\$|\\(?P<side>begin|end)\{(?P<name>[a-zA-Z]+\*?)\}")
LONGEST_DISPLAY = 5000  # characters: a stray "$$" must not swallow the text
# What a full stop is no end of: a list marker, an abbreviation.
MARKER = re.compile(r"\d+[.)]|\(\d+\)|[-*•]|[A-Za-z][.)]")
ABBREVIATION = re.compile(r"(?:^|[\s(])(?:e\.g|i\.e|approx|vs|cf|Mr|Mrs|Ms|Dr|St|No|Eq|Eqs|Fig)\.$")
LONGEST_ABBREVIATION = 12


def cut_steps(text: str, rule: str = AUTO, family: str | None = None) -> Spans:
    """Return the spans of the steps of a solution by one of `RULES`, none of them blank.

    With "auto" a `family` of generated problems is cut as its own solutions are. Raises
    `ValueError` for an unknown rule.
    """
    if rule == AUTO:
        if family in FAMILIES:
            return segment_steps(text, family)
        rule = fitting_rule(text)
    if rule not in RULES:
        raise ValueError(f"steps {rule!r}: expected one of {', '.join((AUTO, *RULES))}")
    return RULES[rule](text)


def fitting_rule(text: str) -> str:
    """Return the rule that "auto" takes: the strongest mark that cuts the text at least twice."""
    if len(NUMBERED.findall(text)) > 1:
        return "numbered"
    if PARAGRAPH_BREAK.search(text.strip()):
        return "paragraph"
    return "line" if "\n" in text.strip() else "sentence"


def step_pieces(text: str, rule: str = AUTO, family: str | None = None) -> list[tuple[str, str]]:
    """Return (kind, text) of every step; a last one that announces an answer is the answer."""
    pieces = [("step", text[start:end]) for start, end in cut_steps(text, rule, family)]
    if pieces and ANSWER_MARK.search(pieces[-1][1]):
        pieces[-1] = ("answer", pieces[-1][1])
    return pieces


def prompt_pieces(text: str, family: str | None = None) -> list[tuple[str, str]]:
    """Return (kind, text) of a prompt's sentences: premises, and last the question."""
    spans = segment_steps(text, family) if family in FAMILIES else by_sentence(text)
    pieces = [("premise", text[start:end]) for start, end in spans]
    if pieces:
        pieces[-1] = ("question", pieces[-1][1])
    return pieces


def by_sentence(text: str) -> Spans:
    """Cut by sentence; a line break also ends one."""
    return _around_displays(text, _sentences, _ends_sentence)


def by_line(text: str) -> Spans:
    """Cut by line; the lines of a displayed formula stay together."""
    return _around_displays(text, _lines, lambda piece: False)


def by_number(text: str) -> Spans:
    """Cut before every numbered line ("1.", "(2)", "Step 3"); what stands in front is one step.

    A paragraph that announces the answer behind the last number is a step of its own.
    """
    starts = [match.start() for match in NUMBERED.finditer(text)]
    spans = _trimmed(text, _between(text, [0, *starts]))
    if starts and spans:
        start, end = spans[-1]
        breaks = list(PARAGRAPH_BREAK.finditer(text, start, end))
        if breaks and ANSWER_MARK.search(text[breaks[-1].end() : end]):
            spans[-1:] = [(start, breaks[-1].start()), (breaks[-1].end(), end)]
    return _trimmed(text, spans)


def by_paragraph(text: str) -> Spans:
    """Cut at blank lines."""
    inside = list(_displays(text))
    starts = [start for start, _ in inside]
    breaks = []
    for match in PARAGRAPH_BREAK.finditer(text):
        before = bisect_right(starts, match.start()) - 1
        if before < 0 or inside[before][1] <= match.start():
            breaks.append(match.end())
    return _trimmed(text, _between(text, [0, *breaks]))


def by_display(text: str) -> Spans:
    """Make every displayed formula one step; what stands between is cut by sentence."""
    return _around_displays(text, _sentences, lambda piece: True)


RULES: Mapping[str, Callable[[str], Spans]] = MappingProxyType(
    {
        "sentence": by_sentence,
        "line": by_line,
        "numbered": by_number,
        "paragraph": by_paragraph,
        "latex": by_display,
    }
)


def _displays(text: str) -> Iterator[tuple[int, int]]:
    """Yield the spans of displayed formulas, each from its mark to the next one that closes it."""
    opening: list[tuple[int, str]] = []
    closing: dict[str, list[int]] = defaultdict(list)
    for match in MARK.finditer(text):
        kind = match["name"] or match.group()[-1]  # "[", "]", "$" or an environment's name
        if match["side"] == "end" or kind in "]$":
            closing["[" if kind == "]" else kind].append(match.end())
        if match["side"] == "begin" or kind in "[$":
            opening.append((match.start(), kind))
    position = 0
    for start, kind in opening:
        ends = closing[kind]
        place = bisect_right(ends, start + 2)  # behind the opening mark itself
        if start >= position and place < len(ends) and ends[place] - start <= LONGEST_DISPLAY:
            position = ends[place]
            yield start, position


def _between(text: str, starts: list[int]) -> Spans:
    return list(pairwise([*starts, len(text)]))


def _trimmed(text: str, spans: Spans) -> Spans:
    """Take white space off both ends of every span, and blank spans out."""
    found = []
    for start, end in spans:
        piece = text[start:end]
        bare = piece.strip()
        if bare:
            start += len(piece) - len(piece.lstrip())
            found.append((start, start + len(bare)))
    return found


def _lines(text: str, start: int, end: int) -> Spans:
    return _trimmed(text, [match.span() for match in LINE.finditer(text, start, end)])


def _sentences(text: str, start: int, end: int) -> Spans:
    """Cut text[start:end] by sentence and put back together what is no sentence of its own."""
    found: Spans = []
    goes_on = False  # whether the last span ends in something that ends no sentence
    for first, last in segment_steps(text[start:end]):
        first, last = start + first, start + last
        if goes_on and "\n" not in text[found[-1][1] : first]:
            found[-1] = (found[-1][0], last)
        else:
            found.append((first, last))
        goes_on = bool(
            MARKER.fullmatch(text, found[-1][0], last)
            or ABBREVIATION.search(text[max(found[-1][0], last - LONGEST_ABBREVIATION) : last])
        )
    return found


def _ends_sentence(piece: str) -> bool:
    return piece.endswith((".", "!", "?"))


def _around_displays(
    text: str, cut: Callable[[str, int, int], Spans], ends: Callable[[str], bool]
) -> Spans:
    """Cut what stands around displayed formulas by `cut(text, start, end)`.

    A formula belongs to the step that it shares a line with, before and behind it, unless `ends`
    says of what stands before that it is complete.
    """
    found: Spans = []

    def add(more: Spans) -> None:
        if found and more:
            (start, end), (first, last) = found[-1], more[0]
            if "\n" not in text[end:first] and not ends(text[max(start, end - 1) : end]):
                found[-1] = (start, last)
                more = more[1:]
        found.extend(more)

    position = 0
    for start, end in _displays(text):
        add(cut(text, position, start))
        add([(start, end)])
        position = end
    add(cut(text, position, len(text)))
    return found
