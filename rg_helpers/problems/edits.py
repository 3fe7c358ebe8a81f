"""Edits of a gold solution that plant an error: slips, distractors, gaps and the like."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from rg_helpers.problems.judgement import APPLY, Value
from rg_helpers.problems.problem import Problem
from rg_helpers.problems.read_program import guard_of
from rg_helpers.problems.script import (
    ScriptLine,
    answer_line,
    given_line,
    program_line,
    worked_line,
)

LARGEST = 99  # wrong values have two digits at most, like right ones


@dataclass(frozen=True)
class Edit:
    """A change of one line of the gold solution that plants an error.

    `text` takes the place of line `at` ("" drops it, `inserted` puts it before that line);
    `changed` are the values that the lines after it go on with; `step` is where the error shows,
    when that is not `at`. `ignored` and `used` are those of `PlantedError`.
    """

    way: str
    at: int
    text: str
    changed: Mapping[str, Value] = field(default_factory=dict)
    inserted: bool = False
    step: int | None = None
    ignored: int | None = None
    used: int | None = None


def near_misses(value: Value) -> Iterator[Value]:
    """Wrong values beside a right one: near misses, as in slips of carrying and counting."""
    if isinstance(value, bool):
        yield not value
    else:
        yield from (value + d for d in (-10, -2, -1, 1, 2, 10) if 1 <= value + d <= LARGEST)


def node_of(problem: Problem, position: int) -> int:
    """Return the node index of the solution's line at a position."""
    return problem.prompt_nodes + position


def positions(lines: list[ScriptLine], before: int) -> dict[str, int]:
    """Quantity key -> position of the line that states its value, for lines before one."""
    stated = enumerate(lines[:before])
    return {line.quantity.key: i for i, line in stated if line.kind in ("value", "compute")}


def computations(lines: list[ScriptLine]) -> Iterator[tuple[int, ScriptLine]]:
    """Yield (position, line) of the lines that work a value out."""
    return ((i, line) for i, line in enumerate(lines) if line.kind == "compute")


def replaced(items: tuple | list, place: int, item: object) -> tuple:
    """Return a copy with another item at one place."""
    return (*items[:place], item, *items[place + 1 :])


def put_in(
    problem: Problem,
    line: ScriptLine,
    i: int,
    place: int,
    wrong: Value,
    way: str,
    stated: Mapping[str, int],
    used: int | None,
) -> Edit:
    """Work a line out with one wrong input; `used` is the position of the line it is from."""
    inputs = replaced(line.inputs, place, wrong)
    quantity = line.quantity
    value = APPLY[problem.family](quantity.operator, quantity.operand, list(inputs))
    return Edit(
        way,
        i,
        worked_line(problem, quantity, inputs, value, line.test),
        {quantity.key: value},
        ignored=node_of(problem, stated[line.sources[place]]),
        used=None if used is None else node_of(problem, used),
    )


def slips(problem: Problem, lines: list[ScriptLine]) -> Iterator[Edit]:
    """Right inputs, wrong result."""
    for i, line in computations(lines):
        for wrong in near_misses(line.value):
            text = worked_line(problem, line.quantity, line.inputs, wrong, line.test)
            yield Edit("result", i, text, {line.quantity.key: wrong})


def irrelevant_steps(problem: Problem, lines: list[ScriptLine]) -> Iterator[Edit]:
    """A right line about a quantity that the answer does not need."""
    if problem.family == "program":
        yield from _untaken_branches(problem, lines)
        return
    for quantity in problem.quantities:
        if quantity.relevant:
            continue
        for i in range(len(lines)):
            stated = positions(lines, i)
            if any(source not in stated for source in quantity.sources):
                continue
            if quantity.operator == "given":
                text = given_line(problem, quantity, quantity.value)
                yield Edit("distractor", i, text, inserted=True)
            else:
                inputs = [lines[stated[source]].value for source in quantity.sources]
                text = worked_line(problem, quantity, inputs, quantity.value)
                yield Edit("distractor", i, text, inserted=True)


