"""Word problems: chains and joins of "Ana has 3 more pens than Ida." with distractors.

The idea of iGSM (Ye et al. 2024, arXiv 2407.20311): a problem generated from its dependency graph.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from rg_helpers.problems.dependency_tree import TreeNode, forward_order, sample_tree
from rg_helpers.problems.planned import assemble_planned_problem
from rg_helpers.problems.problem import Problem, Quantity

NAMES = tuple(
    "Ada Ana Ben Bo Cal Dan Dee Eli Eva Fay Gus Hal Ida Ivy Jan Jo Kai Kit Lea Leo Liv Lou Mae Max "
    "Mia Ned Nia Oda Pam Pia Ray Rex Roy Sam Sky Sue Tia Tom Uma Val Vic Wes Zed Zoe".split()
)
UNITS = tuple(
    "apples balls books boxes cards coins cups eggs keys maps pens plums rings seeds shells "
    "stamps".split()
)
LARGEST = 99  # every quantity has at most two digits
MOST_ATTEMPTS = 20_000  # many joins hardly ever stay within two digits


def apply(operator: str, operand: int | None, values: list[int]) -> int:
    """Return what an operator makes of its sources' values."""
    if operator == "more":
        return values[0] + operand
    if operator == "fewer":
        return values[0] - operand
    if operator == "twice":
        return 2 * values[0]
    if operator == "together":
        return values[0] + values[1]
    raise ValueError(f"unknown operator {operator!r}: expected more, fewer, twice or together")


def premise_text(quantity: Quantity, unit: str) -> str:
    """Say a quantity's definition in one sentence."""
    name, sources = quantity.name, quantity.sources
    if quantity.operator == "given":
        return f"{name} has {quantity.value} {unit}."
    if quantity.operator == "twice":
        return f"{name} has twice as many {unit} as {sources[0]}."
    if quantity.operator == "together":
        return f"{name} has as many {unit} as {sources[0]} and {sources[1]} together."
    return f"{name} has {quantity.operand} {quantity.operator} {unit} than {sources[0]}."


def plan_line(quantity: Quantity) -> str:
    """Say what a quantity depends on."""
    return f"{quantity.name} needs {' and '.join(quantity.sources)}."


def given_line(quantity: Quantity) -> str:
    """Copy a given value out."""
    return f"{quantity.name} has {quantity.value}."


def compute_line(quantity: Quantity, values: Sequence[int]) -> str:
    """Restate the premise and compute the quantity's value from its sources' values."""
    sources, operand = quantity.sources, quantity.operand
    if quantity.operator == "twice":
        said, sum_text = f"twice as many as {sources[0]}", f"2 * {values[0]}"
    elif quantity.operator == "together":
        said = f"as many as {sources[0]} and {sources[1]} together"
        sum_text = f"{values[0]} + {values[1]}"
    else:
        said = f"{operand} {quantity.operator} than {sources[0]}"
        sum_text = f"{values[0]} {'+' if quantity.operator == 'more' else '-'} {operand}"
    return f"{quantity.name} has {said}, so {sum_text} = {quantity.value}."


def _choose_operator(rng: random.Random, values: list[int]) -> tuple[str, int | None]:
    if len(values) == 2:
        return "together", None
    choices: list[tuple[str, int | None]] = []
    if values[0] < LARGEST:
        choices += [("more", rng.randint(1, min(9, LARGEST - values[0])))] * 2
    if values[0] > 1:
        choices += [("fewer", rng.randint(1, min(9, values[0] - 1)))] * 2
    if 2 * values[0] <= LARGEST:
        choices.append(("twice", None))
    return rng.choice(choices)


def _define(rng: random.Random, tree: list[TreeNode]) -> list[Quantity] | None:
    names = rng.sample(NAMES, len(tree))
    made: dict[int, Quantity] = {}
    for index in forward_order(rng, tree):
        node = tree[index]
        values = [made[s].value for s in node.sources]
        if values:
            operator, operand = _choose_operator(rng, values)
            value = apply(operator, operand, values)
        else:
            operator, operand, value = "given", None, rng.randint(2, 30)
        if value > LARGEST:
            return None
        sources = tuple(names[s] for s in node.sources)
        name = names[index]
        made[index] = Quantity(name, name, operator, operand, sources, value, -1, node.relevant)
    return [made[i] for i in range(len(tree))]


def generate_arithmetic(
    rng: random.Random, operations: int, distractors: int, joins: int
) -> Problem:
    """Generate one word problem; raises `ValueError` if it needs more names than there are."""
    if operations + joins + 1 + distractors > len(NAMES):
        raise ValueError(
            f"{operations} operations, {joins} joins and {distractors} distractors need more than "
            f"the {len(NAMES)} names there are: ask for a smaller problem"
        )
    for _ in range(MOST_ATTEMPTS):  # sums over two digits are drawn again
        tree = sample_tree(rng, operations, joins, distractors)
        quantities = _define(rng, tree)
        if quantities is not None:
            break
    else:
        raise ValueError(
            f"no problem with {joins} joins stayed within two digits in {MOST_ATTEMPTS} attempts: "
            "ask for a smaller problem, with fewer joins"
        )
    unit = rng.choice(UNITS)
    root = quantities[0]
    return assemble_planned_problem(
        rng,
        "arithmetic",
        tree,
        quantities,
        premise_text=lambda q: premise_text(q, unit),
        question=f"How many {unit} does {root.name} have?",
        plan_line=plan_line,
        given_line=given_line,
        compute_line=compute_line,
        answer=str(root.value),
    )
