"""The same reasoning in another order: right solutions that share few positions with the gold one.

A gold graph fixes what must stand before what, and nothing else. Scores that hold a solution
against one reference text punish every other valid order; these texts show by how much.
"""

from __future__ import annotations

import random

from rg_helpers.problems.problem import Problem


def reordered_solution(problem: Problem, seed: int | str = 0) -> str:
    """Return the gold solution's lines in a random order in which every step follows its parents.

    The same for the same seed; equal to the gold solution where the graph leaves no choice. In a
    program a variable is overwritten only after every line that reads its old value.
    """
    rng = random.Random(f"reorder|{problem.problem_id}|{seed}")
    first = problem.prompt_nodes
    waits_for = {
        node: {parent for parent in problem.nodes[node].parents if parent >= first}
        for node in range(first, len(problem.nodes))
    }
    for later, earlier in _overwritten(problem):
        waits_for[later].update(earlier)
    waits_for[len(problem.nodes) - 1].update(range(first, len(problem.nodes) - 1))
    lines: list[str] = []
    while waits_for:
        ready = [node for node, others in waits_for.items() if not others & waits_for.keys()]
        node = rng.choice(ready)
        del waits_for[node]
        lines.append(problem.nodes[node].text)
    return problem.separator.join(lines)


def _overwritten(problem: Problem) -> list[tuple[int, set[int]]]:
    """Return, for each line that overwrites a variable, the lines that need its old value."""
    step_of = {
        node.parents[0]: index
        for index, node in enumerate(problem.nodes)
        if node.kind == "step" and problem.family == "program"
    }
    found = []
    for quantity in problem.quantities:
        step = step_of.get(quantity.premise)
        before = [
            step_of[other.premise]
            for other in problem.quantities
            if other.name == quantity.name
            and other.premise < quantity.premise
            and other.premise in step_of
        ]
        if step is not None and before:
            readers = {
                index
                for index, node in enumerate(problem.nodes)
                if index < step and set(node.parents) & set(before)
            }
            found.append((step, {*before, *readers}))
    return found
