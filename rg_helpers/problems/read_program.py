"""Reading a line of a program trace: the code restated, its values filled in, the result."""

from __future__ import annotations

import re

from rg_helpers.problems.problem import Problem, Quantity
from rg_helpers.problems.program import SKIPPED
from rg_helpers.problems.written import (
    ANSWER_MARK,
    NUMBER,
    Written,
    integer,
    read_number_answer,
)

IS = r"(?:\s{0,3}=\s{0,3}| is )"
HEAD = (
    r"(?:(?P<label>L[0-9]{1,3})\s{0,3}:\s{0,3})?"
    r"(?:(?P<guard>if not|if) (?P<flag>[a-z])"
    rf"(?:\s{{0,3}},\s{{0,3}}(?P<tested>[a-z]){IS}(?P<test>True|False))?"
    r"\s{0,3}:\s{0,3})"
)
LINE = re.compile(
    rf"{HEAD}?(?P<variable>[a-z])\s{{0,3}}=\s{{0,3}}(?P<rest>[^=:]+(?:=[^=:]+){{0,2}})"
)
SKIP = re.compile(HEAD + SKIPPED)
ANSWER = re.compile(
    rf"{ANSWER_MARK}(?:[a-z]\s{{0,3}}:\s{{0,3}})?(?P<variable>[a-z]){IS}(?P<value>{NUMBER})",
    re.IGNORECASE,
)
ATOM = r"([a-z]|-?[0-9]{1,18}|True|False)"
EXPRESSION = re.compile(rf"{ATOM}(?:\s{{0,3}}([-+*>])\s{{0,3}}{ATOM})?")
GUARD = re.compile(r"(if not|if) ([a-z]): ")
VARIABLE = re.compile(r"\b[a-z]\b")


def read_program(text: str, problem: Problem) -> Written | None:
    """Read "L4: c = b - 2 = 10 - 2 = 8"; None when it is no line of a trace.

    The code or the working may be left out, and the label where it can be told from the rest.
    "L5: if t, t is False: skipped" is a line that is not run, "L5: if not t, t is False: c = ..."
    one that is; the answer line may name the variable it gives: "The answer is c: c is 8."
    """
    answer = ANSWER.search(text)
    if answer:
        return Written("answer", sources=(answer["variable"],), result=integer(answer["value"]))
    answer = read_number_answer(text)
    if answer:
        return answer
    text = text.strip().removesuffix(".")
    skip = SKIP.fullmatch(text)
    if skip:
        guard = f"{skip['guard']} {skip['flag']}"
        key = skip["label"] or _find_guarded(problem, guard)
        return Written("skip", key, code=guard, test=_test(skip))
    line = LINE.fullmatch(text)
    if not line:
        return None
    equals = [EXPRESSION.fullmatch(part.strip()) for part in line["rest"].split("=")]
    form = "".join(_form(part) for part in equals) if all(equals) else ""
    target = f"{line['guard']} {line['flag']}: " if line["guard"] else ""
    target += line["variable"]
    if form not in ("v", "c", "cv", "wv", "cwv"):
        return None
    code = None if form == "wv" else f"{target} = {_normal(equals[0])}"
    working = equals[-2] if "w" in form else None
    return Written(
        "value" if form == "v" else "compute",
        line["label"] or _find_label(problem, line["variable"], code),
        code=code,
        sign=working[2] if working else None,
        inputs=tuple(_value(working[i]) for i in (1, 3)) if working else (),
        result=None if form == "c" else _value(equals[-1][1]),
        test=_test(line),
    )


def code_of(problem: Problem, line: Quantity) -> str:
    """Return a line of code without its label: "if x: f = e - 2"."""
    return problem.nodes[line.premise].text.split(": ", 1)[1]


def asked_variable(problem: Problem) -> str:
    """Return the variable that the question asks for."""
    return problem.nodes[problem.prompt_nodes - 1].text.split()[2]


def guard_of(problem: Problem, line: Quantity) -> tuple[str, str] | None:
    """Return a line's guard, ("if" or "if not", flag variable), or None."""
    guard = GUARD.match(code_of(problem, line))
    return (guard[1], guard[2]) if guard else None


def names_read(problem: Problem, line: Quantity) -> list[str]:
    """Return the variables that a line's expression reads, in order."""
    return VARIABLE.findall(code_of(problem, line).split(" = ", 1)[1])


def _test(line: re.Match) -> tuple[str, bool] | None:
    return (line["tested"], line["test"] == "True") if line["tested"] else None


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


def _find_guarded(problem: Problem, guard: str) -> str | None:
    """Find the only line that stands behind this guard ("if t"), or None."""
    same = [q.key for q in problem.quantities if code_of(problem, q).startswith(f"{guard}: ")]
    return same[0] if len(same) == 1 else None
