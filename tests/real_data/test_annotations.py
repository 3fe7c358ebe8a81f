"""Annotations: worked by hand, against Python's own arithmetic, and against the drawn graph."""

from __future__ import annotations

import random

import numpy as np
import pytest
from gsm8k_lines import train_row

from rg_helpers.datasets.annotations import (
    calculate,
    graph_grade,
    measure_annotations,
    plain_solution,
    read_annotated_lines,
    solution_graph,
)
from rg_helpers.datasets.number_sources import TextNumbers
from rg_helpers.datasets.reader import reference_trace
from rg_helpers.datasets.word_problems import problem_of
from rg_helpers.graphs.annotated import annotated_graph
from rg_helpers.tokenizer import build_tokenizer
from rg_helpers.traces import trace_from_text

QUESTION = "Ana has twelve pens and 50% more eggs. Half of the eggs break. How many are left?"
LINES = (
    "A week is of no matter here, nor are 77 others.",
    "She has 12*0.5 = <<12*0.5=6>>6 eggs more.",
    "So there are 12+6 = <<12+6=18>>18 eggs, of which 18/2 = <<18/2=9>>9 break.",
    "In 60 minutes, 9*77/77 = <<9*77/77=9>>9 and 9-41 = <<9-41=-32>>-32.",
    "Nine are left: 18-9 = <<18-9=9>>9",
    "#### 9",
)


def test_every_operand_is_traced_to_its_source():
    first, second, third, fourth = read_annotated_lines(LINES, QUESTION)
    assert [line.number for line in (first, second, third, fourth)] == [1, 2, 3, 4]
    assert [one.source for one in first.operands] == ["question", "derived"]
    assert [one.source for one in second.operands] == [
        "question", "line", "same line", "derived",
    ]  # fmt: skip
    sources = [(one.value, one.source) for one in third.operands]
    assert sources == [
        (9, "line"), (77, "stated"), (77, "stated"), (9, "same line"), (41, "none"),
    ]  # fmt: skip
    assert [line.edges for line in (first, second, third, fourth)] == [(), (1,), (2,), (2, 3)]
    assert fourth.operands[1].ambiguous, "two lines came to 9"
    assert not fourth.operands[0].ambiguous
    assert [line.consistent for line in (first, second, third, fourth)] == [True, True, False, True]
    assert third.faults == ("41 has no source",)
    assert graph_grade([first, second]) == "gold"
    assert graph_grade([first, second, fourth]) == "silver"
    assert graph_grade([first, third]) == "silver"
    assert graph_grade([]) is None


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("2+2 = <<2+2=5>>5", "2+2 is 4, not 5"),
        ("2+2 = <<2+2>>4", "cannot be read"),
        ("2+2 = <<2+2=4", "cannot be read"),
        ("<<2+x=4>>4", "cannot be read"),
        ("<<2/0=0>>0", "cannot be read"),
    ],
)
def test_faults_are_named(line, fault):
    (found,) = read_annotated_lines([line], "She has 2 and 4.")
    assert not found.consistent
    assert fault in "; ".join(found.faults)


def test_a_result_may_be_rounded_or_cut_off_at_its_last_digit():
    for expression, holds in (("2/3=0.66", True), ("2/3=0.67", True), ("2/3=0.69", False)):
        (found,) = read_annotated_lines([f"<<{expression}>>"], "2 of 3")
        assert found.holds is holds


def test_the_arithmetic_is_pythons_own():
    rng = random.Random(0)
    for _ in range(200):
        numbers = [rng.choice((str(rng.randint(1, 99)), f"{rng.random():.2f}")) for _ in range(4)]
        a, b, c, d = numbers
        o, p, q = (rng.choice("+-*/") for _ in range(3))
        text = rng.choice((f"{a}{o}{b}{p}{c}", f"({a}{o}{b}){p}-{c}", f"{a}{o}({b}{p}{c}){q}{d}"))
        try:
            expected = eval(text)
        except ZeroDivisionError:
            expected = None
        assert calculate(text) == (None if expected is None else pytest.approx(expected))
    assert calculate("1,200*.5") == 600
    assert calculate("007+1") == 8
    assert calculate("2**9**9**9") is None
    assert calculate("__import__('os')") is None
    assert calculate("") is None


def test_edges_are_those_of_the_drawn_graph():
    problem = problem_of({"question": QUESTION, "answer": "\n".join(LINES)})
    tokenizer = build_tokenizer()
    with_annotations = trace_from_text(
        tokenizer, QUESTION, "\n".join(LINES), solution_nodes=[("step", line) for line in LINES]
    )
    drawn = annotated_graph(with_annotations).weights
    trace = reference_trace(tokenizer, problem)
    assert "<<" not in trace.solution
    graph = solution_graph(trace, problem)
    np.testing.assert_array_equal(graph.weights, drawn)
    given = len(trace.nodes) - len(trace.steps)
    for line in read_annotated_lines(LINES, QUESTION):
        edges = np.flatnonzero(drawn[given + line.number]) - given
        assert tuple(edges) == line.edges
    assert solution_graph(with_annotations, problem_of(train_row(0))) is None


def test_numbers_of_a_text_in_digits_words_and_by_implication():
    numbers = TextNumbers(
        "Twenty-five of 1,200 cards; a third is 25% off, 3/4 cost two dozen cents"
    )
    assert {25, 1200, 12, 2, 24} - {24} <= numbers.written
    assert 24 not in numbers.written
    assert {0.25, 0.75, 1.25, 75, 125} <= numbers.derived
    assert {3, 0.12} <= numbers.derived
    assert 6 not in numbers.written | numbers.derived
    assert {200, 3000} <= TextNumbers("two hundred, three thousand").written


def test_shares_are_counted_and_chance_is_lower():
    rows = [train_row(seed) for seed in range(30)]
    rows[7]["answer"] = rows[7]["answer"].replace("<<", "<<9999*", 1)
    problems = [problem_of(row, number) for number, row in enumerate(rows)]
    found = measure_annotations(problems)
    assert found["lines_parsed"] == {**found["lines_parsed"], "value": 1, "n": 60}
    assert found["lines_consistent"]["value"] == pytest.approx(59 / 60)
    assert found["sources"]["line"] == 30
    assert found["sources"]["none"] == 1
    assert found["graphs"] == {"gold": 29, "silver": 1}
    assert [(one["row"], one["line"]) for one in found["failures"]] == [(7, 0)]
    assert not any("box" in reason for one in found["failures"] for reason in one["reasons"])
    chance = found["by_chance"]["operands_resolved"]["value"]
    assert chance < 0.6 < found["operands_resolved"]["value"]
    with pytest.raises(ValueError, match="none of 1 solutions"):
        measure_annotations([problem_of({"question": "What?", "answer": "#### 1"})])


def test_plain_solutions_have_one_answer_line_and_no_annotation():
    plain = plain_solution(train_row(0)["answer"])
    assert "<<" not in plain
    assert plain.splitlines()[-1] == "A: " + train_row(0)["answer"].split("#### ")[1]
