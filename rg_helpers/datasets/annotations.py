"""How far GSM8K's calculator annotations give the graph of a solution, and where they do not.

An annotation "<<48/2=24>>" is *parsed* if both sides can be read, *holds* if the stated result is
that of the expression, to the digits it states. Each operand is *resolved* if something names its
source: an earlier line's result (an edge, `graphs.annotated`), the question, or everyday knowledge.
A line is *consistent* if all its annotations are parsed and hold and all operands are resolved:
then the line's edges are all there can be. A *gold* graph has consistent lines alone and no operand
with two possible sources; any other graph is *silver*.

By chance small numbers fit anywhere, so everything is measured once more with each solution beside
the question of another problem.
"""

from __future__ import annotations

import ast
import operator
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from rg_helpers.datasets.number_sources import KNOWN, TextNumbers, same_value
from rg_helpers.datasets.word_problems import WordProblem
from rg_helpers.graphs.annotated import (
    ANNOTATION,
    annotated_numbers,
    annotated_sources,
    without_annotations,
)
from rg_helpers.graphs.step_graph import StepGraph, normalise_rows
from rg_helpers.statistics import wilson_interval
from rg_helpers.traces import Trace

Source = Literal["line", "same line", "question", "derived", "stated", "known", "none"]
SOURCES: tuple[Source, ...] = Source.__args__
SOURCE_WORDS: dict[Source, str] = {
    "line": "the result of an earlier line: an edge",
    "same line": "a result worked out earlier in the same line",
    "question": "written in the question, as digits or words",
    "derived": "implied by the question's words, as a share or a multiple",
    "stated": "stated in an earlier line without annotation",
    "known": "everyday knowledge, such as 60 minutes an hour",
    "none": "no source found",
}
RESULT_LINES = ("####", "A:")
_ATTEMPT = re.compile(r"<<|>>")
_LEADING_ZEROS = re.compile(r"(?<![\d.])0+(?=\d)")
_OPERATORS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


@dataclass(frozen=True)
class Operand:
    """A number that a line calculates with, and where it comes from.

    `ambiguous`: several earlier lines have this result, or one of them and the question.
    """

    value: float
    source: Source
    ambiguous: bool = False


@dataclass(frozen=True)
class AnnotatedLine:
    """One line with annotations; `faults` says what is wrong with it, empty if nothing is."""

    number: int
    operands: tuple[Operand, ...]
    edges: tuple[int, ...]
    parsed: bool
    holds: bool
    faults: tuple[str, ...] = field(default=())

    @property
    def resolved(self) -> bool:
        """Whether every operand has a source."""
        return all(operand.source != "none" for operand in self.operands)

    @property
    def consistent(self) -> bool:
        """Whether the line is parsed, holds, and is resolved."""
        return self.parsed and self.holds and self.resolved


def calculate(expression: str) -> float | None:
    """Return the value of "2*(3+4)/5" (+, -, *, /, brackets, signs); None if it is none."""
    plain = _LEADING_ZEROS.sub("", expression.replace(",", "").strip())
    try:
        return _value(ast.parse(plain, mode="eval").body)
    except (SyntaxError, ValueError, ZeroDivisionError, OverflowError, RecursionError):
        return None


def read_annotated_lines(lines: Sequence[str], question: str) -> list[AnnotatedLine]:
    """Return what the annotations of a solution's lines say, line by line.

    Lines without annotation are not among them; `number` counts all `lines`.
    """
    asked = TextNumbers(question)
    results: dict[float, set[int]] = {}
    stated: set[float] = set()
    found = []
    for number, (line, sources) in enumerate(zip(lines, annotated_sources(lines), strict=True)):
        if not _ATTEMPT.search(line):
            if not line.startswith(RESULT_LINES):
                stated |= TextNumbers(line).written
            continue
        operands, faults, own = [], [], set()
        annotations = ANNOTATION.findall(line)
        parsed = len(_ATTEMPT.findall(line)) == 2 * len(annotations)
        holds = True
        for expression, result in annotations:
            value, said = calculate(expression), calculate(result)
            if value is None or said is None:
                parsed = False
            elif abs(value - said) >= _last_digit(result):
                holds = False
                faults.append(f"{expression.strip()} is {value:g}, not {result.strip()}")
            for one in annotated_numbers(expression):
                operand = _operand(one, own, results, asked, stated)
                operands.append(operand)
                if operand.source == "none":
                    faults.append(f"{one:g} has no source")
            own |= {same_value(one) for one in annotated_numbers(result)[:1]}
        if not parsed:
            faults.append("an annotation cannot be read: expected <<operands=result>>")
        for one in own:
            results.setdefault(one, set()).add(number)
        edges = tuple(sorted(set(sources.values())))
        found.append(AnnotatedLine(number, tuple(operands), edges, parsed, holds, tuple(faults)))
    return found


