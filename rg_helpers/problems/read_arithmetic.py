"""Reading a sentence of an arithmetic solution, in the course's words or in a model's own."""

from __future__ import annotations

import re

from rg_helpers.problems.arithmetic import NAMES
from rg_helpers.problems.problem import Problem
from rg_helpers.problems.written import NUMBER, Written, integer, read_number_answer

UNIT = r"(?: [a-z]+)?"  # "8 pens + 3 pens"
SIGN = r"[-+*×x·−]"
TERM = rf"\$?({NUMBER}){UNIT}"
EQUATION = re.compile(
    rf"(?<![\w.])\$?({NUMBER}){UNIT}(?P<rest>(?:\s*{SIGN}\s*{TERM})+)\s*=\s*\$?(?P<result>{NUMBER})"
)
SIGN_AND_TERM = re.compile(rf"\s*({SIGN})\s*{TERM}")
SAME_SIGN = str.maketrans("×x·−", "***-")
VERB = r"(?:has|have|had|gets|got|is|=|:)"
SUBJECT_BEFORE = re.compile(rf"([A-Z][a-z]+)(?:'s)?(?: \w+)?\s{{1,3}}{VERB}\s{{0,3}}$")
HAS_VALUE = re.compile(
    rf"\b([A-Z][a-z]+)(?:'s)?(?: \w+)?\s{{1,3}}{VERB}\s{{1,3}}"
    rf"(?:exactly |only |a total of )?\$?({NUMBER})"
)
DEFINITION = re.compile(r"\b([0-9]{1,18})\s{1,3}(more|fewer|less)\b", re.IGNORECASE)
TWICE = re.compile(r"\b(?:twice|double)\b", re.IGNORECASE)
NAME = re.compile(r"\b[A-Z][a-z]+\b")
OPERATOR = {"more": "more", "fewer": "fewer", "less": "fewer"}


def read_arithmetic(text: str, problem: Problem) -> Written | None:
    """Read a sentence about who has how many; None when it says nothing of the kind."""
    answer = read_number_answer(text)
    if answer:
        return answer
    named = list(dict.fromkeys(n for n in NAME.findall(text) if n in NAMES))
    if not named:
        return None
    equations = list(EQUATION.finditer(text))
    if equations:
        return _read_equation(text, named, equations[-1])
    subject, sources = named[0], tuple(named[1:])
    operator, operand = _definition(text, sources)
    values = [m for m in HAS_VALUE.finditer(text) if m[1] in named]
    if values and operator not in ("more", "fewer"):
        result = integer(values[-1][2])
        return None if result is None else Written("value", values[-1][1], result=result)
    restates = operator in ("more", "fewer", "twice")
    numbers = len(re.findall(r"\d+", text))
    if sources and "=" not in text and numbers == (operand is not None):
        # "Ana needs Bo and Cal." names quantities alone; "Ana has twice as many as Bo." says how.
        return Written(
            "plan", subject, sources, operator if restates else None, operand if restates else None
        )
    return None


def _read_equation(text: str, named: list[str], equation: re.Match) -> Written | None:
    """Read "Lea has 7 fewer than Ida, so 37 - 7 = 30." or "So Lea has 37 - 7 = 30 eggs."."""
    pairs = SIGN_AND_TERM.findall(equation["rest"])
    inputs = [integer(n) for n in (equation[1], *(number for _, number in pairs))]
    result = integer(equation["result"])
    if result is None or None in inputs:
        return None
    before = SUBJECT_BEFORE.search(text[: equation.start()])
    subject = before[1] if before and before[1] in named else named[0]
    # "Bo has 8, so Ana has 8 + 3 = 11.": names before the subject are context, not a definition.
    sources = tuple(named[1:]) if subject == named[0] else ()
    operator, operand = _definition(text, sources)
    if len(pairs) > 1:  # several operations at once: only the value can be judged
        return Written("value", subject, result=result)
    sign = pairs[0][0].translate(SAME_SIGN)
    return Written(
        "compute", subject, sources, operator, operand, None, sign, tuple(inputs), result
    )


def _definition(text: str, sources: tuple[str, ...]) -> tuple[str | None, int | None]:
    """Return the (operator, operand) that a sentence restates in words, or (None, None)."""
    found = DEFINITION.search(text)
    if found:
        return OPERATOR[found[2].lower()], integer(found[1])
    if TWICE.search(text):
        return "twice", None
    return ("together" if len(sources) >= 2 else None), None
