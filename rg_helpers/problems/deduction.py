"""Deduction over a small invented legal code: is the contract binding?

Every term is either a fact or defined by exactly one clause, so "when" reads as a definition. The
idea of PrOntoQA (Saparov & He 2023, arXiv 2210.01240) with negation and joins.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from rg_helpers.problems.dependency_tree import forward_order, sample_tree
from rg_helpers.problems.planned import assemble_planned_problem
from rg_helpers.problems.problem import Problem, Quantity

GOAL = "binding"
TERMS = tuple(
    "amended audited bonded certified complete copied dated declared deposited disputed drafted "
    "exempt filed final funded insured joint late licensed listed lodged mutual notarised open "
    "paid posted public recorded renewed reviewed sealed served signed stamped sworn taxed "
    "timely valid void waived witnessed written".split()
)


def apply(operator: str, operand: int | None, values: list[bool]) -> bool:
    """Return what an operator makes of its sources' values."""
    if operator == "same":
        return values[0]
    if operator == "not":
        return not values[0]
    if operator == "and":
        return values[0] and values[1]
    if operator == "or":
        return values[0] or values[1]
    raise ValueError(f"unknown operator {operator!r}: expected same, not, and, or")


def yes_no(value: bool) -> str:
    """Write a truth value as the solutions do."""
    return "yes" if value else "no"


def condition(operator: str, words: tuple[str, ...] | list[str]) -> str:
    """Write an operator over words: "dated", "not dated", "dated and paid", "dated or paid"."""
    if operator == "not":
        return f"not {words[0]}"
    return f" {operator} ".join(words)


def premise_text(quantity: Quantity) -> str:
    """Say a fact or a clause of the code in one sentence."""
    if quantity.operator == "given":
        return f"The contract is {'' if quantity.value else 'not '}{quantity.name}."
    return f"A contract is {quantity.name} when {condition(quantity.operator, quantity.sources)}."


def plan_line(quantity: Quantity) -> str:
    """Say what a term depends on."""
    return f"For {quantity.name} check {' and '.join(quantity.sources)}."


def given_line(quantity: Quantity) -> str:
    """Copy a fact out."""
    return f"It is {quantity.name}: {yes_no(quantity.value)}."


def compute_line(quantity: Quantity, values: Sequence[bool]) -> str:
    """Restate the clause and apply it to its sources' values."""
    said = condition(quantity.operator, quantity.sources)
    worked = condition(quantity.operator, [yes_no(value) for value in values])
    return f"It is {quantity.name} when {said}: {worked}, so {yes_no(quantity.value)}."


def generate_deduction(
    rng: random.Random, operations: int, distractors: int, joins: int
) -> Problem:
    """Generate one case; raises `ValueError` if it needs more legal terms than there are."""
    if operations + joins + distractors > len(TERMS):
        raise ValueError(
            f"{operations} operations, {joins} joins and {distractors} distractors need more than "
            f"the {len(TERMS)} terms there are: ask for a smaller problem"
        )
    tree = sample_tree(rng, operations, joins, distractors)
    terms = [GOAL, *rng.sample(TERMS, len(tree) - 1)]
    made: dict[int, Quantity] = {}
    for index in forward_order(rng, tree):
        node = tree[index]
        values = [made[s].value for s in node.sources]
        if len(values) == 2:
            operator = rng.choice(("and", "or"))
        elif values:
            operator = rng.choice(("same", "not"))
        else:
            operator = "given"
        value = apply(operator, None, values) if values else rng.random() < 0.5
        sources = tuple(terms[s] for s in node.sources)
        term = terms[index]
        made[index] = Quantity(term, term, operator, None, sources, value, -1, node.relevant)
    quantities = [made[i] for i in range(len(tree))]
    return assemble_planned_problem(
        rng,
        "deduction",
        tree,
        quantities,
        premise_text=premise_text,
        question=f"Is the contract {GOAL}?",
        plan_line=plan_line,
        given_line=given_line,
        compute_line=compute_line,
        answer=yes_no(quantities[0].value),
    )
