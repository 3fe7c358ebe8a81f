"""Straight-line programs with a branch, traced line by line; dead code is the distractor.

Lines are labelled and every executed line is traced with its values, as in the scratchpads of Nye
et al. (2021, arXiv 2112.00114). Variables may be assigned again, so the latest value counts.
"""

from __future__ import annotations

import random
import string
from collections import Counter
from dataclasses import dataclass, field

from rg_helpers.problems.dependency_tree import forward_order, sample_tree
from rg_helpers.problems.problem import GoldNode, Problem, Quantity, identify

VARIABLES = tuple(string.ascii_lowercase)
LARGEST = 99
MOST_LINES = 40
MOST_ATTEMPTS = 20_000  # many joins hardly ever stay within two digits
REASSIGN_SHARE = 0.25
SKIPPED = "skipped"


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


def trace_text(
    line: Line, values: list[int], result: int | bool | None, test: bool | None = None
) -> str:
    """Write a line as it is worked out; `test` is the guard's value, a `None` result: not run.

    "L5: h = c + 8 = 22 + 8 = 30"; a guard restates its test first, also where the line is then
    not run ("L8: if l, l is False: skipped"), so that every decision is one look-up away.
    """
    head = f"{line.key}: "
    if line.guard:
        head += f"{line.guard} {line.guard_name}, {line.guard_name} is {test}: "
    if result is None:
        return head + SKIPPED
    code = f"{line.variable} = {expression(line.operator, line.operand, line.source_names)}"
    if line.operator == "given":
        return head + code
    worked = expression(line.operator, line.operand, [str(v) for v in values])
    return f"{head}{code} = {worked} = {result}"


def answer_text(variable: str, value: object) -> str:
    """Write the last line, which restates the asked variable before its value is looked up."""
    return f"The answer is {variable}: {variable} is {value}."


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
    for _ in range(MOST_ATTEMPTS):
        problem = _try_program(rng, operations, distractors, joins, branch)
        if problem is not None:
            return problem
    raise ValueError(
        f"no program with {joins} joins stayed within two digits in {MOST_ATTEMPTS} attempts: "
        "ask for a smaller program, with fewer joins"
    )


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


@dataclass
class _Draft:
    """A program being written: its lines, what each comes to (None: never run), what counts."""

    lines: list[Line] = field(default_factory=list)
    value_of: dict[str, int | bool | None] = field(default_factory=dict)
    relevant: dict[str, bool] = field(default_factory=dict)

    @property
    def next_label(self) -> str:
        """The label of the line to be written next."""
        return f"L{len(self.lines) + 1}"

    def write(self, line: Line, relevant: bool, executed: bool = True) -> str:
        """Append a line, run it unless it is not executed, and return its label."""
        values = [self.value_of[source] for source in line.sources]
        self.lines.append(line)
        self.value_of[line.key] = apply(line.operator, line.operand, values) if executed else None
        self.relevant[line.key] = relevant
        return line.key


def _try_program(
    rng: random.Random, operations: int, distractors: int, joins: int, branch: bool
) -> Problem | None:
    """Write one program line by line; None when a value grows past two digits."""
    tree = sample_tree(rng, operations - branch, joins, distractors)
    single = [n.index for n in tree if n.relevant and len(n.sources) == 1]
    branch_at = rng.choice(single) if branch else None
    order = forward_order(rng, tree)
    readers_left = Counter(source for node in tree for source in node.sources)
    fresh = list(VARIABLES)
    rng.shuffle(fresh)
    draft = _Draft()
    holder: dict[int, tuple[str, str]] = {}  # tree node -> (line key, variable)

    for index in order:
        node = tree[index]
        keys = tuple(holder[s][0] for s in node.sources)
        names = tuple(holder[s][1] for s in node.sources)
        readers_left.subtract(node.sources)
        # Node 0 is asked for at the end, so its variable must keep its value.
        reuse = [s for s in node.sources if readers_left[s] == 0 and s != 0]
        if reuse and rng.random() < REASSIGN_SHARE:
            variable = holder[rng.choice(reuse)][1]
        else:
            variable = fresh.pop()
        if index == branch_at:
            key = _write_branch(rng, draft, variable, fresh.pop(), keys, names)
        else:
            operator, operand = _operator(rng, [draft.value_of[k] for k in keys])
            line = Line(draft.next_label, variable, operator, operand, keys, names)
            key = draft.write(line, node.relevant)
        holder[index] = (key, variable)
        if draft.value_of[key] > LARGEST:
            return None
    return _assemble(draft, holder[0], operations, distractors, joins)


def _write_branch(
    rng: random.Random,
    draft: _Draft,
    variable: str,
    flag: str,
    keys: tuple[str, ...],
    names: tuple[str, ...],
) -> str:
    """Write a test and two guarded assignments; return the label of the one that is executed."""
    values = [draft.value_of[k] for k in keys]
    bound = max(1, values[0] + rng.choice((-4, -2, -1, 0, 1, 3)))
    test = draft.write(Line(draft.next_label, flag, "test", bound, keys, names), True)
    guards = ["if", "if not"] if rng.random() < 0.5 else ["if not", "if"]
    executed = ""
    for guard in guards:
        taken = (guard == "if") == draft.value_of[test]
        operator, operand = _operator(rng, values)
        label = draft.next_label
        line = Line(label, variable, operator, operand, keys, names, guard, test, flag)
        draft.write(line, taken, executed=taken)
        if taken:
            executed = label
    return executed


def _assemble(
    draft: _Draft, root: tuple[str, str], operations: int, distractors: int, joins: int
) -> Problem:
    """Lay the program, its trace and the answer out as nodes; `root` is (line key, variable)."""
    premises = [code_text(line) for line in draft.lines]
    position = {line.key: i for i, line in enumerate(draft.lines)}
    nodes = [GoldNode("premise", text) for text in premises]
    question = f"What is {root[1]} at the end?"
    question_node = len(nodes)
    nodes.append(GoldNode("question", question))
    step_of: dict[str, int] = {}
    depth_of: dict[str, int] = {}
    for line in draft.lines:
        value = draft.value_of[line.key]
        reads = () if value is None else line.sources
        reads = [*reads, *([line.guard_key] if line.guard_key else [])]
        step_of[line.key] = len(nodes)
        depth_of[line.key] = max((depth_of[key] + 1 for key in reads), default=0)
        test = draft.value_of[line.guard_key] if line.guard_key else None
        text = trace_text(line, [draft.value_of[s] for s in line.sources], value, test)
        parents = {position[line.key], *(step_of[key] for key in reads)}
        nodes.append(GoldNode("step", text, tuple(sorted(parents))))
    answer = str(draft.value_of[root[0]])
    parents = (question_node, step_of[root[0]])
    nodes.append(GoldNode("answer", answer_text(root[1], answer), parents))
    problem_id, split = identify("program", premises, question)
    return Problem(
        family="program",
        problem_id=problem_id,
        split=split,
        operations=operations,
        distractors=distractors,
        joins=joins,
        depth=depth_of[root[0]],
        nodes=tuple(nodes),
        quantities=tuple(_quantity(draft, line, position[line.key]) for line in draft.lines),
        answer=answer,
        separator="\n",
    )


def _quantity(draft: _Draft, line: Line, premise: int) -> Quantity:
    return Quantity(
        key=line.key,
        name=line.variable,
        operator=line.operator,
        operand=line.operand,
        sources=line.sources,
        value=draft.value_of[line.key],
        premise=premise,
        relevant=draft.relevant[line.key],
    )