def solution_graph(trace: Trace, problem: WordProblem) -> StepGraph | None:
    """Return the annotated graph over the nodes of a trace of the reference solution.

    The trace may have been written without its annotations; its written nodes must be the
    problem's lines, one to one, else None is returned. A row's producing lines weigh the same.
    """
    given = len(trace.nodes) - len(trace.steps)
    if len(trace.steps) != len(problem.lines):
        return None
    weights = np.zeros((len(trace.nodes), len(trace.nodes)))
    for line, sources in enumerate(annotated_sources(problem.lines)):
        weights[given + line, [given + source for source in sources.values()]] = 1
    return StepGraph(
        normalise_rows(weights), trace.kinds, trace.texts, "annotated", "", trace.trace_id
    )


def graph_grade(lines: Sequence[AnnotatedLine]) -> Literal["gold", "silver"] | None:
    """Return how far a solution's annotations can be trusted; None without any annotation."""
    if not lines:
        return None
    sure = all(
        line.consistent and not any(operand.ambiguous for operand in line.operands)
        for line in lines
    )
    return "gold" if sure else "silver"


def measure_annotations(problems: Sequence[WordProblem], seed: int = 0) -> dict[str, Any]:
    """Return shares of lines and operands with 95 % Wilson intervals, and every failure.

    `failures` names row, line and reason and holds no text of the data. `by_chance` are the same
    shares with questions dealt to other problems. Raises `ValueError` without any annotation.
    """
    read = [read_annotated_lines(problem.lines, problem.question) for problem in problems]
    if not any(read):
        raise ValueError(
            f"none of {len(problems)} solutions has a calculator annotation <<48/2=24>>: they are "
            "in GSM8K's own files (columns question and answer)"
        )
    places = np.random.default_rng(seed).permutation(len(problems))
    other = {int(one): int(two) for one, two in zip(places, np.roll(places, 1))}
    dealt = [
        read_annotated_lines(problem.lines, problems[other[number]].question)
        for number, problem in enumerate(problems)
    ]
    grades = Counter(graph_grade(lines) for lines in read)
    return {
        "problems": len(problems),
        **_shares(read),
        "by_chance": {name: v for name, v in _shares(dealt).items() if "resolved" in name},
        "sources": _sources(read),
        "sources_in_words": SOURCE_WORDS,
        "graphs": {name: grades[name] for name in ("gold", "silver")},
        "without_annotation": grades[None],
        "edges": sum(len(line.edges) for lines in read for line in lines),
        "failures": [
            {"row": problem.row, "line": line.number, "reasons": list(line.faults)}
            for problem, lines in zip(problems, read, strict=True)
            for line in lines
            if not line.consistent
        ],
    }


def plain_solution(solution: str) -> str:
    """Return a solution without its annotations, its blank lines and GSM8K's two answer marks.

    The answer line reads "A: 42", as models write it, where the references have "#### 42".
    """
    lines = [line.strip() for line in without_annotations(solution).splitlines()]
    return "\n".join(re.sub(r"^####\s*", "A: ", line) for line in lines if line)


def _operand(
    value: float,
    own: set[float],
    results: dict[float, set[int]],
    asked: TextNumbers,
    stated: set[float],
) -> Operand:
    value = same_value(value)
    if value in own:
        return Operand(value, "same line")
    if value in results:
        return Operand(value, "line", len(results[value]) > 1 or value in asked.written)
    places: dict[Source, Any] = {
        "question": asked.written,
        "derived": asked.derived,
        "stated": stated,
        "known": KNOWN,
    }
    return Operand(value, next((name for name, held in places.items() if value in held), "none"))


def _last_digit(result: str) -> float:
    """One unit of a result's last digit: rounded or cut off, it is nearer to its value."""
    return 10.0 ** -len(result.strip().partition(".")[2]) * (1 - 1e-9)


def _value(node: ast.expr) -> float:
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return float(node.value)
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        return _OPERATORS[type(node.op)](_value(node.left), _value(node.right))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        value = _value(node.operand)
        return -value if isinstance(node.op, ast.USub) else value
    raise ValueError("no arithmetic")


def _shares(read: Sequence[Sequence[AnnotatedLine]]) -> dict[str, Any]:
    lines = [line for solution in read for line in solution]
    operands = [operand for line in lines for operand in line.operands]
    unresolved = sum(operand.source == "none" for operand in operands)
    ambiguous = sum(operand.ambiguous for operand in operands)
    return {
        "lines_parsed": _share(sum(line.parsed for line in lines), len(lines)),
        "lines_holding": _share(sum(line.holds and line.parsed for line in lines), len(lines)),
        "lines_resolved": _share(sum(line.resolved for line in lines), len(lines)),
        "lines_consistent": _share(sum(line.consistent for line in lines), len(lines)),
        "operands_resolved": _share(len(operands) - unresolved, len(operands)),
        "operands_unambiguous": _share(len(operands) - ambiguous, len(operands)),
    }


def _sources(read: Sequence[Sequence[AnnotatedLine]]) -> dict[str, int]:
    counts = Counter(one.source for lines in read for line in lines for one in line.operands)
    return {source: counts[source] for source in SOURCES}


def _share(successes: int, trials: int) -> dict[str, Any]:
    found = wilson_interval(successes, trials)
    return {"value": successes / trials, "low": found.low, "high": found.high, "n": trials}
