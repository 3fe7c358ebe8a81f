"""Reading a line of a program trace: the code restated, its values filled in, the result."""

from __future__ import annotations

import re

from rg_helpers.problems.problem import Problem, Quantity
from rg_helpers.problems.written import Written, integer, read_number_answer

LINE = re.compile(
    r"(?:(?P<label>L[0-9]{1,3})\s{0,3}:\s{0,3})?"
    r"(?:(?P<guard>if not|if) (?P<flag>[a-z])\s{0,3}:\s{0,3})?"
    r"(?P<variable>[a-z])\s{0,3}=\s{0,3}(?P<rest>[^=]+(?:=[^=]+){0,2})"
)
ATOM = r"([a-z]|-?[0-9]{1,18}|True|False)"
EXPRESSION = re.compile(rf"{ATOM}(?:\s{{0,3}}([-+*>])\s{{0,3}}{ATOM})?")
GUARD = re.compile(r"(if not|if) ([a-z]): ")
VARIABLE = re.compile(r"\b[a-z]\b")


def read_program(text: str, problem: Problem) -> Written | None:
    """Read "L4: c = b - 2 = 10 - 2 = 8"; None when the line is no assignment or answer.

    The code or the working may be left out, and the label where it can be told from the rest.
    """
    answer = read_number_answer(text)
    if answer:
        return answer
    line = LINE.fullmatch(text.strip().removesuffix("."))
    if not line:
        return None
    parts = [EXPRESSION.fullmatch(part.strip()) for part in line["rest"].split("=")]
    if not all(parts):
        return None
    target = line["variable"]
    if line["guard"]:
        target = f"{line['guard']} {line['flag']}: {target}"
    form = "".join(_form(part) for part in parts)
    if form not in ("v", "c", "cv", "wv", "cwv"):
        return None
    code = None if form == "wv" else f"{target} = {_normal(parts[0])}"
    working = parts[-2] if "w" in form else None
    return Written(
        "value" if form == "v" else "compute",
        line["label"] or _find_label(problem, line["variable"], code),
        code=code,
        sign=working[2] if working else None,
        inputs=tuple(_value(working[i]) for i in (1, 3)) if working else (),
        result=None if form == "c" else _value(parts[-1][1]),
    )


def code_of(problem: Problem, line: Quantity) -> str:
    """Return a line of code without its label: "if x: f = e - 2"."""
    return problem.nodes[line.premise].text.split(": ", 1)[1]


def guard_of(problem: Problem, line: Quantity) -> tuple[str, str] | None:
    """Return a line's guard, ("if" or "if not", flag variable), or None."""
    guard = GUARD.match(code_of(problem, line))
    return (guard[1], guard[2]) if guard else None


def names_read(problem: Problem, line: Quantity) -> list[str]:
    """Return the variables that a line's expression reads, in order."""
    return VARIABLE.findall(code_of(problem, line).split(" = ", 1)[1])


def _form(part: re.Match) -> str:
    """Tell code (c), a working with values alone (w) and a bare value (v) apart."""
    if VARIABLE.search(part[0]):
        return "c"
    return "w" if part[2] else "v"


def _normal(part: re.Match) -> str:
    return f"{part[1]} {part[2]} {part[3]}" if part[2] else part[1]


def _value(text: str) -> int | bool | None:
    return text == "True" if text in ("True", "False") else integer(text)


def _find_label(problem: Problem, variable: str, code: str | None) -> str | None:
    """Find the line that is meant: the one with this code, or the only one for this variable."""
    same = [q.key for q in problem.quantities if code_of(problem, q) == code]
    named = [q.key for q in problem.quantities if q.name == variable]
    return same[0] if same else named[0] if len(named) == 1 else None
