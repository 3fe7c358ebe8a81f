"""The checker: gold is right, wordings are read sensibly, and no text makes it raise."""

from __future__ import annotations

import random
import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rg_helpers.problems import (
    FAMILIES,
    VERDICTS,
    CheckedSolution,
    Problem,
    check_solution,
    generate_problem,
    reordered_solution,
    segment_steps,
)
from rg_helpers.problems.problem import GoldNode, Quantity

problems = st.builds(
    generate_problem,
    st.sampled_from(FAMILIES),
    st.integers(0, 10**9),
    operations=st.integers(1, 8),
    distractors=st.integers(0, 4),
)


def assert_sound(problem: Problem, text: str, checked: CheckedSolution) -> None:
    """What holds for every checked text, whatever it says."""
    spans = [(step.start, step.end) for step in checked.steps]
    assert spans == segment_steps(text, problem.family)
    for index, step in enumerate(checked.steps):
        assert step.text == text[step.start : step.end]
        assert step.verdict in VERDICTS
        own = problem.prompt_nodes + index
        edges = (*step.parents, *step.needed)
        assert all(0 <= node < own for node in edges), "edges point to what stands before"
        assert tuple(sorted(set(step.parents))) == step.parents
        assert step.ignored is None or 0 <= step.ignored < own
        assert step.used is None or 0 <= step.used < own
    assert checked.truncated == (checked.answer is None)
    assert checked.answer_right == (checked.answer == problem.answer)


@settings(max_examples=1200, deadline=None)
@given(problems)
def test_gold_is_right_and_claims_the_gold_graph(problem):
    checked = check_solution(problem, problem.solution)
    assert checked.all_right
    assert checked.answer == problem.answer
    gold = problem.nodes[problem.prompt_nodes :]
    for step, node in zip(checked.steps, gold, strict=True):
        assert step.text == node.text
        assert step.parents == step.needed == node.parents
        assert step.detail == ""
    assert_sound(problem, problem.solution, checked)


@settings(max_examples=400, deadline=None)
@given(problems, st.integers(0, 99))
def test_other_valid_orders_are_right(problem, seed):
    checked = check_solution(problem, reordered_solution(problem, seed))
    assert checked.all_right, [s for s in checked.steps if s.verdict != "right"]


@settings(max_examples=400, deadline=None)
@given(problems, st.text(max_size=200))
def test_any_text_gets_verdicts(problem, text):
    checked = check_solution(problem, text)
    assert_sound(problem, text, checked)
    assert not checked.all_right or checked.answer_right


WORDS = (
    "L1 L2 L3 L99 : = - + * > 3 17 -4 x a b if not True False Ana Bo has needs more fewer than "
    "twice as many together so . , and or when For check It is binding dated yes no The answer "
    "#### \\boxed{7} \n 3.5 1,200 ٣ ² 10000000000000000000000 é — × Infinity"
).split(" ")


@settings(max_examples=500, deadline=None)
@given(problems, st.data())
def test_mutated_solutions_get_verdicts(problem, data):
    pieces = re.split(r"(\W)", problem.solution)
    for _ in range(data.draw(st.integers(1, 4))):
        if not pieces:
            break
        at = data.draw(st.integers(0, len(pieces) - 1))
        other = data.draw(st.integers(0, len(pieces) - 1))
        change = data.draw(st.sampled_from(("cut", "swap", "drop", "word", "digits", "shuffle")))
        if change == "cut":
            del pieces[at:]
        elif change == "swap":
            pieces[at], pieces[other] = pieces[other], pieces[at]
        elif change == "drop":
            del pieces[at]
        elif change == "word":
            pieces[at] = data.draw(st.sampled_from(WORDS))
        elif change == "digits":
            pieces = [piece.translate(str.maketrans("123", "319")) for piece in pieces]
        else:
            lines = "".join(pieces).split("\n")
            data.draw(st.randoms(use_true_random=False)).shuffle(lines)
            pieces = ["\n".join(lines)]
    text = "".join(pieces)
    assert_sound(problem, text, check_solution(problem, text))


@settings(max_examples=300, deadline=None)
@given(problems, st.randoms(use_true_random=False))
def test_shuffled_lines_get_verdicts(problem, rng):
    lines = [node.text for node in problem.nodes[problem.prompt_nodes :]]
    rng.shuffle(lines)
    text = problem.separator.join(lines)
    assert_sound(problem, text, check_solution(problem, text))


