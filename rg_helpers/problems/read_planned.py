"""Reading one line of an arithmetic or deduction solution, strictly formatted or not."""

from __future__ import annotations

import re

from rg_helpers.problems.checked import Written
from rg_helpers.problems.problem import Problem

NUMBER_ANSWER = re.compile(
    r"(?:answer\s*(?:is|:|=)|####|\\boxed\{)\s*\$?(-?\d[\d,]*(?:\.\d+)?)", re.IGNORECASE
)
YES_ANSWER = re.compile(
    r"(?:answer\s*(?:is|:|=)|####|\\boxed\{)\s*(yes|no|true|false)\b", re.IGNORECASE
)
EQUATION = re.compile(r"(-?\d+)\s*([-+*×x−·])\s*(-?\d+)\s*=\s*(-?\d+)")
DEFINITION = re.compile(r"(\d+)\s+(more|fewer|less)\b", re.IGNORECASE)
HAS_VALUE = re.compile(r"\b(?:has|have|is|gets|=)\s+(-?\d+)\b")
YES = {"yes": True, "true": True, "no": False, "false": False}


def integer(text: str) -> int | None:
    """Read a written number; None when it is no whole number of sane length."""
    text = text.replace(",", "").removesuffix(".")
    if re.fullmatch(r"-?\d{1,18}(\.0+)?", text):
        return int(text.split(".")[0])
    return None


def read_arithmetic(text: str, problem: Problem) -> Written | None:
    """Read a sentence about who has how many; None when it says nothing of the kind."""
    answer = NUMBER_ANSWER.search(text)
    if answer:
        return Written("answer", result=integer(answer.group(1)))
    known = {q.key for q in problem.quantities}
    named = [word for word in re.findall(r"[A-Z][a-z]+", text) if _is_name(word, known)]
    if not named:
        return None
    subject, sources = named[0], tuple(dict.fromkeys(n for n in named[1:] if n != named[0]))
    equations = EQUATION.findall(text)
    if equations:
        left, sign, right, result = equations[-1]
        left, right, result = (integer(n) for n in (left, right, result))
        if left is None or right is None or result is None:
            return None
        return _computed(text, subject, sources, sign.replace("−", "-"), left, right, result)
    value = HAS_VALUE.search(text)
    if value and not DEFINITION.search(text) and integer(value.group(1)) is not None:
        return Written("value", subject, sources, result=integer(value.group(1)))
    if sources and not re.search(r"\d", text):
        return Written("plan", subject, sources)
    return None


def _is_name(word: str, known: set[str]) -> bool:
    from rg_helpers.problems.arithmetic import NAMES

    return word in known or word in NAMES


def _computed(text, subject, sources, sign, left, right, result) -> Written:
    definition = DEFINITION.search(text)
    if definition:
        operator = "more" if definition.group(2).lower() == "more" else "fewer"
        operand = integer(definition.group(1))
    elif re.search(r"\b(twice|double)\b", text, re.IGNORECASE):
        operator, operand = "twice", None
    elif len(sources) >= 2:
        operator, operand = "together", None
    else:  # no words, only the equation: it tells the operator, not which number is which
        operator, operand = None, None
    if operator == "twice":
        used = (right,) if left == 2 else (left,)
    elif operator in ("more", "fewer"):
        # "8 + 3" and "3 + 8" both add 3 to 8: the other number is the value that was put in.
        used = (left,) if right == operand or operator == "fewer" else (right,)
        if operand not in (left, right):
            operand = right
    else:
        used = (left, right)
    expected_sign = {"more": "+", "fewer": "-", "together": "+"}.get(operator)
    if expected_sign and sign != expected_sign:
        operator = {"+": "more", "-": "fewer"}.get(sign, "times") if operator else None
    return Written("compute", subject, sources, operator, operand, used, result)


PLAN = re.compile(r"^for (\w+),? check (\w+)(?: (?:and|or) (\w+))?", re.IGNORECASE)
CLAUSE = re.compile(
    r"(\w+) when (not )?(\w+)(?: (and|or) (\w+))?\s*:\s*(not )?(yes|no)(?: (and|or) (yes|no))?,? "
    r"so (yes|no)\b",
    re.IGNORECASE,
)
VALUE = re.compile(r"\bis (\w+)\s*:\s*(yes|no)\b", re.IGNORECASE)
FACT = re.compile(r"\bis (not )?(\w+)\.?$", re.IGNORECASE)


def read_deduction(text: str, problem: Problem) -> Written | None:
    """Read a sentence about which term holds; None when it says nothing of the kind."""
    answer = YES_ANSWER.search(text)
    if answer:
        return Written("answer", result=YES[answer.group(1).lower()])
    plan = PLAN.search(text)
    if plan:
        return Written("plan", plan.group(1), tuple(t for t in plan.groups()[1:] if t))
    clause = CLAUSE.search(text)
    if clause:
        subject, negated, first, joiner, second, value_negated, *values = clause.groups()
        value_joiner = values[1]
        operator = joiner.lower() if joiner else ("not" if negated else "same")
        worked = value_joiner.lower() if value_joiner else ("not" if value_negated else "same")
        used = tuple(YES[v.lower()] for v in (values[0], values[2]) if v)
        if operator != worked or (joiner and negated):
            operator = "mixed"  # the clause as restated and as worked out differ
        sources = (first, second) if second else (first,)
        return Written("compute", subject, sources, operator, None, used, YES[values[3].lower()])
    value = VALUE.search(text)
    if value:
        return Written("value", value.group(1), result=YES[value.group(2).lower()])
    fact = FACT.search(text)
    if fact and any(q.key == fact.group(2) for q in problem.quantities):
        return Written("value", fact.group(2), result=fact.group(1) is None)
    return None
