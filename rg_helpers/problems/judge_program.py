"""Judging the lines of a program trace against the code and the trace so far."""

from __future__ import annotations

from dataclasses import replace

from rg_helpers.problems.checked import Judgement
from rg_helpers.problems.judgement import (
    SolutionState,
    judge_answer,
    judge_repetition,
    judge_working,
    nodes,
    wrong_input,
)
from rg_helpers.problems.problem import Problem, Quantity
from rg_helpers.problems.read_program import (
    VARIABLE,
    asked_variable,
    code_of,
    guard_of,
    names_read,
)
from rg_helpers.problems.written import Written


def judge_program(
    problem: Problem, state: SolutionState, said: Written, node: int
) -> tuple[Judgement, SolutionState]:
    """Judge one line, whose own index is `node`; return the state with what it says added."""
    if said.kind == "answer":
        return _judge_answer(problem, state, said), state
    if said.subject is None:
        detail = "no line of the program, or more than one, reads like that: write its label"
        return Judgement("unreadable", detail=detail), state
    line = next((q for q in problem.quantities if q.key == said.subject), None)
    if line is None:
        detail = f"the program has no line {said.subject}"
        return Judgement("irrelevant step", detail=detail), state
    if said.kind == "skip":
        judgement = _judge_skip(problem, state, said, line)
        return judgement, replace(state, skipped=state.skipped | {line.key})
    judgement = judge_repetition(_judge_line(problem, state, said, line), state, line, said)
    return judgement, state.with_value(line.key, said.result, node)


def _judge_line(problem: Problem, state: SolutionState, said: Written, line: Quantity) -> Judgement:
    """Judge a line by the code it restates, the lines it reads, its branch and its working."""
    guard = guard_of(problem, line)
    test = _latest(problem, state, guard[1], line) if guard else None
    read = [_latest(problem, state, name, line) for name in names_read(problem, line)]
    needed = nodes(line.premise, *(state.value_node.get(s.key) for s in (*read, test) if s))
    if not _quotes(problem, said, line):
        return _misread_code(problem, state, said.code, line, read, needed)
    if guard is not None:
        if test is None or test.key not in state.values:
            return _not_traced(guard[1], test, needed)
        if said.test and said.test != (guard[1], state.values[test.key]):
            return _misread_test(problem, state, said, line, test, needed)
        if state.values[test.key] is not (guard[0] == "if"):
            return Judgement("irrelevant step", needed, needed, detail="this branch is not taken")
    for name, source in zip(names_read(problem, line), read):
        if source is None or source.key not in state.values:
            return _not_traced(name, source, needed)
    if line.operator == "given":  # restated as the code has it, so its value is right
        return Judgement("right", needed, needed)
    if said.result is None:
        return Judgement("unreadable", needed, needed, detail="the result is not worked out")
    keys = [source.key for source in read]
    values = [state.values[key] for key in keys]
    return judge_working(problem, state, said, line, keys, values, needed)


def _misread_test(
    problem: Problem,
    state: SolutionState,
    said: Written,
    line: Quantity,
    test: Quantity,
    needed: tuple[int, ...],
) -> Judgement:
    """Judge a guard whose test is restated wrongly: another variable, or not as traced."""
    name, value = said.test
    if name != test.name:
        other = _latest(problem, state, name, line)
        used = state.value_node.get(other.key, other.premise) if other else None
        detail = f"the guard tests {test.name}, not {name}"
        claimed = nodes(line.premise, used)
        return Judgement("wrong operand", claimed, needed, line.premise, used, detail)
    return wrong_input(problem, state, line, test.key, state.values[test.key], value, needed)


def _judge_skip(problem: Problem, state: SolutionState, said: Written, line: Quantity) -> Judgement:
    """Judge a line that is said not to be run: by its guard and the test's value as traced."""
    guard = guard_of(problem, line)
    test = _latest(problem, state, guard[1], line) if guard else None
    needed = nodes(line.premise, state.value_node.get(test.key) if test else None)
    if guard is None or said.code != " ".join(guard):
        detail = f"the code says {code_of(problem, line)!r}"
        return Judgement("wrong operand", needed, needed, line.premise, None, detail)
    if test is None or test.key not in state.values:
        return _not_traced(guard[1], test, needed)
    if said.test and said.test != (guard[1], state.values[test.key]):
        return _misread_test(problem, state, said, line, test, needed)
    if state.values[test.key] is (guard[0] == "if"):
        detail = f"{guard[1]} is {state.values[test.key]}, so the line is run"
        ignored = state.value_node[test.key]
        return Judgement("contradiction", needed, needed, ignored, None, detail)
    if line.key in state.skipped:
        return Judgement("irrelevant step", needed, needed, detail="this was already said")
    return Judgement("right", needed, needed)


