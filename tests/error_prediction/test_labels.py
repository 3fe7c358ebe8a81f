"""Labels: planted errors are named, form is its own class, and foreign columns are not guessed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rg_helpers.error_prediction.labels import (
    TraceLabels,
    label_trace,
    labels_from_extra,
    saved_labels,
)
from rg_helpers.problems import ERROR_KINDS, FAMILIES, generate_problems, plant_error
from rg_helpers.tokenizer import build_tokenizer
from rg_helpers.traces import Node, Trace, gold_trace, trace_from_text

TOKENIZER = build_tokenizer()


def written(problem, solution, **options):
    return trace_from_text(
        TOKENIZER,
        problem.prompt,
        solution,
        family=problem.family,
        separator=problem.separator,
        problem_id=problem.problem_id,
        **options,
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_gold_solutions_are_right(family):
    for problem in generate_problems(family, 10, seed=1):
        labels = label_trace(problem, gold_trace(problem, TOKENIZER))
        assert labels == TraceLabels("read", wrong_answer=False, flawed=False)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", ERROR_KINDS)
def test_planted_errors_are_found_where_they_were_planted(family, kind):
    found = 0
    for problem in generate_problems(family, 15, seed=2, operations=(3, 6)):
        planted = plant_error(problem, kind)
        if planted is None:
            continue
        labels = label_trace(problem, written(problem, planted.text))
        found += 1
        if kind == "unreadable":
            assert labels.status in (
                "unreadable",
                "truncated",
            )  # a garbled answer line is no answer
            assert labels.flawed is labels.wrong_answer is labels.first_wrong_step is None
            continue
        assert labels.status == "read"
        assert (labels.flawed, labels.first_wrong_step) == (True, planted.step)
        assert labels.error_type == kind
    assert found >= 3


def test_a_right_answer_can_be_flawed():
    seen = set()
    for problem in generate_problems("arithmetic", 20, seed=3):
        planted = plant_error(problem, "irrelevant step")
        if planted is not None:
            labels = label_trace(problem, written(problem, planted.text))
            seen.add((labels.wrong_answer, labels.flawed))
    assert (False, True) in seen


@pytest.mark.parametrize("family", FAMILIES)
def test_what_breaks_off_is_truncated(family):
    (problem,) = generate_problems(family, 1, seed=4)
    lines = [node.text for node in problem.nodes[problem.prompt_nodes :]]
    without_answer = problem.separator.join(lines[:-1])
    for trace in (
        written(problem, without_answer, finished=False),
        written(problem, without_answer),  # it ended by itself, but without an answer
        written(problem, problem.solution, finished=False),
        written(problem, "", finished=False, allow_no_steps=True),
    ):
        assert label_trace(problem, trace) == TraceLabels("truncated")


def test_a_line_nobody_can_read_is_a_class_of_its_own():
    (problem,) = generate_problems("arithmetic", 1, seed=4)
    trace = written(problem, "The pens more than so. " + problem.solution)
    assert label_trace(problem, trace) == TraceLabels("unreadable")


def test_the_wrong_problem_is_refused():
    first, second = generate_problems("program", 2, seed=5)
    with pytest.raises(ValueError, match="its own problem"):
        label_trace(first, gold_trace(second, TOKENIZER))


def test_the_first_wrong_step_counts_the_steps_of_the_trace():
    """Where a tokenizer joined two lines into one node, the joined node is the wrong step."""
    (problem,) = generate_problems("arithmetic", 1, seed=6, operations=(4, 4))
    planted = plant_error(problem, "arithmetic slip")
    trace = written(problem, planted.text)
    assert planted.step >= 2
    first, second = trace.steps[:2]
    end = trace.solution.index(second.text) + len(second.text)
    joined = Node("step", trace.solution[:end], first.start, second.end)
    place = trace.nodes.index(first)
    nodes = (*trace.nodes[:place], joined, *trace.nodes[place + 2 :])
    labels = label_trace(problem, replace(trace, nodes=nodes))
    assert labels.first_wrong_step == planted.step - 1


def test_equal_lines_are_told_apart_by_their_place():
    (problem,) = generate_problems("arithmetic", 1, seed=6)
    lines = [node.text for node in problem.nodes[problem.prompt_nodes :]]
    twice = " ".join([lines[0], lines[0], *lines[1:]])  # the second plan line is one too many
    labels = label_trace(problem, written(problem, twice))
    assert (labels.first_wrong_step, labels.error_type) == (1, "irrelevant step")
    assert labels.wrong_answer is False


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"status": "odd"}, "expected one of read"),
        ({"status": "truncated", "wrong_answer": True}, "no labels"),
        ({"status": "read", "wrong_answer": 1}, "true, false or null"),
        ({"status": "read", "wrong_answer": True, "flawed": False}, "makes a solution flawed"),
        ({"status": "read", "flawed": False, "first_wrong_step": 0}, "makes a solution flawed"),
        ({"status": "read", "first_wrong_step": 2}, "set flawed"),
        ({"status": "read", "flawed": True, "first_wrong_step": -1}, "from 0"),
        ({"status": "read", "flawed": True, "first_wrong_step": True}, "from 0"),
        ({"status": "read", "flawed": True, "error_type": "right"}, "error_type"),
    ],
)
def test_impossible_labels_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        TraceLabels(**fields)


def test_targets_are_named():
    labels = TraceLabels("read", wrong_answer=False, flawed=True)
    assert (labels.target("wrong_answer"), labels.target("flawed")) == (False, True)
    with pytest.raises(ValueError, match="expected one of wrong_answer, flawed"):
        labels.target("wrong")


def own(**extra) -> Trace:
    solution = "Two and two is 4. So it is 4. The answer is 4."
    return trace_from_text(TOKENIZER, "What is two and two?", solution, extra=extra)


@pytest.mark.parametrize(
    ("extra", "wrong", "flawed", "first"),
    [
        ({}, None, None, None),
        ({"note": 3, "labels": [1, 1, -1]}, None, None, None),
        ({"correct": True}, False, None, None),
        ({"is_correct": False}, True, None, None),
        ({"wrong_answer": 1}, True, None, None),
        ({"answer_right": 1, "correct": True}, False, None, None),
        ({"label": "Wrong"}, True, None, None),
        ({"label": "right", "all_right": False}, False, True, None),
        ({"first_wrong_step": 2}, None, True, 2),
        ({"first_wrong_step": None, "flawed": False}, None, False, None),
        # ProcessBench
        ({"final_answer_correct": True, "label": 1}, False, True, 1),
        ({"final_answer_correct": True, "label": -1}, False, False, None),
    ],
)
def test_ones_own_columns(extra, wrong, flawed, first):
    assert saved_labels(own(**extra)) is None
    assert labels_from_extra(own(**extra)) == TraceLabels("read", wrong, flawed, first)


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"label": 1}, "may mean right or wrong"),
        ({"label": True}, "may mean right or wrong"),
        ({"label": "dunno"}, "may mean right or wrong"),
        ({"correct": "yes"}, "expected true, false, 1 or 0"),
        ({"correct": True, "wrong_answer": True}, "contradict"),
        ({"first_wrong_step": 3}, "has 3 steps"),
        ({"flawed": False, "first_wrong_step": 1}, "contradict"),
    ],
)
def test_columns_that_could_mean_anything_are_refused(extra, message):
    with pytest.raises(ValueError, match=message):
        labels_from_extra(own(**extra))


def test_unfinished_solutions_of_ones_own_have_no_labels():
    trace = replace(own(correct=True), finished=False)
    assert labels_from_extra(trace) == TraceLabels("truncated")
    assert labels_from_extra(own(status="unreadable", correct=True)) == TraceLabels("unreadable")
    assert labels_from_extra(own(status="ok", correct=True)).wrong_answer is False


def test_saved_labels_that_are_damaged_are_refused():
    with pytest.raises(ValueError, match="column labels cannot be read"):
        saved_labels(own(labels={"state": "read"}))
