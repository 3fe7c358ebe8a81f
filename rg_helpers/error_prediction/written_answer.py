"""Reading a solution's answer from its text alone: no gold answer, no model, no judge.

Equal answers must compare equal however they are written ("1,200", "$1200.00"), or a vote among
samples would count spellings.
"""

from __future__ import annotations

import re
from fractions import Fraction

from rg_helpers.error_prediction.solution_span import answer_node
from rg_helpers.traces import Trace

NUMBER = re.compile(r"(?<![\w.])-?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?![\d])")
QUOTIENT = re.compile(rf"{NUMBER.pattern}(?:\s?/\s?\d+(?![\d.,]*\d))?")
TRUTH = {"yes": "yes", "true": "yes", "no": "no", "false": "no"}
WORD = re.compile(r"\b(yes|no|true|false)\b", re.IGNORECASE)
MARK = re.compile(r"(?:\banswer\b|####|\\boxed)", re.IGNORECASE)
MASK = "<value>"
LONGEST_NUMBER = 30  # digits; anything longer is compared as it is written


def written_answer(trace: Trace) -> str | None:
    """Return the answer that a solution states, in one spelling; None if there is no last line.

    It is the last number or fraction of the answer line, behind the words that announce it where
    there are such, else its last yes or no, else the line itself in lower case.
    """
    if not trace.steps:
        return None
    line = answer_node(trace).text
    mark = MARK.search(line)
    said = line[mark.end() :] if mark else line
    numbers = [match.group() for match in QUOTIENT.finditer(said)]
    if numbers:
        return normal_number(numbers[-1])
    words = WORD.findall(said)
    if words:
        return TRUTH[words[-1].lower()]
    return " ".join(said.lower().strip(" .:=").split()) or None


def normal_number(text: str) -> str:
    """Return one spelling for equal numbers: "1,200.0" becomes "1200", "0.5" and "2/4" "1/2"."""
    plain = re.sub(r"[,\s]", "", text)
    top, _, bottom = plain.partition("/")
    if len(plain) > LONGEST_NUMBER or (bottom and not int(bottom)):
        return plain
    return str(Fraction(top) / int(bottom or 1))


def masked_solution(trace: Trace) -> str:
    """Return the solution with its answer hidden, for predictors that read the text.

    Every number and every yes or no of the answer line becomes `<value>`, and so does the answer's
    number wherever else it stands: which numbers are answers must not be learnt by heart.
    """
    answer = written_answer(trace)
    line = answer_node(trace) if trace.steps else None
    hidden = [_mask_number(node.text, answer) for node in trace.steps if node is not line]
    if line is not None:
        hidden.append(WORD.sub(MASK, NUMBER.sub(MASK, line.text)))
    return "\n".join(hidden)


def _mask_number(text: str, answer: str | None) -> str:
    return NUMBER.sub(lambda m: MASK if normal_number(m.group()) == answer else m.group(), text)
