"""Straight-line programs with a branch, traced line by line; dead code is the distractor.

Lines are labelled and every executed line is traced with its values, as in the scratchpads of Nye
et al. (2021, arXiv 2112.00114). Variables may be assigned again, so the latest value counts.
"""

from __future__ import annotations

import random
import string
from dataclasses import dataclass

from rg_helpers.problems.dependency_tree import forward_order, sample_tree, tree_depth
from rg_helpers.problems.problem import GoldNode, Problem, Quantity, identify

VARIABLES = tuple(string.ascii_lowercase)
LARGEST = 99
MOST_LINES = 40
REASSIGN_SHARE = 0.25


@dataclass(frozen=True)
class Line:
    """One line of code: `operator` is given, plus, minus, twice, add or test; `guard` is
    `None`, "if" or "if not" and then reads the test in `guard_key`."""

    key: str
    variable: str
    operator: str
    operand: int | None
    sources: tuple[str, ...]  # keys of the lines whose values are read
    source_names: tuple[str, ...]  # the variables as written
    guard: str | None = None
    guard_key: str | None = None
    guard_name: str | None = None


def apply(operator: str, operand: int | None, values: list[int]) -> int | bool:
    """Return what an operator makes of its sources' values."""
    if operator == "given":
        return operand
    if operator == "plus":
        return values[0] + operand
    if operator == "minus":
        return values[0] - operand
    if operator == "twice":
        return values[0] * 2
    if operator == "add":
        return values[0] + values[1]
    if operator == "test":
        return values[0] > operand
    raise ValueError(
        f"unknown operator {operator!r}: expected given, plus, minus, twice, add, test"
    )


def expression(operator: str, operand: int | None, words: tuple[str, ...] | list[str]) -> str:
    """Write an operator over variables or over values: "a + 3" or "7 + 3"."""
    if operator == "given":
        return str(operand)
    if operator == "twice":
        return f"{words[0]} * 2"
    if operator == "add":
        return f"{words[0]} + {words[1]}"
    sign = {"plus": "+", "minus": "-", "test": ">"}[operator]
    return f"{words[0]} {sign} {operand}"


def code_text(line: Line) -> str:
    """Write a line as it stands in the program."""
    guard = f"{line.guard} {line.guard_name}: " if line.guard else ""
    code = expression(line.operator, line.operand, line.source_names)
    return f"{line.key}: {guard}{line.variable} = {code}"


def trace_text(line: Line, values: list[int], result: int | bool) -> str:
    """Write an executed line with its values filled in and its result."""
    if line.operator == "given":
        return code_text(line)
    worked = expression(line.operator, line.operand, [str(v) for v in values])
    return f"{code_text(line)} = {worked} = {result}"


def generate_program(rng: random.Random, operations: int, distractors: int, joins: int) -> Problem:
    """Generate one program; raises `ValueError` if it needs too many lines or variables.

    `operations` counts the executed computing lines that the answer depends on. From three
    operations on, half of the programs hold a branch: a test, a taken and an untaken line.
    """
    if operations + joins + distractors + 3 > min(MOST_LINES, len(VARIABLES)):
        raise ValueError(
            f"{operations} operations, {joins} joins and {distractors} distractors need more than "
            f"the {len(VARIABLES)} variables there are: ask for a smaller program"
        )
    branch = operations - joins >= 3 and rng.random() < 0.5
    while True:
        problem = _try_program(rng, operations, distractors, joins, branch)
        if problem is not None:
            return problem


def _operator(rng: random.Random, values: list[int]) -> tuple[str, int | None]:
    if not values:
        return "given", rng.randint(2, 30)
    if len(values) == 2:
        return "add", None
    choices: list[tuple[str, int | None]] = []
    if values[0] < LARGEST:
        choices += [("plus", rng.randint(1, min(9, LARGEST - values[0])))] * 2
    if values[0] > 1:
        choices += [("minus", rng.randint(1, min(9, values[0] - 1)))] * 2
    if 2 * values[0] <= LARGEST:
        choices.append(("twice", None))
    return rng.choice(choices)


