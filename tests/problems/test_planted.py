"""Planted errors: each is found at its step and named, and nothing else is wrong."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rg_helpers.problems import (
    ERROR_KINDS,
    FAMILIES,
    VERDICTS,
    Problem,
    check_solution,
    generate_problem,
    plant_error,
)

problems = st.builds(
    generate_problem,
    st.sampled_from(FAMILIES),
    st.integers(0, 10**9),
    operations=st.integers(1, 8),
    distractors=st.integers(0, 4),
)
kinds = st.sampled_from(ERROR_KINDS)
GAPS = ("missing step", "unreadable")  # later lines fall into the hole as well


def gold_lines(problem: Problem) -> list[str]:
    return [node.text for node in problem.nodes[problem.prompt_nodes :]]


@settings(max_examples=2000, deadline=None)
@given(problems, kinds, st.integers(0, 99))
def test_every_planted_error_is_found_at_its_step_and_named(problem, kind, seed):
    planted = plant_error(problem, kind, seed)
    assume(planted is not None)
    checked = check_solution(problem, planted.text)
    assert checked.first_wrong_step == planted.step
    step = checked.steps[planted.step]
    assert step.verdict == planted.kind == kind
    assert step.detail, "the verdict is explained"
    assert not checked.all_right
    if kind in ("wrong operand", "contradiction"):
        assert (step.ignored, step.used) == (planted.ignored, planted.used)
        assert planted.ignored in step.needed
        assert planted.used is None or planted.used in step.parents
    if kind not in GAPS and planted.way not in ("plan", "skipped"):
        wrong = [i for i, s in enumerate(checked.steps) if s.verdict != "right"]
        assert wrong == [planted.step], "what follows from the error is sound"
    assert all(p < problem.prompt_nodes + planted.step for p in (*step.parents, *step.needed))


@settings(max_examples=600, deadline=None)
@given(problems, kinds, st.integers(0, 99))
def test_lines_before_the_error_are_gold(problem, kind, seed):
    planted = plant_error(problem, kind, seed)
    assume(planted is not None)
    lines, gold = planted.text.split("\n"), gold_lines(problem)
    if problem.separator == " ":
        lines = re.split(r"(?<=\.) ", planted.text)
    if kind == "missing step":
        assert len(lines) == len(gold) - 1
        dropped = next(i for i, (a, b) in enumerate(zip([*lines, ""], gold)) if a != b)
        assert lines == gold[:dropped] + gold[dropped + 1 :]
        reader = problem.nodes[problem.prompt_nodes + planted.step + 1]
        assert problem.prompt_nodes + dropped in reader.parents, "it shows where it is missed"
    elif kind == "irrelevant step":
        there = problem.family == "program"  # a skipped line is run, not one written in between
        rest = gold[: planted.step] + gold[planted.step + 1 :] if there else gold
        assert lines[: planted.step] + lines[planted.step + 1 :] == rest
        assert irrelevant(problem, lines[planted.step])
    else:
        assert lines[: planted.step] == gold[: planted.step]
        assert lines[planted.step] != gold[planted.step]


def irrelevant(problem: Problem, line: str) -> bool:
    """Tell from the texts that a line is about a distractor or an untaken branch."""
    gold = problem.solution
    if problem.family == "program":
        label = line.split(":")[0]
        return re.search(rf"^{label}: if.*: skipped$", gold, re.MULTILINE) is not None
    subject = re.match(r"(?:It is )?(\w+)", line)[1]
    return not re.search(rf"\b{subject} (has|needs|when)\b|It is {subject}:", gold)


@settings(max_examples=600, deadline=None)
@given(
    problems,
    st.sampled_from(["arithmetic slip", "wrong operand", "contradiction"]),
    st.integers(0, 99),
)
def test_written_equations_are_true_except_in_slips(problem, kind, seed):
    planted = plant_error(problem, kind, seed)
    assume(planted is not None)
    false = []
    steps = [s.text for s in check_solution(problem, planted.text).steps]
    for i, text in enumerate(steps):
        for left, result in re.findall(r"(\d+ [-+*>] \d+) = (\w+)", text):
            false += [i] * (str(eval(left)) != result)
        clause = re.search(r": ([\w ]+), so (yes|no)\.", text)
        if clause:
            holds = eval(clause[1], {}, {"yes": True, "no": False})
            false += [i] * (holds != (clause[2] == "yes"))
    assert false == ([planted.step] if kind == "arithmetic slip" else [])


@settings(max_examples=200, deadline=None)
@given(problems, kinds, st.integers(0, 99))
def test_same_seed_same_error(problem, kind, seed):
    assert plant_error(problem, kind, seed) == plant_error(problem, kind, seed)


def test_every_way_occurs_and_seeds_differ():
    ways: dict[tuple[str, str], Counter] = {}
    for family in FAMILIES:
        drawn = [generate_problem(family, s, 5, 3) for s in range(60)]
        for kind in ERROR_KINDS:
            planted = [plant_error(p, kind, s) for s, p in enumerate(drawn)]
            ways[family, kind] = Counter(p.way for p in planted if p)
    assert ways["arithmetic", "wrong operand"].keys() == {"name", "plan", "number", "value"}
    assert ways["deduction", "wrong operand"].keys() == {"name", "plan", "clause"}
    assert ways["program", "wrong operand"].keys() == {"name", "number", "value"}
    assert ways["arithmetic", "contradiction"].keys() == {"fact", "value", "answer"}
    assert ways["deduction", "contradiction"].keys() == {"fact", "value", "answer"}
    assert ways["program", "contradiction"].keys() == {"value", "skipped", "answer"}
    assert all(ways.values()), "every kind has a place in some problem"
    for (family, kind), found in ways.items():
        if kind != "irrelevant step":
            assert found.total() == 60, (family, kind)
    problem = generate_problem("arithmetic", 1, 5)
    assert len({plant_error(problem, "wrong operand", s).text for s in range(20)}) > 5


def test_no_place_no_error():
    for family in ("arithmetic", "deduction"):
        assert plant_error(generate_problem(family, 1, 3, 0), "irrelevant step") is None
    straight = generate_problem("program", 1, 2, 2)
    assert "if" not in straight.prompt
    assert plant_error(straight, "irrelevant step") is None


@pytest.mark.parametrize("kind", ["right", "typo"])
def test_unknown_kinds_are_refused(kind):
    with pytest.raises(ValueError, match=rf"'{kind}'.*arithmetic slip, wrong operand"):
        plant_error(generate_problem("program", 1), kind)


def test_kinds_are_all_verdicts_but_right():
    assert {"right", *ERROR_KINDS} == set(VERDICTS)


def test_a_true_flag_does_not_hold_the_number_one():
    problem = generate_problem("program", 1002233, 4, 5)
    found = [plant_error(problem, "wrong operand", seed) for seed in range(200)]
    for planted in found:
        step = check_solution(problem, planted.text).steps[planted.step]
        assert (step.ignored, step.used) == (planted.ignored, planted.used)
