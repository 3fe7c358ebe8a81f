"""Written truths: worked by hand, silent on right solutions, loud on planted contradictions."""

from __future__ import annotations

import pytest

from rg_helpers.error_prediction.written_truths import truth_numbers, wrong_truths
from rg_helpers.problems import FAMILIES, generate_problems, plant_error

PROMPT = ["The contract is joint.", "The contract is not open.", "Is the contract late?"]


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("It is late when bonded or joint: no or yes, so yes.", 0),
        ("It is late when bonded or joint: no or yes, so no.", 1),
        ("It is late when bonded or joint: no and yes, so no.", 1),
        ("It is late when bonded and joint: no or yes, so no.", 2),
        ("It is filed when not taxed: not yes, so no.", 0),
        ("It is filed when not taxed: not yes, so yes.", 1),
        ("It is filed when not taxed: yes, so yes.", 1),
        ("It is funded when open: no, so no.", 0),
        ("It is funded when open: no, so yes.", 1),
        ("It is open: no.", 0),
        ("Ida has 8 fewer than Uma, so 35 - 8 = 27.", 0),
    ],
)
def test_a_rule_comes_out_or_not(text, count):
    assert wrong_truths(text) == count


def test_truths_are_those_of_the_last_line_that_says_them():
    steps = [
        "It is joint: no.",  # the prompt says yes
        "It is open: no.",
        "It is bonded: yes.",  # nobody says so
        "It is waived: no.",  # nobody says so either: then it is not
        "It is late when bonded or joint: yes or no, so yes.",  # as the steps before say
        "It is funded when late: no, so no.",  # the step before says yes
    ]
    found = truth_numbers([*PROMPT, *steps], len(PROMPT))
    assert found == [(0, 1), (0, 0), (0, 1), (0, 0), (0, 0), (0, 1)]


@pytest.mark.parametrize("family", FAMILIES)
def test_right_solutions_show_nothing(family):
    for problem in generate_problems(family, 30, seed=2, operations=(2, 6), distractors=(0, 4)):
        given = sum(node.kind in ("premise", "question") for node in problem.nodes)
        texts = [node.text for node in problem.nodes]
        assert set(truth_numbers(texts, given)) == {(0, 0)}


def test_planted_slips_and_contradictions_of_deduction_show():
    found = asked = 0
    for number, problem in enumerate(generate_problems("deduction", 40, seed=4, operations=(3, 5))):
        planted = plant_error(problem, "contradiction", number)
        if planted is None:
            continue
        given = sum(node.kind in ("premise", "question") for node in problem.nodes)
        prompt = [node.text for node in problem.nodes[:given]]
        steps = [part.strip() + "." for part in planted.text.split(".") if part.strip()]
        asked += 1
        found += any(any(row) for row in truth_numbers([*prompt, *steps], given))
    assert asked >= 10
    assert found / asked > 0.5
