"""Students with a known gap: one operation that is always worked out by a wrong rule.

The idea of the "buggy" learner models of Brown & Burton (1978, Cognitive Science 2:155): errors of
a student are often no accident but a rule, soundly applied, that is wrong. Because the rule is
planted here, a tutor that looks at solutions alone can be held against the truth.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from rg_helpers.problems.edits import LARGEST
from rg_helpers.problems.judgement import Value
from rg_helpers.problems.problem import Problem
from rg_helpers.problems.script import ScriptLine, play


@dataclass(frozen=True)
class Misconception:
    """A wrong rule for one operation of a family; `rule(operand, inputs)` gives its result."""

    family: str
    operation: str
    says: str
    rule: Callable[[int | None, Sequence[Value]], Value]


MISCONCEPTIONS: tuple[Misconception, ...] = (
    Misconception("arithmetic", "fewer", "fewer means plus", lambda n, v: v[0] + n),
    Misconception("arithmetic", "twice", "twice means two more", lambda n, v: v[0] + 2),
    Misconception("arithmetic", "together", "together means the larger", lambda n, v: max(v)),
    Misconception("deduction", "not", "not changes nothing", lambda n, v: v[0]),
    Misconception("deduction", "or", "or wants both", lambda n, v: v[0] and v[1]),
    Misconception("deduction", "and", "and wants one of both", lambda n, v: v[0] or v[1]),
    Misconception("program", "minus", "minus adds", lambda n, v: v[0] + n),
    Misconception("program", "twice", "times 2 adds 2", lambda n, v: v[0] + 2),
    Misconception("program", "test", "greater means less", lambda n, v: v[0] < n),
)


def misconceived(problem: Problem, misconception: Misconception) -> Problem | None:
    """Return the problem with the solution that a student with the misconception writes.

    Every line of the operation is worked out by the wrong rule, and everything after it follows
    soundly from what is then written; `solution` of the result is wrong, premises and gold graph
    are those of the problem. None where a value would leave two digits, or where the rule happens
    to give nothing but right values. Raises `ValueError` for a problem of another family.
    """
    if problem.family != misconception.family:
        raise ValueError(
            f"a misconception about {misconception.family} and a problem of the family "
            f"{problem.family}: give a problem of the same family"
        )
    changed: dict[str, Value] = {}
    while True:
        lines = play(problem, changed)
        if any(not _is_small(line.value) for line in lines):
            return None
        next_line = next((one for one in lines if _is_open(one, misconception, changed)), None)
        if next_line is None:
            break
        changed[next_line.quantity.key] = misconception.rule(
            next_line.quantity.operand, next_line.inputs
        )
    texts = [line.text for line in lines]
    given = problem.prompt_nodes
    if texts == [node.text for node in problem.nodes[given:]]:
        return None
    steps = tuple(
        replace(node, text=text) for node, text in zip(problem.nodes[given:], texts, strict=True)
    )
    return replace(problem, nodes=problem.nodes[:given] + steps)


def _is_open(line: ScriptLine, misconception: Misconception, changed: dict[str, Value]) -> bool:
    """Tell whether a line works the operation out and still does it rightly."""
    quantity = line.quantity
    is_asked = line.kind == "compute" and quantity.operator == misconception.operation
    return is_asked and quantity.key not in changed


def _is_small(value: Value | None) -> bool:
    return value is None or isinstance(value, bool) or 1 <= value <= LARGEST
