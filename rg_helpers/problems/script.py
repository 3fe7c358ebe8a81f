"""A gold solution as a script that can be played again after one of its values was changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from rg_helpers.problems import arithmetic, deduction
from rg_helpers.problems.judgement import APPLY, Value
from rg_helpers.problems.problem import Problem, Quantity
from rg_helpers.problems.program import expression
from rg_helpers.problems.read_program import code_of, guard_of, names_read


@dataclass(frozen=True)
class ScriptLine:
    """One line of a solution: what it does, for which quantity, from which values, its text.

    `inputs` are the values of `sources` (keys); `value` is what the line says in the end.
    """

    kind: Literal["plan", "value", "compute", "answer"]
    quantity: Quantity
    text: str
    value: Value | None = None
    sources: tuple[str, ...] = ()
    inputs: tuple[Value, ...] = ()


def play(problem: Problem, changed: Mapping[str, Value] | None = None) -> list[ScriptLine]:
    """Write the solution of `problem`, where the quantities in `changed` get those values.

    Everything after a changed value follows from it soundly, branches of programs included;
    without changes this is the gold solution, line by line.
    """
    changed = changed or {}
    if problem.family == "program":
        return _play_program(problem, changed)
    return _play_planned(problem, changed)


def worked_line(problem: Problem, quantity: Quantity, inputs: Sequence[Value], value: Value) -> str:
    """Write the line that works `quantity` out of `inputs`, whatever its definition says now."""
    if problem.family == "program":
        code = code_of(problem, quantity)
        names = names_read(problem, quantity)
        return program_line(problem, quantity, quantity.operand, names, inputs, value, code)
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
    value: Value,
    code: str | None = None,
) -> str:
    """Write a trace line that reads `names` and `operand`, which may not be the program's own."""
    if code is None:
        target = code_of(problem, line).split(" = ", 1)[0]
        code = f"{target} = {expression(line.operator, operand, list(names))}"
    if line.operator == "given":
        return f"{line.key}: {code}"
    worked = expression(line.operator, operand, [str(v) for v in inputs])
    return f"{line.key}: {code} = {worked} = {value}"


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
    return [*lines, _answer(problem.quantities[0], value_of[problem.quantities[0].key])]


def _play_program(problem: Problem, changed: Mapping[str, Value]) -> list[ScriptLine]:
    holder: dict[str, ScriptLine] = {}  # variable -> the line that assigned it last
    lines = []
    for line in problem.quantities:
        guard = guard_of(problem, line)
        if guard and holder[guard[1]].value is not (guard[0] == "if"):
            continue
        read = [holder[name] for name in names_read(problem, line)]
        keys = tuple(source.quantity.key for source in read)
        inputs = tuple(source.value for source in read)
        if line.operator == "given":
            value = changed.get(line.key, line.operand)
            text = program_line(problem, line, value, (), (), value)
            lines.append(ScriptLine("value", line, text, value))
        else:
            lines.append(_computed(problem, line, keys, inputs, changed))
        holder[line.name] = lines[-1]
    asked = holder[problem.nodes[problem.prompt_nodes - 1].text.split()[2]]
    return [*lines, _answer(asked.quantity, asked.value)]


def _computed(
    problem: Problem,
    quantity: Quantity,
    sources: tuple[str, ...],
    inputs: tuple[Value, ...],
    changed: Mapping[str, Value],
) -> ScriptLine:
    value = APPLY[problem.family](quantity.operator, quantity.operand, list(inputs))
    value = changed.get(quantity.key, value)
    text = worked_line(problem, quantity, inputs, value)
    return ScriptLine("compute", quantity, text, value, sources, inputs)


def _answer(asked: Quantity, value: Value) -> ScriptLine:
    return ScriptLine("answer", asked, answer_line(value), value, (asked.key,), (value,))


def answer_line(value: Value) -> str:
    """Write the last line of a solution."""
    said = deduction.yes_no(value) if isinstance(value, bool) else str(value)
    return f"The answer is {said}."
