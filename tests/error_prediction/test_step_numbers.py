"""Numbers of single steps, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from rg_helpers.error_prediction.step_numbers import (
    CONFIDENCE_NUMBERS,
    ROW_NUMBERS,
    TEXT_NUMBERS,
    confidence_numbers,
    over_steps,
    overlap,
    row_numbers,
    text_numbers,
    written,
    wrong_sums,
)
from rg_helpers.graphs.step_graph import StepGraph, normalise_rows
from rg_helpers.token_scores import TokenScores
from rg_helpers.traces import Node, Trace

KINDS = ("premise", "question", "step", "answer")


def trace_of(premises, question, steps, answer="The answer is 5."):
    texts = [*premises, question, *steps, answer]
    kinds = ["premise"] * len(premises) + ["question"] + ["step"] * len(steps) + ["answer"]
    nodes = tuple(Node(kind, text, i, i + 1) for i, (kind, text) in enumerate(zip(kinds, texts)))
    ids = tuple(range(len(texts)))
    return Trace("t", "p", "arithmetic", "", "", ids, len(premises) + 1, nodes)


def test_rows_by_hand():
    raw = np.array([[5, 0, 0, 0], [2, 0, 0, 0], [1, 3, 9, 0], [0, 2, 6, 1]], float)
    found = dict(zip(ROW_NUMBERS, row_numbers(raw, KINDS).T, strict=True))
    assert found["strongest"].tolist() == [0, 1, 0.75, 0.75]
    expected = -(0.25 * np.log(0.25) + 0.75 * np.log(0.75))
    assert found["entropy"] == pytest.approx([0, 0, expected, expected], abs=1e-6)
    assert found["premises"].tolist() == [0, 1, 0.25, 0]
    assert found["question"].tolist() == [0, 0, 0.75, 0.25]
    assert found["previous"].tolist() == [0, 1, 0.75, 0.75]
    assert found["kept"].tolist() == [0, 2, 4, 8]
    stacked = row_numbers(np.stack([raw, raw / 2])[:, None], KINDS)
    assert stacked.shape == (2, 1, 4, 6)
    assert (stacked[1, 0, :, :5] == stacked[0, 0, :, :5]).all()


def test_confidence_is_read_from_each_steps_own_tokens():
    nodes = (Node("question", "q", 1, 3), Node("step", "a", 3, 5), Node("answer", "b", 6, 7))
    trace = Trace("t", "p", "f", "", "", tuple(range(8)), 3, nodes)
    logs = np.array([-1, -3, -9, -5, -7], np.float32)  # tokens 3, 4, a separator, 6, EOS
    scores = TokenScores(np.zeros(5), logs, np.array([0.1, 0.5, 9, 0.2, 9]), np.zeros(5))
    found = confidence_numbers(trace, scores)
    assert found.shape == (2, len(CONFIDENCE_NUMBERS))
    assert found[0] == pytest.approx([-2, -3, -1, 0.3, 0.5, 2])
    assert found[1] == pytest.approx([-5, -5, -5, 0.2, 0.2, 1])


def test_text_numbers_see_what_the_words_give_away():
    premises = ["Ana has 7 pens.", "Ben has 4 more pens than Ana.", "Cem has 9 pens."]
    steps = [
        "Ben needs Ana.",  # one premise says all of it
        "Ben needs Cem.",  # no premise names both
        "Ana has 7.",
        "Ben has 4 more than Ana, so 7 + 4 = 12.",  # 11
        "Ben has 4 more than Ana, so 8 + 4 = 12.",  # 8 stands nowhere
        "Ana has 7.",  # said before
    ]
    trace = trace_of(premises, "How many pens does Ben have?", steps)
    found = dict(zip(TEXT_NUMBERS, text_numbers(trace).T, strict=True))
    assert found["place"].tolist() == list(range(7))
    assert found["wrong_sums"].tolist() == [0, 0, 0, 1, 0, 0, 0]
    assert found["new_numbers"].tolist() == [0, 0, 0, 0, 1, 0, 1]
    assert found["repeated"].tolist() == [0, 0, 0, 0, 0, 1, 0]
    assert found["premise_cover"][0] > found["premise_cover"][1]
    assert found["new_words"][0] == 1  # "needs"
    assert found["unwritten_values"][3] == 1, "7 was written one line before, 4 was not"
    assert found["unwritten_values"][2] == 1
    assert found["unwritten_words"][1] == 1  # Cem


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("so 17 - 1 = 16", 0),
        ("17 - 1 = 15, and 2 * 3 = 6", 1),
        ("p = 13, 13 > 14 = False, j = False", 0),
        ("13 > 14 = True", 1),
        ("7 / 2 = 3.5", 0),
        ("7 / 0 = 3", 1),
        ("y = 8", 0),
        ("-3 + 5 = 2", 0),
    ],
)
def test_sums_are_worked_out_again(text, wrong):
    assert wrong_sums(text) == wrong


def test_sums_over_steps():
    tables = [np.array([[1.0, 5.0], [3.0, 1.0]]), np.array([[2.0, 2.0]])]
    values, names = over_steps(tables, ["a", "b"])
    assert names == [f"{h} {n}" for h in ("mean", "least", "most", "last") for n in "ab"]
    assert values.tolist() == [[2, 3, 1, 1, 3, 5, 3, 1], [2] * 8]
    with pytest.raises(ValueError, match="without written steps"):
        over_steps([np.zeros((0, 2))], ["a", "b"])


def test_overlap_and_written_rows():
    a = StepGraph(normalise_rows(np.tril(np.ones((4, 4)), -1)), KINDS, tuple("abcd"), "a")
    b = StepGraph(np.eye(4, k=-1), KINDS, tuple("abcd"), "b")
    assert overlap(a, a) == pytest.approx([0, 1, 1, 1])
    assert overlap(a, b) == pytest.approx([0, 1, 1 / 2, 1 / 3])
    assert written(np.arange(4), KINDS).tolist() == [2, 3]
