"""Premises left out and brought in: against NetworkX, walks by hand, and planted errors."""

from __future__ import annotations

from dataclasses import replace

import networkx
import numpy as np
import pytest

from rg_helpers.error_prediction.premise_use import (
    first_guesses,
    grounds,
    premise_use,
    strongest_use,
)
from rg_helpers.graphs.gold import gold_graph
from rg_helpers.graphs.step_graph import StepGraph, normalise_rows
from rg_helpers.problems import check_solution, generate_problems, plant_error

PROBLEMS = generate_problems("deduction", 12, seed=4, operations=(3, 5), distractors=(2, 3))


def _ancestors(parents, node):
    graph = networkx.DiGraph((p, n) for n, own in enumerate(parents) for p in own)
    graph.add_node(node)
    return networkx.ancestors(graph, node)


def test_right_solutions_ignore_nothing_and_use_nothing_irrelevant():
    for problem in PROBLEMS:
        use = premise_use(problem, check_solution(problem, problem.solution))
        relevant = {q.premise for q in problem.quantities if q.relevant}
        assert use.needed == relevant
        assert use.premises == problem.prompt_nodes - 1
        assert not use.ignored
        assert not use.irrelevant_used


@pytest.mark.parametrize("kind", ["missing step", "wrong operand", "irrelevant step"])
def test_planted_errors_show_as_differences_of_ancestors(kind):
    ignored = used = 0
    for problem in PROBLEMS:
        planted = plant_error(problem, kind)
        if planted is None:
            continue
        checked = check_solution(problem, planted.text)
        use = premise_use(problem, checked)
        given = problem.prompt_nodes
        claimed = [()] * given + [
            (*s.parents, *([] if s.used is None else [s.used])) for s in checked.steps
        ]
        premises = set(range(given - 1))
        gold = [node.parents for node in problem.nodes]
        needed = premises & _ancestors(gold, len(gold) - 1)
        assert use.ignored == needed - _ancestors(claimed, len(claimed) - 1)
        assert use.irrelevant_used == premises & set().union(*claimed) - needed
        ignored, used = ignored + bool(use.ignored), used + bool(use.irrelevant_used)
    assert used == (len(PROBLEMS) if kind == "irrelevant step" else used)
    assert ignored or kind == "irrelevant step"


def test_a_solution_without_an_answer_is_refused():
    problem = PROBLEMS[0]
    text = problem.separator.join(node.text for node in problem.nodes[problem.prompt_nodes : -1])
    with pytest.raises(ValueError, match="no answer line"):
        premise_use(problem, check_solution(problem, text))


def _graph(rows, kinds):
    return StepGraph(normalise_rows(np.array(rows, float)), kinds, ("x",) * len(kinds), "made")


def test_a_walk_of_six_nodes_by_hand():
    kinds = ("premise", "premise", "question", "step", "step", "answer")
    graph = _graph(
        [
            [0, 0, 0, 0, 0, 0],
            [0, 0, 0, 0, 0, 0],
            [1, 0, 0, 0, 0, 0],  # what the question looks at is no step of the solution
            [3, 0, 1, 0, 0, 0],
            [0, 1, 0, 1, 0, 0],
            [0, 0, 0, 1, 3, 0],
        ],
        kinds,
    )
    # answer: 1/4 to step 3, 3/4 to step 4, of which half goes on to step 3: 5/8 stand there
    assert grounds(graph) == pytest.approx([5 / 8 * 3 / 4, 3 / 8])
    assert strongest_use(graph) == pytest.approx([3 / 4, 1 / 2])


def test_walks_equal_the_fundamental_matrix_and_sum_to_one_with_the_question():
    rng = np.random.default_rng(0)
    kinds = ("premise",) * 4 + ("question",) + ("step",) * 5 + ("answer",)
    for _ in range(20):
        weights = normalise_rows(np.tril(rng.random((11, 11)) * (rng.random((11, 11)) < 0.6), -1))
        graph = StepGraph(weights, kinds, ("x",) * 11, "made")
        steps, given = weights[5:, 5:].astype(float), weights[5:, :5].astype(float)
        absorbed = np.linalg.solve(np.eye(6) - steps, given)[-1]
        assert grounds(graph) == pytest.approx(absorbed[:4], abs=1e-6)


def test_a_gold_graph_rests_on_all_that_is_needed_and_on_nothing_else():
    for problem in PROBLEMS:
        use = premise_use(problem, check_solution(problem, problem.solution))
        share = grounds(gold_graph(problem))
        assert set(np.flatnonzero(share > 0)) == use.needed
        assert set(np.flatnonzero(strongest_use(gold_graph(problem)) > 0)) == use.needed


def test_what_stands_behind_the_answer_line_does_not_count():
    problem = PROBLEMS[0]
    graph = gold_graph(problem)
    longer = StepGraph(
        np.pad(graph.weights, (0, 1)), (*graph.kinds, "step"), (*graph.texts, "x"), "made"
    )
    assert grounds(longer) == pytest.approx(grounds(graph))
    cut = replace(graph, kinds=(*graph.kinds[:-1], "step"))
    assert grounds(cut) == pytest.approx(grounds(graph))  # without an answer: the last node


def test_first_guesses_share_ties_and_name_what_does_not_fit():
    scores = [np.array([0.1, 0.9]), np.zeros(4), np.array([2.0, 2.0, 1.0])]
    marked = [np.array([False, True]), np.array([True, False, False, False]), np.array([1, 0, 1])]
    found = first_guesses(scores, [m.astype(bool) for m in marked])
    assert found == pytest.approx([1, 1 / 4, 1 / 2])
    with pytest.raises(ValueError, match="solution 0: 2 scores for 3"):
        first_guesses([np.zeros(2)], [np.zeros(3, bool)])
