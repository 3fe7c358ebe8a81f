"""Edits that plant a wrong operand: a wrong name, a misquoted premise, another one's value."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from rg_helpers.problems.edits import Edit, near_misses, node_of, positions, put_in, replaced
from rg_helpers.problems.judgement import APPLY, same
from rg_helpers.problems.problem import Problem
from rg_helpers.problems.program import answer_text
from rg_helpers.problems.read_program import asked_variable, names_read
from rg_helpers.problems.script import ScriptLine, plan_line, program_line, worked_line

SWAPPED = {"and": "or", "or": "and", "same": "not", "not": "same"}


def wrong_operands(problem: Problem, lines: list[ScriptLine]) -> Iterator[Edit]:
    """Every wrong operand there is a place for: in plans, names, quoted numbers and values."""
    for i, line in enumerate(lines):
        if line.kind == "plan":
            yield from _wrong_plans(problem, line, i)
        elif line.kind == "compute":
            yield from _wrong_names(problem, lines, i)
            yield from _misquotes(problem, lines, i)
            yield from _swapped_values(problem, lines, i)
        elif line.kind == "answer" and problem.family == "program":
            yield from _wrong_answers(problem, lines, i)
        elif line.kind == "value" and problem.family == "program":
            for wrong in near_misses(line.value):
                text = program_line(problem, line.quantity, wrong, (), (), wrong)
                yield Edit(
                    "number", i, text, {line.quantity.key: wrong}, ignored=line.quantity.premise
                )


def _wrong_plans(problem: Problem, line: ScriptLine, i: int) -> Iterator[Edit]:
    """A plan that asks for a quantity which the premise does not name."""
    quantity = line.quantity
    for other in problem.quantities:
        if other.key in (quantity.key, *quantity.sources):
            continue
        for place in range(len(quantity.sources)):
            sources = replaced(quantity.sources, place, other.key)
            text = plan_line(problem, replace(quantity, sources=sources))
            yield Edit("plan", i, text, ignored=quantity.premise, used=other.premise)


def _wrong_names(problem: Problem, lines: list[ScriptLine], i: int) -> Iterator[Edit]:
    """Another name looked up, and the arithmetic done rightly with its value."""
    line, quantity = lines[i], lines[i].quantity
    stated = positions(lines, i)
    latest = {lines[p].quantity.name: key for key, p in stated.items()}  # who holds a variable
    read = names_read(problem, quantity) if problem.family == "program" else []
    for key, position in stated.items():
        other = lines[position]
        is_boolean = isinstance(other.value, bool)
        if key in line.sources or is_boolean != (problem.family == "deduction"):
            continue
        if latest[other.quantity.name] != key or other.quantity.name in read:
            continue
        for place in range(len(line.sources)):
            inputs = replaced(line.inputs, place, other.value)
            value = APPLY[problem.family](quantity.operator, quantity.operand, list(inputs))
            if problem.family == "program":
                names = replaced(read, place, other.quantity.name)
                text = program_line(
                    problem, quantity, quantity.operand, names, inputs, value, line.test
                )
            else:
                sources = replaced(line.sources, place, key)
                text = worked_line(problem, replace(quantity, sources=sources), inputs, value)
            yield Edit(
                "name",
                i,
                text,
                {quantity.key: value},
                ignored=quantity.premise,
                used=node_of(problem, position),
            )


def _wrong_answers(problem: Problem, lines: list[ScriptLine], i: int) -> Iterator[Edit]:
    """Another variable than the one asked for, with its own value, as the program's answer."""
    stated = positions(lines, i)
    latest = {lines[at].quantity.name: at for at in sorted(stated.values())}
    asked = asked_variable(problem)
    for variable, at in latest.items():
        if variable != asked and not isinstance(lines[at].value, bool):
            yield Edit(
                "name",
                i,
                answer_text(variable, lines[at].value),
                ignored=node_of(problem, latest[asked]),
                used=node_of(problem, at),
            )


def _misquotes(problem: Problem, lines: list[ScriptLine], i: int) -> Iterator[Edit]:
    """The premise's number or connective misread, and the rest done rightly with it."""
    line, quantity = lines[i], lines[i].quantity
    wrong_ones = []
    if problem.family == "deduction":
        wrong_ones = [("clause", replace(quantity, operator=SWAPPED[quantity.operator]))]
    elif quantity.operand is not None:
        numbers = (quantity.operand + d for d in (-2, -1, 1, 2))
        wrong_ones = [("number", replace(quantity, operand=n)) for n in numbers if n > 0]
    for way, wrong in wrong_ones:
        value = APPLY[problem.family](wrong.operator, wrong.operand, list(line.inputs))
        used = None
        if problem.family == "program":
            names = names_read(problem, quantity)
            text = program_line(problem, wrong, wrong.operand, names, line.inputs, value, line.test)
        else:
            text = worked_line(problem, wrong, line.inputs, value)
            if way == "number":
                saying = (q.premise for q in problem.quantities if q.operand == wrong.operand)
                used = next(saying, None)
        yield Edit(way, i, text, {quantity.key: value}, ignored=quantity.premise, used=used)


def _swapped_values(problem: Problem, lines: list[ScriptLine], i: int) -> Iterator[Edit]:
    """The right name, but another quantity's value put in for it."""
    line = lines[i]
    if problem.family == "deduction":
        return  # a truth value does not tell whose it is
    stated = positions(lines, i)
    for place, source in enumerate(line.sources):
        for key in stated:
            wrong = lines[stated[key]].value
            if isinstance(wrong, bool) or wrong == line.inputs[place] or key == source:
                continue
            holders = [p for k, p in stated.items() if k != source and same(lines[p].value, wrong)]
            yield put_in(problem, line, i, place, wrong, "value", stated, max(holders))
