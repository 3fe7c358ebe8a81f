"""`WordProblem`: a problem of GSM8K, MATH or a file of their form, with its reference answer.

Lines are told apart by their columns: question + answer (GSM8K, hub id openai/gsm8k), problem +
solution (MATH and its subsets), question + ground_truth (GSM8K's model solutions).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from rg_helpers.artefacts import sha256_of
from rg_helpers.datasets.answers import extract_answer
from rg_helpers.traces import BadLine

SUFFIXES = (".jsonl", ".json")
_SHAPES = (
    # format, question, solution
    ("gsm8k", "question", "answer"),
    ("gsm8k", "question", "ground_truth"),
    ("math", "problem", "solution"),
)


@dataclass(frozen=True)
class WordProblem:
    """A problem in words.

    `problem_id` is a hash of the question, as in traces of it. `solution` is the reference as the
    file has it (with calculator annotations), `answer` its final answer. `row` counts the file's
    problems from 0. `extra` keeps what else the file says (level, subject).
    """

    problem_id: str
    question: str
    solution: str
    answer: str
    family: str
    row: int = 0
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "extra", MappingProxyType(dict(self.extra)))

    @property
    def lines(self) -> tuple[str, ...]:
        """The lines of the reference solution that say something, annotations included."""
        return tuple(line.strip() for line in self.solution.splitlines() if line.strip())


def question_id(question: str) -> str:
    """Return the id of a question, the one that traces of it have: a hash of its text."""
    return sha256_of(question)[:16]


def problem_of(row: Mapping[str, Any], number: int = 0) -> WordProblem:
    """Return the problem of one row; raises `ValueError` that names the columns expected."""
    for family, question, solution in _SHAPES:
        if question not in row or solution not in row:
            continue
        for name in (question, solution):
            if not isinstance(row[name], str) or not row[name].strip():
                raise ValueError(f"the column {name} is {str(row[name])[:40]!r}: expected text")
        answer = row.get("answer") if solution != "answer" else None
        answer = str(answer) if answer is not None else extract_answer(row[solution])
        if answer is None:
            raise ValueError(
                f"the {solution} announces no answer: expected a line '#### 42', '\\boxed{{42}}' "
                "or 'A: 42', or a column answer beside problem and solution"
            )
        extra = {name: v for name, v in row.items() if name not in (question, solution)}
        text = row[question]
        return WordProblem(question_id(text), text, row[solution], answer, family, number, extra)
    expected = " or ".join(f"{question} + {solution}" for _, question, solution in _SHAPES)
    raise ValueError(f"columns {', '.join(map(str, row)) or 'none'}: expected {expected}")


def problems_of(rows: Iterable[Any], name: str = "rows") -> tuple[list[WordProblem], list[BadLine]]:
    """Return the problems of rows, and a report on every row that is none."""
    problems: list[WordProblem] = []
    bad: list[BadLine] = []
    for number, row in enumerate(rows):
        try:
            if not isinstance(row, Mapping):
                raise ValueError(row if isinstance(row, str) else "no object with named columns")
            problems.append(problem_of(row, number))
        except ValueError as error:
            bad.append(BadLine(name, number + 1, str(error)))
    return problems, bad


def read_word_problems(path: str | Path) -> tuple[list[WordProblem], list[BadLine]]:
    """Read a JSONL file, a JSON file (a list, or one problem) or a folder of such files.

    The original MATH archive is a folder of one-problem files. Bad rows are reported and never
    raise. Raises `FileNotFoundError` for a path without any such file.
    """
    path = Path(path)
    files = [path] if path.is_file() else sorted(f for s in SUFFIXES for f in path.rglob(f"*{s}"))
    if not files:
        raise FileNotFoundError(
            f"no problems at {path}: expected a .jsonl or .json file, or a folder that holds some"
        )
    problems: list[WordProblem] = []
    bad: list[BadLine] = []
    for file in files:
        found, wrong = problems_of(read_rows(file), file.name)
        problems += found
        bad += wrong
    return problems, bad


def read_rows(path: str | Path) -> Iterator[Any]:
    """Yield the rows of a JSONL or JSON file; for a line that cannot be read, why (a string)."""
    path = Path(path)
    raw = path.read_bytes()
    if path.suffix != ".json":
        yield from (_parsed(line) for line in raw.split(b"\n") if line.strip())
        return
    whole = _parsed(raw)
    yield from whole if isinstance(whole, list) else [whole]


def _parsed(raw: bytes) -> Any:
    try:
        return json.loads(raw.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        return f"not UTF-8 (byte {error.start}): save the file as UTF-8"
    except json.JSONDecodeError as error:
        return f"not valid JSON ({error.msg}): an interrupted download cuts a line; fetch it again"
