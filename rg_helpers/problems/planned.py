"""Problems solved by a written plan: down from the question to the facts, then back up.

Arithmetic and deduction share this shape. The plan lines make every step a look-up that a small
model can do in one forward pass; nothing has to be planned silently.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from rg_helpers.problems.dependency_tree import TreeNode, backward_order, tree_depth
from rg_helpers.problems.problem import GoldNode, Problem, Quantity, identify


def assemble_planned_problem(
    rng: random.Random,
    family: str,
    tree: Sequence[TreeNode],
    quantities: Sequence[Quantity],
    premise_text: Callable[[Quantity], str],
    question: str,
    plan_line: Callable[[Quantity], str],
    given_line: Callable[[Quantity], str],
    compute_line: Callable[[Quantity, Sequence], str],
    answer: str,
) -> Problem:
    """Shuffle the premises, write the gold solution and link every line to its parents."""
    order = list(range(len(quantities)))
    rng.shuffle(order)
    premise_of = {index: position for position, index in enumerate(order)}
    quantities = [
        Quantity(**{**vars(q), "premise": premise_of[i]}) for i, q in enumerate(quantities)
    ]
    premises = [premise_text(quantities[i]) for i in order]
    nodes = [GoldNode("premise", text) for text in premises]
    question_node = len(nodes)
    nodes.append(GoldNode("question", question))

    backward = backward_order(list(tree))
    line_of: dict[int, int] = {}  # tree node -> index of the line that opened it
    value_line: dict[int, int] = {}  # tree node -> index of the line that states its value
    for index, asked_by in backward:
        quantity = quantities[index]
        asker = question_node if asked_by is None else line_of[asked_by]
        line_of[index] = len(nodes)
        if quantity.operator == "given":
            value_line[index] = len(nodes)
            text = given_line(quantity)
        else:
            text = plan_line(quantity)
        nodes.append(GoldNode("step", text, tuple(sorted((quantity.premise, asker)))))
    for index, _ in reversed(backward):
        quantity = quantities[index]
        if quantity.operator == "given":
            continue
        parents = sorted({quantity.premise, *(value_line[s] for s in tree[index].sources)})
        value_line[index] = len(nodes)
        values = [quantities[s].value for s in tree[index].sources]
        nodes.append(GoldNode("step", compute_line(quantity, values), tuple(parents)))
    nodes.append(GoldNode("answer", f"The answer is {answer}.", (question_node, value_line[0])))
    problem_id, split = identify(family, premises, question)
    relevant = [node for node in tree if node.relevant]
    return Problem(
        family=family,
        problem_id=problem_id,
        split=split,
        operations=sum(bool(node.sources) for node in relevant),
        distractors=len(tree) - len(relevant),
        joins=sum(len(node.sources) == 2 for node in relevant),
        depth=tree_depth(list(tree)),
        nodes=tuple(nodes),
        quantities=tuple(quantities),
        answer=answer,
        separator=" ",
    )
