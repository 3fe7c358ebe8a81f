"""What one line of a solution says, before anyone judges it, and how numbers and answers read."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

ANSWER_MARK = r"(?:\banswer\s{0,3}(?:is\b|:|=)[\s:=*$]{0,8}|####\s{0,3}|\\boxed\{\s{0,3})"
NUMBER = r"-?(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?"
NUMBER_ANSWER = re.compile(rf"{ANSWER_MARK}\$?({NUMBER})", re.IGNORECASE)


@dataclass(frozen=True)
class Written:
    """One line of a solution, taken apart.

    `kind` is "plan" (names what is needed), "value" (states a value), "compute" (works one out),
    "skip" (a program line is not run) or "answer"; `subject` is the key of the quantity it is
    about. `sources`, `operator` and `operand` are the definition as the line restates it (for a
    program's answer: the variable it names), `code` a program line as restated, or its guard;
    `sign` and `inputs` are the working, with its values in the order written. `test` is the
    variable a program line is guarded by and its value, as restated. What a line leaves out is
    `None` or empty.
    """

    kind: Literal["plan", "value", "compute", "skip", "answer"]
    subject: str | None = None
    sources: tuple[str, ...] = ()
    operator: str | None = None
    operand: int | None = None
    code: str | None = None
    sign: str | None = None
    inputs: tuple[int | bool, ...] = ()
    result: int | bool | None = None
    test: tuple[str, bool] | None = None


def integer(text: str) -> int | None:
    """Read a written number; None when it is no whole number of sane length."""
    match = re.fullmatch(r"(-?[0-9]{1,18})(?:\.0+)?", text.replace(",", ""))
    return int(match[1]) if match else None


def read_number_answer(text: str) -> Written | None:
    """Read "The answer is 16.", "#### 16" or "\\boxed{16}"; the result of 16.5 is None."""
    answer = NUMBER_ANSWER.search(text)
    return Written("answer", result=integer(answer[1])) if answer else None
