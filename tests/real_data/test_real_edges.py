"""Edges on real text: counted by hand on three lines, apart from what graphs are fitted on."""

from __future__ import annotations

import pytest
from gsm8k_lines import chain_row

from rg_helpers.datasets.reader import held_out, reference_trace
from rg_helpers.datasets.real_edges import recover_annotated_edges
from rg_helpers.datasets.solution_report import annotated_fit, annotated_references
from rg_helpers.datasets.word_problems import problem_of
from rg_helpers.tokenizer import build_tokenizer

TOKENIZER = build_tokenizer()


PROBLEMS = [problem for problem in map(problem_of, map(chain_row, range(300))) if held_out(problem)]


@pytest.fixture(scope="module")
def references():
    return annotated_references(TOKENIZER, PROBLEMS)


def test_areas_are_those_counted_by_hand(references):
    fit = annotated_fit(references, 3)
    found = recover_annotated_edges(references, fit, ["text"], draws=40, progress=False)
    rows = {row["name"]: row for row in found["rows"]}
    assert list(rows) == ["text", "previous_step", "random"]
    left = [graph for graph in references.gold if graph.trace_id not in _ids(fit)]
    count = len(left)
    # The third line's only source is the second (odd seeds) or the first; there the chain is
    # right or wrong. The fourth uses the third and the other one: the chain puts the third above
    # the line that is no source, and ties the other source with it.
    odd = sum(_uses_second(graph) for graph in left)
    assert 0 < odd < count
    assert found["solutions"] == count
    assert (found["pairs"], found["edges"]) == (5 * count, 3 * count)
    chain = rows["previous_step"]
    assert chain["within_line_auc"]["value"] == pytest.approx((odd + 1.5 * count) / (3 * count))
    assert chain["matched_auc"]["value"] == 0.5, "places alone say nothing"
    for name in ("within_line_auc", "matched_auc"):
        assert rows["text"][name]["value"] == 1
        assert 0.1 < rows["random"][name]["value"] < 0.9


def test_what_cannot_be_compared_is_not_made_up(references):
    alike = [problem for problem in PROBLEMS if int(problem.question.split()[2]) % 2]
    same = annotated_references(TOKENIZER, alike)
    found = recover_annotated_edges(same, annotated_fit(same, 1), [], draws=40, progress=False)
    assert {row["matched_auc"] for row in found["rows"]} == {None}


def test_what_is_fitted_on_is_not_measured(references):
    whole = annotated_fit(references, len(references.traces))
    with pytest.raises(ValueError, match="0 annotated solutions are left"):
        recover_annotated_edges(references, whole, ["text"], progress=False)
    first = reference_trace(TOKENIZER, min(PROBLEMS, key=lambda one: one.problem_id))
    assert annotated_fit(references, 1).problem_ids == {first.problem_id}


def _ids(fit):
    return {trace.trace_id for trace in fit.data.traces}


def _uses_second(graph):
    third = graph.kinds.index("step") + 2
    return graph.weights[third, third - 1] > 0
