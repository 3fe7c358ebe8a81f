"""Gold graphs: a hand-drawn problem, and agreement between generator and checker."""

from __future__ import annotations

import numpy as np
import pytest

from rg_helpers.graphs.gold import gold_graph, written_graph
from rg_helpers.problems import FAMILIES, GoldNode, Problem, check_solution, generate_problems
from rg_helpers.tokenizer import build_tokenizer
from rg_helpers.traces import gold_trace, trace_from_text

TOKENIZER = build_tokenizer()


def hand_made() -> Problem:
    nodes = (
        GoldNode("premise", "Ana has 2 pens."),
        GoldNode("premise", "Bo has 3 more pens than Ana."),
        GoldNode("question", "How many pens does Bo have?"),
        GoldNode("step", "Ana has 2.", (0, 2)),
        GoldNode("step", "Bo has 3 more than Ana, so 2 + 3 = 5.", (1, 3)),
        GoldNode("answer", "The answer is 5.", (2, 4)),
    )
    return Problem("arithmetic", "hand", "test", 1, 0, 0, 1, nodes, (), "5", " ")


def test_hand_made_graph():
    graph = gold_graph(hand_made())
    expected = np.zeros((6, 6))
    for target, sources in {3: (0, 2), 4: (1, 3), 5: (2, 4)}.items():
        expected[target, sources] = 0.5
    assert np.array_equal(graph.weights, expected)
    assert graph.edges == [(0, 3), (2, 3), (1, 4), (3, 4), (2, 5), (4, 5)]
    assert graph.method == "gold"
    assert graph.texts[4] == "Bo has 3 more than Ana, so 2 + 3 = 5."


@pytest.mark.parametrize("family", FAMILIES)
def test_checker_reads_the_gold_graph_out_of_the_gold_solution(family):
    for problem in generate_problems(family, 15, seed=4):
        trace, checked = gold_trace(problem, TOKENIZER), check_solution(problem, problem.solution)
        gold = gold_graph(problem)
        for edges in ("claimed", "needed"):
            written = written_graph(trace, checked, edges)
            assert np.array_equal(written.weights, gold.weights)
            assert written.kinds == gold.kinds
            assert written.trace_id == gold.trace_id


def test_a_wrong_operand_shows_as_the_difference_of_claimed_and_needed():
    """In "Bo has 3 more than Cal" the step reads a distractor instead of Ana."""
    for problem in generate_problems("arithmetic", 40, seed=5, operations=(2, 2)):
        sums = [q for q in problem.quantities if q.relevant and q.operator == "more"]
        others = [q for q in problem.quantities if not q.relevant]
        if sums and others:
            break
    right, wrong = f"more than {sums[0].sources[0]}, so", f"more than {others[0].name}, so"
    assert problem.solution.count(right) == 1
    text = problem.solution.replace(right, wrong)
    trace = trace_from_text(
        TOKENIZER, problem.prompt, text, family="arithmetic", separator=problem.separator
    )
    checked = check_solution(problem, text)
    claimed = written_graph(trace, checked, "claimed")
    needed = written_graph(trace, checked, "needed")
    step = checked.first_wrong_step + problem.prompt_nodes
    assert not np.array_equal(claimed.weights[step], needed.weights[step])


def test_wrong_pairs_are_refused():
    problem = generate_problems("program", 1)[0]
    trace, checked = gold_trace(problem, TOKENIZER), check_solution(problem, "L1: a = 2")
    with pytest.raises(ValueError, match="has 1 steps"):
        written_graph(trace, checked)
    with pytest.raises(ValueError, match="'claimed' or 'needed'"):
        written_graph(trace, checked, "guessed")