@settings(max_examples=300, deadline=None)
@given(problems, st.data())
def test_truncated_solutions_are_right_as_far_as_they_go(problem, data):
    gold = problem.solution
    cut = data.draw(st.integers(0, len(gold) - 1))
    checked = check_solution(problem, gold[:cut])
    whole = [s for s in checked.steps if s.end < cut or gold[cut] == "\n"]
    assert all(step.verdict == "right" for step in whole[:-1])
    assert checked.truncated or cut > gold.rindex("The answer is")


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    "piece",
    ["1", "1 ", "a", " ", "\n", ".", "Ana ", "Ana has ", "A", "1+", "1 + ", "=", "= 1 ", "L1: ",
     "a = ", "- ", "--", "1,", "1,111", "answer is ", "####", "yes and ", "It is ", "when ",
     "more ", "1 more ", "Ana has 3 + 4 = 7. ", "L1: a = 3\n", "It is dated: yes. ", "é", "٣",
     "1 a + "],
)  # fmt: skip
def test_100_kilobytes_take_reasonable_time(family, piece):
    problem = generate_problem(family, 3, 6, 3)
    text = piece * (100_000 // len(piece.encode()))
    started = time.process_time()
    check_solution(problem, text)
    assert time.process_time() - started < 5


@pytest.mark.parametrize("family", FAMILIES)
def test_one_step_of_almost_the_longest_length_takes_no_time(family):
    problem = generate_problem(family, 3, 6, 3)
    rng = random.Random(0)
    started = time.process_time()
    for _ in range(60):
        few = rng.sample(["1", "Ana", " ", "+", "=", "-", ",", "has", "is", "a", "not", "L1:"], 3)
        check_solution(problem, "".join(rng.choice(few) for _ in range(990))[:990])
    assert time.process_time() - started < 3


def test_gold_repeated_a_thousand_times_is_irrelevant_after_the_answer():
    for family in FAMILIES:
        problem = generate_problem(family, 1, 4)
        text = problem.separator.join([problem.solution] * 1000)
        started = time.process_time()
        checked = check_solution(problem, text)
        assert time.process_time() - started < 10
        once = len(problem.nodes) - problem.prompt_nodes
        assert checked.first_wrong_step == once
        assert {s.verdict for s in checked.steps[once:]} == {"irrelevant step"}
        assert checked.answer_right
        assert not checked.all_right


def word_problem() -> Problem:
    """Ana has 3 more pens than Bo, who has 8; Kai has twice as many as Ana; Tom has 5."""
    premises = ("Ana has 3 more pens than Bo.", "Bo has 8 pens.",
                "Kai has twice as many pens as Ana.", "Tom has 5 pens.",
                "Zoe has as many pens as Kai and Ana together.")  # fmt: skip
    quantities = (
        Quantity("Kai", "Kai", "twice", None, ("Ana",), 22, 2, True),
        Quantity("Ana", "Ana", "more", 3, ("Bo",), 11, 0, True),
        Quantity("Bo", "Bo", "given", None, (), 8, 1, True),
        Quantity("Tom", "Tom", "given", None, (), 5, 3, False),
        Quantity("Zoe", "Zoe", "together", None, ("Kai", "Ana"), 33, 4, False),
    )
    nodes = tuple(GoldNode("premise", text) for text in premises)
    question = GoldNode("question", "How many pens does Kai have?")
    return Problem("arithmetic", "0", "test", 2, 2, 0, 2, (*nodes, question), quantities, "22", " ")


WORD_PROBLEM = word_problem()


@pytest.mark.parametrize(
    "text",
    [
        "So Ana has 8 + 3 = 11 pens. Kai has 2 * 11 = 22. #### 22",
        "Ana has 3 + 8 = 11 pens. Kai has 11 × 2 = 22 pens.\n\\boxed{22}",
        "Bo has 8 pens, so Ana has 8 + 3 = 11 pens. Then Kai has 11 + 11 = 22 pens. Answer: 22",
        "Bo has 8. Ana has 11. Kai has 22. The answer is 22.",
        "Ana's total is 8 pens + 3 pens = 11 pens. Kai has double Ana's, so 2*11=22. #### 22",
        "Ana has 3 more pens than Bo. Bo has 8 pens. Ana: 8 + 3 = 11. Kai = 11 x 2 = 22. "
        "The final answer is: **22**",
        "Ana has 8 + 3 = 11 pens.\n\nKai has 2 · 11 = 22 pens.\n\nThe answer is $22.00.",
    ],
)
def test_free_wording_of_a_right_solution_is_right(text):
    checked = check_solution(WORD_PROBLEM, text)
    wrong = [s for s in checked.steps if s.verdict != "right" and "3 more pens than" not in s.text]
    assert not wrong
    assert checked.answer == "22"
    assert checked.answer_right


@pytest.mark.parametrize(
    ("text", "verdict", "detail"),
    [
        ("Ana has 8 + 3 = 12 pens.", "arithmetic slip", "should be 11"),
        ("Ana has 8 - 3 = 5 pens.", "wrong operand", "worked out by '+'"),
        ("Ana has 8 + 4 = 12 pens.", "wrong operand", "says 3, the step puts in 4"),
        ("Ana has 5 + 3 = 8 pens.", "wrong operand", "Bo was said to be 8"),
        ("Ana has 7 + 3 = 10 pens.", "contradiction", "Bo was said to be 8"),
        ("Ana has 4 more than Bo, so 8 + 4 = 12.", "wrong operand", "says 3, the step 4"),
        ("Ana has 3 more than Tom, so 5 + 3 = 8.", "wrong operand", "depends on Bo"),
        ("Ana has 3 fewer than Bo, so 8 - 3 = 5.", "wrong operand", "'more', the step 'fewer'"),
        ("Ana has 8 + 3.5 = 11.5 pens.", "unreadable", ""),
        ("Ana has 1 + 2 + 8 = 11 pens.", "missing step", "Bo was not worked out"),
        ("Kai has 2 * 11 = 22 pens.", "missing step", "Ana was not worked out"),
        ("Ana needs Tom.", "wrong operand", "depends on Bo"),
        ("Kai needs Ana.", "right", ""),
        ("Zoe needs Kai and Ana.", "irrelevant step", "does not need"),
        ("Zoe needs Kai.", "wrong operand", "Kai and Ana"),
        ("Tom has 5 pens.", "irrelevant step", "does not need"),
        ("Bo has 9 pens.", "contradiction", "premise says 8"),
        ("Bo has 5 pens.", "wrong operand", "premise says 8"),
        ("Bo has 8 + 0 = 8.", "wrong operand", "given"),
        ("Ivy has 4 pens.", "irrelevant step", "knows no Ivy"),
        ("Let us think step by step.", "unreadable", ""),
        ("She has 8 + 3 = 11 pens.", "unreadable", ""),
        ("The answer is 22.", "missing step", "never worked out"),
        ("The answer is 22.5.", "unreadable", ""),
        ("Bo has 99999999999999999999999999999 pens.", "unreadable", ""),
    ],
)
def test_verdicts_by_hand(text, verdict, detail):
    step = check_solution(WORD_PROBLEM, text).steps[0]
    assert step.verdict == verdict
    assert detail in step.detail


def test_repeats_and_contradictions_of_own_lines():
    checked = check_solution(WORD_PROBLEM, "Ana has 8 + 3 = 11. Ana has 8 + 3 = 11. Bo has 8.")
    assert [s.verdict for s in checked.steps] == ["right", "irrelevant step", "right"]
    checked = check_solution(WORD_PROBLEM, "Ana has 8 + 3 = 12. Ana has 8 + 3 = 11.")
    assert [s.verdict for s in checked.steps] == ["arithmetic slip", "contradiction"]
    checked = check_solution(WORD_PROBLEM, "Ana has 8 + 3 = 12. Kai has 2 * 12 = 24. #### 24")
    assert [s.verdict for s in checked.steps] == ["arithmetic slip", "right", "right"]
    assert not checked.answer_right


def deduction_problem() -> Problem:
    """Binding when dated and not void; dated holds, void when paid, paid does not hold."""
    premises = ("A contract is binding when dated and filed.", "The contract is dated.",
                "A contract is filed when not paid.", "The contract is not paid.")  # fmt: skip
    quantities = (
        Quantity("binding", "binding", "and", None, ("dated", "filed"), True, 0, True),
        Quantity("dated", "dated", "given", None, (), True, 1, True),
        Quantity("filed", "filed", "not", None, ("paid",), True, 2, True),
        Quantity("paid", "paid", "given", None, (), False, 3, True),
    )
    nodes = tuple(GoldNode("premise", text) for text in premises)
    question = GoldNode("question", "Is the contract binding?")
    return Problem("deduction", "0", "test", 2, 0, 1, 2, (*nodes, question), quantities, "yes", " ")


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("The contract is dated.", "right"),
        ("The contract is not dated.", "contradiction"),
        ("It is paid: no.", "right"),
        ("It is paid: yes.", "contradiction"),
        ("It is filed when not paid: not no, so yes.", "right"),
        ("It is filed when not paid: not no, so no.", "arithmetic slip"),
        ("It is filed when not paid: not yes, so no.", "contradiction"),
        ("It is filed when paid: no, so no.", "wrong operand"),
        ("It is filed when not dated: not yes, so no.", "wrong operand"),
        ("It is binding when dated and filed: yes and yes, so yes.", "missing step"),
        ("For binding check dated and filed.", "right"),
        ("For binding check filed and dated.", "right"),
        ("For binding check dated and paid.", "wrong operand"),
        ("The contract is stamped.", "unreadable"),
        ("It is stamped: yes.", "irrelevant step"),
        ("Well, let me see.", "unreadable"),
        ("Answer: yes", "missing step"),
    ],
)
def test_deduction_verdicts_by_hand(text, verdict):
    assert check_solution(deduction_problem(), text).steps[0].verdict == verdict