def _try_program(
    rng: random.Random, operations: int, distractors: int, joins: int, branch: bool
) -> Problem | None:
    tree = sample_tree(rng, operations - branch, joins, distractors)
    single = [n.index for n in tree if n.relevant and len(n.sources) == 1]
    branch_at = rng.choice(single) if branch else None
    order = forward_order(rng, tree)
    readers_left = {n.index: 0 for n in tree}
    for node in tree:
        for source in node.sources:
            readers_left[source] += 1
    fresh = list(VARIABLES)
    rng.shuffle(fresh)
    lines: list[Line] = []
    value_of: dict[str, int | bool | None] = {}
    holder: dict[int, tuple[str, str]] = {}  # tree node -> (line key, variable)
    relevant: dict[str, bool] = {}

    def add(line: Line, counts: bool, executed: bool = True) -> str:
        values = [value_of[s] for s in line.sources]
        lines.append(line)
        value_of[line.key] = apply(line.operator, line.operand, values) if executed else None
        relevant[line.key] = counts
        return line.key

    def label() -> str:
        return f"L{len(lines) + 1}"

    for index in order:
        node = tree[index]
        keys = tuple(holder[s][0] for s in node.sources)
        names = tuple(holder[s][1] for s in node.sources)
        values = [value_of[k] for k in keys]
        for source in node.sources:
            readers_left[source] -= 1
        # Node 0 is asked for at the end, so its variable must keep its value.
        reuse = [s for s in node.sources if readers_left[s] == 0 and s != 0]
        if reuse and rng.random() < REASSIGN_SHARE:
            variable = holder[rng.choice(reuse)][1]
        else:
            variable = fresh.pop()
        if index == branch_at:
            flag = fresh.pop()
            bound = max(1, values[0] + rng.choice((-4, -2, -1, 0, 1, 3)))
            test = add(Line(label(), flag, "test", bound, keys, names), True)
            guards = ["if", "if not"] if rng.random() < 0.5 else ["if not", "if"]
            for guard in guards:
                taken = (guard == "if") == value_of[test]
                operator, operand = _operator(rng, values)
                line = Line(label(), variable, operator, operand, keys, names, guard, test, flag)
                key = add(line, taken, executed=taken)
                if taken:
                    holder[index] = (key, variable)
        else:
            operator, operand = _operator(rng, values)
            key = add(Line(label(), variable, operator, operand, keys, names), node.relevant)
            holder[index] = (key, variable)
        if value_of[holder[index][0]] > LARGEST:
            return None
    return _assemble(tree, lines, value_of, relevant, holder[0], operations, distractors, joins)


def _assemble(tree, lines, value_of, relevant, root, operations, distractors, joins) -> Problem:
    premises = [code_text(line) for line in lines]
    position = {line.key: i for i, line in enumerate(lines)}
    nodes = [GoldNode("premise", text) for text in premises]
    question = f"What is {root[1]} at the end?"
    question_node = len(nodes)
    nodes.append(GoldNode("question", question))
    step_of: dict[str, int] = {}
    quantities = []
    for line in lines:
        value = value_of[line.key]
        quantities.append(
            Quantity(
                line.key,
                line.variable,
                line.operator,
                line.operand,
                line.sources,
                value,
                position[line.key],
                relevant[line.key],
            )
        )
        if value is None:
            continue
        parents = {position[line.key], *(step_of[s] for s in line.sources)}
        if line.guard_key:
            parents.add(step_of[line.guard_key])
        step_of[line.key] = len(nodes)
        text = trace_text(line, [value_of[s] for s in line.sources], value)
        nodes.append(GoldNode("step", text, tuple(sorted(parents))))
    answer = str(value_of[root[0]])
    nodes.append(GoldNode("answer", f"The answer is {answer}.", (question_node, step_of[root[0]])))
    problem_id, split = identify("program", premises, question)
    return Problem(
        family="program",
        problem_id=problem_id,
        split=split,
        operations=operations,
        distractors=distractors,
        joins=joins,
        depth=tree_depth(tree),
        nodes=tuple(nodes),
        quantities=tuple(quantities),
        answer=answer,
        separator="\n",
    )