def _judge_answer(problem: Problem, state: SolutionState, said: Written) -> Judgement:
    """Judge the answer line; where it names a variable, that must be the one asked for."""
    asked, variable = _asked(problem, state), asked_variable(problem)
    judgement = judge_answer(problem, state, said, asked)
    if asked not in state.values or said.sources in ((), (variable,)):
        return judgement
    question = problem.prompt_nodes - 1
    other = _latest(problem, state, said.sources[0], None)
    used = state.value_node.get(other.key, other.premise) if other else None
    detail = f"{variable} is asked for, not {said.sources[0]}"
    ignored = state.value_node[asked]
    return Judgement(
        "wrong operand", nodes(question, used), (question, ignored), ignored, used, detail
    )


def _not_traced(name: str, source: Quantity | None, needed: tuple[int, ...]) -> Judgement:
    missing = f"{source.key} was not" if source else f"no line that assigns {name} was"
    return Judgement("missing step", needed, needed, detail=f"{missing} traced before")


def _quotes(problem: Problem, said: Written, line: Quantity) -> bool:
    """Tell whether a line restates its code rightly, or leaves it out: "L4: c = 8"."""
    code = code_of(problem, line)
    if said.kind == "value" and line.operator != "given":
        return said.code.split(" = ")[0] in (code.split(" = ")[0], line.name)
    return said.code in (None, code)


def _misread_code(
    problem: Problem,
    state: SolutionState,
    code: str,
    line: Quantity,
    read: list[Quantity | None],
    needed: tuple[int, ...],
) -> Judgement:
    """Judge a line whose restated code is not the program's: which line was read instead?"""
    names = names_read(problem, line)
    detail = f"the code says {code_of(problem, line)!r}"
    wrong = [name for name in VARIABLE.findall(code.split(" = ", 1)[-1]) if name not in names]
    other = _latest(problem, state, wrong[0], line) if wrong else None
    if other is None:
        return Judgement("wrong operand", needed, needed, line.premise, None, detail)
    used = state.value_node.get(other.key, other.premise)
    passed_over = {state.value_node.get(source.key) for source in read if source}
    claimed = nodes(line.premise, used, *(set(needed) - passed_over))
    return Judgement("wrong operand", claimed, needed, line.premise, used, detail)


def _latest(
    problem: Problem, state: SolutionState, variable: str, before: Quantity | None
) -> Quantity | None:
    """Return the line that last assigned `variable` before a line, by the branches as traced."""
    found = None
    for line in problem.quantities:
        if before is not None and line.premise >= before.premise:
            break
        if line.name != variable or (before is not None and _excludes(problem, line, before)):
            continue
        if _is_taken(problem, state, line):
            found = line
    return found


def _excludes(problem: Problem, line: Quantity, other: Quantity) -> bool:
    """Tell whether two lines are the two branches of one test: never both are executed."""
    guard, other_guard = guard_of(problem, line), guard_of(problem, other)
    if guard is None or other_guard is None:
        return False
    return guard[1] == other_guard[1] and guard[0] != other_guard[0]


def _is_taken(problem: Problem, state: SolutionState, line: Quantity) -> bool:
    """Tell whether a line is executed: by its test as traced, else as the program really runs."""
    guard = guard_of(problem, line)
    if guard is None:
        return True
    test = _latest(problem, state, guard[1], line)
    if test is None or test.key not in state.values:
        return line.value is not None
    return state.values[test.key] is (guard[0] == "if")


def _asked(problem: Problem, state: SolutionState) -> str | None:
    """Return the key of the line that holds the asked variable at the end, as traced."""
    line = _latest(problem, state, asked_variable(problem), None)
    return line.key if line else None
