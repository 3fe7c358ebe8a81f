"""Error types are told apart where features do, and sentences say what the graphs say."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from rg_helpers.error_prediction.error_type import (
    checker_sentence,
    classify_errors,
    evidence_sentence,
    strongest_source,
)
from rg_helpers.graphs.step_graph import StepGraph


def graph(weights, method):
    texts = ("Ned has 4 pens.", "Gus has 3 pens.", "How many?", "Ida has 3.", "The answer is 3.")
    kinds = ("premise", "premise", "question", "step", "answer")
    return StepGraph(np.array(weights, float), kinds, texts, method, "", "t")


ATTENTION = graph([[0] * 5, [1, 0, 0, 0, 0], [0] * 5, [0.1, 0.7, 0.2, 0, 0], [0, 0, 0, 1, 0]],
                  "attention")  # fmt: skip
WORDS = graph([[0] * 5, [0] * 5, [0] * 5, [1, 0, 0, 0, 0], [0, 0, 0, 1, 0]], "text")


def test_sentences_name_what_is_seen_and_what_is_asked_for():
    said = evidence_sentence(ATTENTION, WORDS, 0)
    assert said.startswith("step 1 ('Ida has 3.') attends to premise 2 ('Gus has 3 pens.')")
    assert said.endswith("its words point to premise 1 ('Ned has 4 pens.'): attends to Gus, "
                         "needs Ned")  # fmt: skip
    assert evidence_sentence(ATTENTION, WORDS, 1).endswith("and its words point there too")
    bare = graph(np.zeros((5, 5)), "text")
    assert "point to nothing" in evidence_sentence(ATTENTION, bare, 0)
    assert "has no source" in evidence_sentence(bare, WORDS, 0)
    assert strongest_source(bare, 3) is None
    with pytest.raises(ValueError, match="2 written steps"):
        evidence_sentence(ATTENTION, WORDS, 2)
    assert checker_sentence("wrong operand", "Ned has 4.", None).startswith("checker: ")


def test_types_are_told_apart_by_what_differs():
    generator = np.random.default_rng(0)
    types = np.repeat(["slip", "operand", "missing", "rare"], [60, 60, 60, 4])
    ids = [f"p{i // 2}" for i in range(len(types))]
    rows = generator.normal(size=(len(types), 3))
    rows[types == "slip", 0] += 3
    rows[types == "operand", 1] += 3
    found = classify_errors(rows, types, ids, LogisticRegression(), draws=200)
    assert found["balanced_accuracy"]["low"] > 0.7
    assert found["chance"] == pytest.approx(1 / 3)
    assert found["left_out"] == {"rare": 2}
    assert sum(found["confusion"]["slip"].values()) == found["n"]["slip"] == 60
    noise = classify_errors(
        generator.normal(size=rows.shape), types, ids, LogisticRegression(), draws=200
    )
    assert noise["balanced_accuracy"]["low"] < 1 / 3 < noise["balanced_accuracy"]["high"]
    with pytest.raises(ValueError, match="at least two types"):
        classify_errors(rows[:60], types[:60], ids[:60], LogisticRegression())
