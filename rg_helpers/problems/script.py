"""A gold solution as a script that can be played again after one of its values was changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from rg_helpers.problems import arithmetic, deduction
from rg_helpers.problems.judgement import APPLY, Value
from rg_helpers.problems.problem import Problem, Quantity
from rg_helpers.problems.program import Line, answer_text, trace_text
from rg_helpers.problems.read_program import asked_variable, guard_of, names_read


@dataclass(frozen=True)
class ScriptLine:
    """One line of a solution: what it does, for which quantity, from which values, its text.

    `inputs` are the values of `sources` (keys); `value` is what the line says in the end, `test`
    the value of a guarded program line's test.
    """

    kind: Literal["plan", "value", "compute", "skip", "answer"]
    quantity: Quantity
    text: str
    value: Value | None = None
    sources: tuple[str, ...] = ()
    inputs: tuple[Value, ...] = ()
    test: bool | None = None


def play(problem: Problem, changed: Mapping[str, Value] | None = None) -> list[ScriptLine]:
    """Write the solution of `problem`, where the quantities in `changed` get those values.

    Everything after a changed value follows from it soundly, branches of programs included;
    without changes this is the gold solution, line by line.
    """
    changed = changed or {}
    if problem.family == "program":
        return _play_program(problem, changed)
    return _play_planned(problem, changed)


def worked_line(
    problem: Problem,
    quantity: Quantity,
    inputs: Sequence[Value],
    value: Value,
    test: bool | None = None,
) -> str:
    """Write the line that works `quantity` out of `inputs`, whatever its definition says now.

    `test` is the value that a guarded program line restates.
    """
    if problem.family == "program":
        names = names_read(problem, quantity)
        return program_line(problem, quantity, quantity.operand, names, inputs, value, test)
    writer = arithmetic if problem.family == "arithmetic" else deduction
    return writer.compute_line(replace(quantity, value=value), inputs)


def plan_line(problem: Problem, quantity: Quantity) -> str:
    """Write the line that names what a quantity depends on (arithmetic and deduction)."""
    writer = arithmetic if problem.family == "arithmetic" else deduction
    return writer.plan_line(quantity)


def given_line(problem: Problem, quantity: Quantity, value: Value) -> str:
    """Write the line that copies a fact out with `value` (arithmetic and deduction)."""
    writer = arithmetic if problem.family == "arithmetic" else deduction
    return writer.given_line(replace(quantity, value=value))


def program_line(
    problem: Problem,
    line: Quantity,
    operand: int | None,
    names: Sequence[str],
    inputs: Sequence[Value],
    value: Value | None,
    test: bool | None = None,
) -> str:
    """Write a trace line that reads `names` and `operand`, which may not be the program's own.

    `value=None` writes it as skipped.
    """
    guard, flag = guard_of(problem, line) or (None, None)
    sources, written = line.sources, tuple(names)
    code = Line(line.key, line.name, line.operator, operand, sources, written, guard, None, flag)
    return trace_text(code, list(inputs), value, test)


def _play_planned(problem: Problem, changed: Mapping[str, Value]) -> list[ScriptLine]:
    writer = arithmetic if problem.family == "arithmetic" else deduction
    by_key = {q.key: q for q in problem.quantities}
    order = [problem.quantities[0]]
    for quantity in order:  # breadth first, as the plan is written
        order.extend(by_key[source] for source in quantity.sources)
    value_of: dict[str, Value] = {}
    lines = []
    for quantity in order:
        if quantity.operator == "given":
            value = value_of[quantity.key] = changed.get(quantity.key, quantity.value)
            text = writer.given_line(replace(quantity, value=value))
            lines.append(ScriptLine("value", quantity, text, value))
        else:
            text = writer.plan_line(quantity)
            lines.append(ScriptLine("plan", quantity, text, sources=quantity.sources))
    for quantity in reversed(order):
        if quantity.operator != "given":
            inputs = tuple(value_of[source] for source in quantity.sources)
            lines.append(_computed(problem, quantity, quantity.sources, inputs, changed))
            value_of[quantity.key] = lines[-1].value
    return [*lines, _answer(problem, problem.quantities[0], value_of[problem.quantities[0].key])]


def _play_program(problem: Problem, changed: Mapping[str, Value]) -> list[ScriptLine]:
    holder: dict[str, ScriptLine] = {}  # variable -> the line that assigned it last
    lines = []
    for line in problem.quantities:
        guard = guard_of(problem, line)
        test = holder[guard[1]].value if guard else None
        if guard and test is not (guard[0] == "if"):
            text = program_line(problem, line, line.operand, (), (), None, test)
            key = holder[guard[1]].quantity.key
            lines.append(ScriptLine("skip", line, text, None, (key,), (test,), test))
            continue
        read = [holder[name] for name in names_read(problem, line)]
        keys = tuple(source.quantity.key for source in read)
        inputs = tuple(source.value for source in read)
        if line.operator == "given":
            value = changed.get(line.key, line.operand)
            text = program_line(problem, line, value, (), (), value)
            lines.append(ScriptLine("value", line, text, value))
        else:
            lines.append(_computed(problem, line, keys, inputs, changed, test))
        holder[line.name] = lines[-1]
    asked = holder[asked_variable(problem)]
    return [*lines, _answer(problem, asked.quantity, asked.value)]


def _computed(
    problem: Problem,
    quantity: Quantity,
    sources: tuple[str, ...],
    inputs: tuple[Value, ...],
    changed: Mapping[str, Value],
    test: bool | None = None,
) -> ScriptLine:
    value = APPLY[problem.family](quantity.operator, quantity.operand, list(inputs))
    value = changed.get(quantity.key, value)
    text = worked_line(problem, quantity, inputs, value, test)
    return ScriptLine("compute", quantity, text, value, sources, inputs, test)


def _answer(problem: Problem, asked: Quantity, value: Value) -> ScriptLine:
    text = answer_line(problem, value)
    return ScriptLine("answer", asked, text, value, (asked.key,), (value,))


def answer_line(problem: Problem, value: Value) -> str:
    """Write the last line of a solution."""
    if problem.family == "program":
        return answer_text(asked_variable(problem), value)
    said = deduction.yes_no(value) if isinstance(value, bool) else str(value)
    return f"The answer is {said}."