def test_free_wording_of_a_deduction_is_right():
    text = ("The contract is dated. The contract is not paid. So the contract is filed because it "
            "is not paid. Therefore the contract is binding.\n**Answer:** Yes")  # fmt: skip
    checked = check_solution(deduction_problem(), text)
    assert [s.verdict for s in checked.steps] == ["right"] * 5
    assert checked.all_right


def program_problem() -> Problem:
    """A program with a branch whose two arms assign the same variable."""
    code = ("L1: a = 7", "L2: b = a + 3", "L3: t = b > 20", "L4: if t: c = b * 2",
            "L5: if not t: c = b - 1", "L6: a = c + a")  # fmt: skip
    quantities = (
        Quantity("L1", "a", "given", 7, (), 7, 0, True),
        Quantity("L2", "b", "plus", 3, ("L1",), 10, 1, True),
        Quantity("L3", "t", "test", 20, ("L2",), False, 2, True),
        Quantity("L4", "c", "twice", None, ("L2",), None, 3, False),
        Quantity("L5", "c", "minus", 1, ("L2",), 9, 4, True),
        Quantity("L6", "a", "add", None, ("L5", "L1"), 16, 5, True),
    )
    nodes = tuple(GoldNode("premise", text) for text in code)
    question = GoldNode("question", "What is a at the end?")
    return Problem("program", "0", "test", 4, 0, 1, 4, (*nodes, question), quantities, "16", "\n")