def _untaken_branches(problem: Problem, lines: list[ScriptLine]) -> Iterator[Edit]:
    """The other arm of a test, traced as if it had been taken."""
    for i, line in enumerate(lines):
        if line.kind != "skip":
            continue
        quantity = line.quantity
        test = next(other for other in lines if other.quantity.key == line.sources[0])
        inputs = test.inputs  # both branches read what the test reads
        value = APPLY[problem.family](quantity.operator, quantity.operand, list(inputs))
        yield Edit("branch", i, worked_line(problem, quantity, inputs, value, line.test))


def missing_steps(problem: Problem, lines: list[ScriptLine]) -> Iterator[Edit]:
    """A needed line dropped; the error shows where a later line is the first to miss it."""
    first = problem.prompt_nodes
    children: dict[int, list[int]] = {i: [] for i in range(len(lines))}
    for i in range(len(lines)):
        for parent in problem.nodes[first + i].parents:
            if parent >= first:
                children[parent - first].append(i)
    needed, waiting = set(), [len(lines) - 1]
    while waiting:
        for parent in problem.nodes[first + waiting.pop()].parents:
            if parent >= first and parent - first not in needed:
                needed.add(parent - first)
                waiting.append(parent - first)
    for i in sorted(needed):
        shows = children[i]
        if i == 0 and lines[i].kind == "plan":
            # Without any plan before them, facts may be copied out unasked; plan lines may not.
            shows = [child for child in shows if lines[child].kind == "plan"]
        if shows:
            yield Edit("dropped", i, "", step=min(shows) - 1)


def contradictions(problem: Problem, lines: list[ScriptLine]) -> Iterator[Edit]:
    """A value that speaks against a premise or an earlier step and is nobody else's either."""
    for i, line in enumerate(lines):
        stated = positions(lines, i)
        if line.kind == "answer":
            for wrong in _nobodys(problem, lines, line.value):
                ignored = node_of(problem, stated[line.quantity.key])
                yield Edit("answer", i, answer_line(problem, wrong), ignored=ignored)
        elif line.kind == "compute":
            guard = guard_of(problem, line.quantity) if problem.family == "program" else None
            if guard:
                test = next(at for at, other in enumerate(lines) if other.quantity.name == guard[1])
                text = program_line(problem, line.quantity, None, (), (), None, line.test)
                yield Edit("skipped", i, text, ignored=node_of(problem, test))
            for place in range(len(line.sources)):
                for wrong in _nobodys(problem, lines, line.inputs[place]):
                    yield put_in(problem, line, i, place, wrong, "value", stated, None)
        elif line.kind == "value" and problem.family != "program":
            for wrong in _nobodys(problem, lines, line.value):
                text = given_line(problem, line.quantity, wrong)
                changed = {line.quantity.key: wrong}
                yield Edit("fact", i, text, changed, ignored=line.quantity.premise)


def _nobodys(problem: Problem, lines: list[ScriptLine], value: Value) -> Iterator[Value]:
    """Near misses of a value that stand nowhere in the problem or its solution."""
    if isinstance(value, bool):
        yield not value
        return
    taken = {line.value for line in lines} | {q.operand for q in problem.quantities}
    taken |= {q.value for q in problem.quantities} | {2}
    yield from (wrong for wrong in near_misses(value) if wrong not in taken)


def unreadable_steps(problem: Problem, lines: list[ScriptLine]) -> Iterator[Edit]:
    """A line that has lost its names and values: "has fewer than, so - =."."""
    lost = r"\d+|True|False"
    if problem.family == "program":
        for i, line in enumerate(lines):
            if line.kind == "skip":
                yield Edit("garbled", i, _tidy(re.sub(r"\b[a-z]\b", "", line.text)))
                continue
            head, tail = re.split("(?<==)|(?<=is)", line.text, maxsplit=1)
            yield Edit("garbled", i, _tidy(head + re.sub(rf"\b([a-z]|{lost})\b", "", tail)))
        return
    words = "|".join([lost, "yes", "no", *(re.escape(q.key) for q in problem.quantities)])
    for i, line in enumerate(lines):
        yield Edit("garbled", i, _tidy(re.sub(rf"\b({words})\b", "", line.text)))


def _tidy(text: str) -> str:
    return re.sub(r" (?=[.,:])", "", re.sub(r"\s+", " ", text)).strip()
