"""Reading a sentence of a deduction: a plan, a fact, a clause applied, or the answer."""

from __future__ import annotations

import re

from rg_helpers.problems.problem import Problem
from rg_helpers.problems.written import ANSWER_MARK, Written

YES = {"yes": True, "true": True, "no": False, "false": False}
YES_ANSWER = re.compile(rf"{ANSWER_MARK}(yes|no|true|false)\b", re.IGNORECASE)
PLAN = re.compile(r"\bfor (\w+),? check (?:not )?(\w+)(?: (?:and|or) (\w+))?", re.IGNORECASE)
CLAUSE = re.compile(
    r"\b(\w+) when (not )?(\w+)(?: (and|or) (\w+))?\s{0,3}:"
    r"\s{0,3}(not )?(yes|no)(?: (and|or) (yes|no))?,? so (yes|no)\b",
    re.IGNORECASE,
)
VALUE = re.compile(r"\bis (\w+)\s{0,3}:\s{0,3}(yes|no)\b", re.IGNORECASE)
FACT = re.compile(
    r"\b(?:contract|it) is (not )?(\w+)(?=\W{0,3}$|,? (?:because|since|as)\b)", re.IGNORECASE
)


def read_deduction(text: str, problem: Problem) -> Written | None:
    """Read a sentence about which term holds; None when it says nothing of the kind."""
    answer = YES_ANSWER.search(text)
    if answer:
        return Written("answer", result=YES[answer[1].lower()])
    plan = PLAN.search(text)
    if plan:
        subject, *sources = (term.lower() for term in plan.groups() if term)
        return Written("plan", subject, tuple(sources))
    clause = CLAUSE.search(text)
    if clause:
        return _read_clause(*(part and part.lower().strip() for part in clause.groups()))
    value = VALUE.search(text)
    if value:
        return Written("value", value[1].lower(), result=YES[value[2].lower()])
    fact = FACT.search(text)
    if fact and any(q.key == fact[2].lower() for q in problem.quantities):
        return Written("value", fact[2].lower(), result=fact[1] is None)
    return None


def _read_clause(
    subject: str,
    negation: str | None,
    first: str,
    joiner: str | None,
    second: str | None,
    value_negation: str | None,
    first_value: str,
    value_joiner: str | None,
    second_value: str | None,
    result: str,
) -> Written:
    """Put together "It is {subject} when not {first}: not {first_value}, so {result}."."""
    return Written(
        "compute",
        subject,
        sources=tuple(term for term in (first, second) if term),
        operator=_operator(negation, joiner),
        sign=_operator(value_negation, value_joiner),
        inputs=tuple(YES[value] for value in (first_value, second_value) if value),
        result=YES[result],
    )


def _operator(negation: str | None, joiner: str | None) -> str:
    if negation and joiner:
        return f"not, {joiner}"  # no clause of the code is like that
    return joiner or negation or "same"