def test_free_form_traces_are_right():
    short = (
        "a = 7\nL2: b = 10\nt = b > 20 = False\nL5: c = 10 - 1 = 9\nL6: a = 9 + 7 = 16.\n#### 16"
    )
    checked = check_solution(program_problem(), short)
    assert [(s.verdict, s.detail) for s in checked.steps[:2]] == [("right", "")] * 2
    assert checked.steps[-1].verdict == "right"
    assert checked.answer_right


@pytest.mark.parametrize(
    ("line", "verdict"),
    [
        ("L3: t = b > 20 = 10 > 20 = False", "right"),
        ("L3: t = b > 20 = 10 > 20 = True", "arithmetic slip"),
        ("L3: t = b > 20 = 10 > 20 = 0", "arithmetic slip"),
        ("L3: t = a > 20 = 7 > 20 = False", "wrong operand"),
        ("L3: t = b > 20 = 7 > 20 = False", "wrong operand"),
        ("L3: t = b > 20 = 12 > 20 = False", "contradiction"),
        ("L3: t = b > 21 = 10 > 21 = False", "wrong operand"),
        ("L3: t = b < 20 = 10 < 20 = True", "unreadable"),
        ("L4: if t: c = b * 2 = 10 * 2 = 20", "missing step"),
        ("L2: b = a + 3 = 7 + 3 = 10", "irrelevant step"),
        ("L9: z = 4", "irrelevant step"),
        ("c = 4", "unreadable"),
        ("L3: t = b > 20", "unreadable"),
        ("t is False", "unreadable"),
        ("L3: t = b > 20: b = 10, 10 > 20 = False", "unreadable"),
        ("L4: if t, t is False: skipped", "missing step"),
        ("L4: if t: skipped", "missing step"),
        ("L4: if b: skipped", "wrong operand"),
        ("L4: if not t: skipped", "wrong operand"),
        ("L2: if t: skipped", "wrong operand"),
        ("L9: if t: skipped", "irrelevant step"),
        ("if b: skipped", "unreadable"),
        ("The answer is 16.", "missing step"),
        ("The answer is a = 7.", "missing step"),
    ],
)
def test_program_verdicts_by_hand(line, verdict):
    start = "L1: a = 7\nL2: b = a + 3 = 7 + 3 = 10\n"
    checked = check_solution(program_problem(), start + line)
    assert [s.verdict for s in checked.steps] == ["right", "right", verdict]


