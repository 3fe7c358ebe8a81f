"""Students with a known gap: an operation worked out by a wrong rule, or a look-up that goes wrong.

The idea of the "buggy" learner models of Brown & Burton (1978, Cognitive Science 2:155): errors of
a student are often no accident but a rule, soundly applied, that is wrong. Because the rule is
planted here, a tutor that looks at solutions alone can be held against the truth.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from rg_helpers.problems.edits import LARGEST
from rg_helpers.problems.judgement import APPLY, Value
from rg_helpers.problems.problem import Problem
from rg_helpers.problems.script import ScriptLine, play, worked_line
from rg_helpers.tutor.skills import FURTHER_BACK, TWO_STEPS, Skill

Inputs = tuple[Value, ...]


@dataclass(frozen=True)
class Misconception:
    """A wrong rule for one skill of a family.

    `rule(line, before)` gets a line that computes and the lines written before it, and returns
    what the student works with: inputs and result. None: the rule says nothing of this line.
    """

    family: str
    skill: Skill
    says: str
    rule: Callable[[ScriptLine, Sequence[ScriptLine]], tuple[Inputs, Value] | None]


def misconceived(problem: Problem, misconception: Misconception) -> Problem | None:
    """Return the problem with the solution that a student with the misconception writes.

    Every line that the rule speaks of is worked out by it, and everything after it follows soundly
    from what is then written; `solution` of the result is wrong, premises and gold graph are those
    of the problem. None where a value would leave two digits, or where the rule happens to write
    nothing but the right lines. Raises `ValueError` for a problem of another family.
    """
    if problem.family != misconception.family:
        raise ValueError(
            f"a misconception about {misconception.family} and a problem of the family "
            f"{problem.family}: give a problem of the same family"
        )
    worked: dict[str, tuple[Inputs, Value]] = {}
    while True:
        lines = play(problem, {key: value for key, (_, value) in worked.items()})
        if any(not _is_small(line.value) for line in lines):
            return None
        found = _next(lines, misconception, worked)
        if found is None:
            break
        worked |= found
    texts = [_text(problem, line, worked) for line in lines]
    given = problem.prompt_nodes
    if texts == [node.text for node in problem.nodes[given:]]:
        return None
    steps = tuple(
        replace(node, text=text) for node, text in zip(problem.nodes[given:], texts, strict=True)
    )
    return replace(problem, nodes=problem.nodes[:given] + steps)


def _next(
    lines: Sequence[ScriptLine], misconception: Misconception, worked: Mapping[str, object]
) -> dict[str, tuple[Inputs, Value]] | None:
    """Return the first line that the rule speaks of and that is not worked out by it yet."""
    for number, line in enumerate(lines):
        if line.kind == "compute" and line.quantity.key not in worked:
            found = misconception.rule(line, lines[:number])
            if found is not None:
                return {line.quantity.key: found}
    return None


def _text(problem: Problem, line: ScriptLine, worked: Mapping[str, tuple[Inputs, Value]]) -> str:
    if line.kind != "compute" or line.quantity.key not in worked:
        return line.text
    inputs, value = worked[line.quantity.key]
    return worked_line(problem, line.quantity, inputs, value, line.test)


def _is_small(value: Value | None) -> bool:
    return value is None or isinstance(value, bool) or 1 <= value <= LARGEST


def _computes(
    family: str, operation: str, says: str, rule: Callable[[int | None, Inputs], Value]
) -> Misconception:
    """Plant a gap in an operation: its inputs are looked up rightly and worked out wrongly."""

    def worked(line: ScriptLine, before: Sequence[ScriptLine]) -> tuple[Inputs, Value] | None:
        if line.quantity.operator != operation:
            return None
        return line.inputs, rule(line.quantity.operand, line.inputs)

    return Misconception(family, Skill("operation", operation), says, worked)


def _looks_up(
    family: str,
    dependency: str,
    says: str,
    reads: Callable[[ScriptLine, Sequence[ScriptLine]], Inputs | None],
) -> Misconception:
    """Plant a gap in a dependency: the operation is sound, on inputs from the wrong place."""

    def worked(line: ScriptLine, before: Sequence[ScriptLine]) -> tuple[Inputs, Value] | None:
        inputs = reads(line, before)
        if inputs is None:
            return None
        quantity = line.quantity
        return inputs, APPLY[family](quantity.operator, quantity.operand, list(inputs))

    return Misconception(family, Skill("dependency", dependency), says, worked)


def _first_for_both(line: ScriptLine, before: Sequence[ScriptLine]) -> Inputs | None:
    """Read the first of two facts twice."""
    return (line.inputs[0],) * 2 if len(line.inputs) == 2 else None


def _last_number(line: ScriptLine, before: Sequence[ScriptLine]) -> Inputs | None:
    """Read the number written last, whoever it belongs to; lines under a guard read two steps."""
    if len(line.inputs) != 1 or line.test is not None:
        return None
    written = [one.value for one in before if type(one.value) is int]
    return (written[-1],) if written else None


MISCONCEPTIONS: tuple[Misconception, ...] = (
    _computes("arithmetic", "fewer", "fewer means plus", lambda n, v: v[0] + n),
    _computes("arithmetic", "twice", "twice means two more", lambda n, v: v[0] + 2),
    _computes("arithmetic", "together", "together means the larger", lambda n, v: max(v)),
    _computes("deduction", "not", "not changes nothing", lambda n, v: v[0]),
    _computes("deduction", "or", "or wants both", lambda n, v: v[0] and v[1]),
    _computes("deduction", "and", "and wants one of both", lambda n, v: v[0] or v[1]),
    _looks_up("deduction", TWO_STEPS, "of two facts the first is read twice", _first_for_both),
    _computes("program", "minus", "minus adds", lambda n, v: v[0] + n),
    _computes("program", "twice", "times 2 adds 2", lambda n, v: v[0] + 2),
    _computes("program", "test", "greater means less", lambda n, v: v[0] < n),
    _looks_up("program", FURTHER_BACK, "the number written last is read", _last_number),
)
