"""Reordered solutions: the same lines, another order, still right in the checker's eyes."""

from __future__ import annotations

import pytest

from rg_helpers.problems import FAMILIES, check_solution, generate_problems
from rg_helpers.problems.reorder import reordered_solution


@pytest.mark.parametrize("family", FAMILIES)
def test_every_order_is_right_and_most_are_new(family):
    problems = generate_problems(family, 150, split=None, seed=4, operations=(2, 8))
    moved = 0
    for seed, problem in enumerate(problems):
        text = reordered_solution(problem, seed)
        lines = [node.text for node in problem.nodes[problem.prompt_nodes :]]
        checked = check_solution(problem, text)
        assert sorted(step.text for step in checked.steps) == sorted(lines)
        assert checked.all_right, (problem.problem_id, [s for s in checked.steps if s.detail])
        assert checked.steps[-1].kind == "answer"
        moved += text != problem.solution
    assert moved > 75


def test_the_order_depends_on_the_seed_alone():
    problem = generate_problems("arithmetic", 1, split=None, operations=(8, 8))[0]
    texts = [reordered_solution(problem, seed) for seed in range(20)]
    assert texts == [reordered_solution(problem, seed) for seed in range(20)]
    assert len(set(texts)) > 5