@pytest.mark.parametrize(
    ("answer", "verdict", "ignored", "used"),
    [
        ("The answer is a = 16.", "right", None, None),
        ("The answer is a: a is 16.", "right", None, None),
        ("The answer is c: c is 9.", "wrong operand", 11, 10),
        ("The answer is a = 9.", "wrong operand", 11, 10),
        ("The answer is a = 17.", "contradiction", 11, None),
        ("The answer is c = 9.", "wrong operand", 11, 10),
        ("The answer is c = 16.", "wrong operand", 11, 10),
        ("The answer is z = 16.", "wrong operand", 11, None),
    ],
)
def test_the_answer_names_the_asked_variable(answer, verdict, ignored, used):
    lines = ("L1: a = 7", "L2: b = a + 3 = 7 + 3 = 10", "L3: t = b > 20 = 10 > 20 = False",
             "L5: if not t: c = b - 1 = 10 - 1 = 9", "L6: a = c + a = 9 + 7 = 16")  # fmt: skip
    checked = check_solution(program_problem(), "\n".join((*lines, answer)))
    assert [s.verdict for s in checked.steps] == ["right"] * 5 + [verdict]
    step = checked.steps[-1]
    assert (step.ignored, step.used) == (ignored, used)
    assert checked.answer == answer.split()[-1].rstrip(".")
    if verdict != "right":
        assert step.needed == (6, 11)


def test_the_branch_is_taken_as_traced():
    start = "L1: a = 7\nL2: b = a + 3 = 7 + 3 = 10\nL3: t = b > 20 = 10 > 20 = "
    taken, untaken = "\nL4: if t: c = b * 2 = 10 * 2 = 20", "\nL5: if not t: c = b - 1 = 10 - 1 = 9"
    assert check_solution(program_problem(), start + "False" + taken).steps[3].verdict == (
        "irrelevant step"
    )
    wrong = check_solution(program_problem(), start + "True" + taken)
    assert [s.verdict for s in wrong.steps[2:]] == ["arithmetic slip", "right"]
    assert check_solution(program_problem(), start + "True" + untaken).steps[3].verdict == (
        "irrelevant step"
    )
    for value, line, verdict in (
        ("False", "L4: if t: skipped", "right"),
        ("False", "if t: skipped", "right"),
        ("False", "L5: if not t: skipped", "contradiction"),
        ("True", "L4: if t: skipped", "contradiction"),
        ("True", "L5: if not t: skipped", "right"),
        ("False", "L4: if t, t is False: skipped", "right"),
        ("False", "L5: if not t, t is False: skipped", "contradiction"),
        ("False", "L5: if not t, t = True: skipped", "contradiction"),
        ("False", "L5: if not t, t is True: c = b - 1 = 10 - 1 = 9", "contradiction"),
    ):
        skipped = check_solution(program_problem(), f"{start}{value}\n{line}").steps[3]
        assert skipped.verdict == verdict, (value, line)
        premise = 4 if "not" in line else 3
        assert {premise, 9} <= set(skipped.needed), "its line and the test as traced"
        assert skipped.ignored == (9 if verdict == "contradiction" else None)
    twice = check_solution(program_problem(), f"{start}False\nL4: if t: skipped\nL4: if t: skipped")
    assert [s.verdict for s in twice.steps[3:]] == ["right", "irrelevant step"]
    other = check_solution(program_problem(), f"{start}False\nL5: if not t, b = False: skipped")
    assert other.steps[3].verdict == "wrong operand"
    assert other.steps[3].used == 8, "b was traced in the second step"
    strange = check_solution(program_problem(), start + "7\nL6: a = c + a = 9 + 7 = 16\n#### 16")
    assert [s.verdict for s in strange.steps[2:]] == ["arithmetic slip", "missing step", "right"]


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("#### 1,016", "1016"),
        ("The answer is -5.", "-5"),
        ("Final answer: 7", "7"),
        ("ANSWER = 7", "7"),
        ("So the answer is $12.00.", "12"),
        ("\\boxed{7}", "7"),
        ("The answer is \\boxed{ 7 }", "7"),
        ("The answer is unknown.", None),
        ("The answer is yes.", None),
        ("", None),
    ],
)
def test_answers_are_read_in_the_usual_forms(text, answer):
    assert check_solution(WORD_PROBLEM, text).answer == answer
