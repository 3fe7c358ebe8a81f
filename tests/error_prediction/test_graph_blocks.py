"""Graphs as columns: kept, the same as drawn directly, fitted on other problems, finite."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from planted_set import TOKENIZER, planted_set

from rg_helpers.error_prediction import graph_blocks
from rg_helpers.error_prediction.fit_traces import ONE_IN, fit_traces
from rg_helpers.error_prediction.graph_blocks import graph_block
from rg_helpers.error_prediction.graph_columns import (
    Columns,
    agreement_tables,
    graph_columns,
    rewired,
    text_columns,
)
from rg_helpers.error_prediction.inputs import prediction_inputs
from rg_helpers.error_prediction.step_numbers import ROW_NUMBERS
from rg_helpers.error_prediction.trace_drawing import TraceDrawer
from rg_helpers.error_prediction.trace_set import TraceSet
from rg_helpers.features import graph_features
from rg_helpers.graphs.methods import draw_graphs
from rg_helpers.language_model import new_course_model

MODEL = new_course_model(0, hidden_size=16, layers=2, heads=2, intermediate_size=32)
SET = planted_set("arithmetic", 12)


@pytest.fixture(scope="module")
def fit():
    return fit_traces(SET, TOKENIZER, count=3)[0]


@pytest.mark.parametrize("method", ["attention", "similarity", "cluster", "text"])
def test_parts_give_the_graphs_of_draw_graphs(method, fit, monkeypatch, tmp_path):
    monkeypatch.setattr(graph_blocks, "PART_TRACES", 10)
    block = graph_block(SET.traces, method, MODEL, TOKENIZER, fit, folder=tmp_path, progress=False)
    direct = draw_graphs(SET.traces, method, MODEL, TOKENIZER, fit.data, progress=False)
    assert len(list(tmp_path.iterdir())) == 3
    for kept, drawn in zip(block.graphs, direct, strict=True):
        assert kept.weights == pytest.approx(drawn.weights, abs=1e-5)
        assert (kept.choice, kept.trace_id) == (drawn.choice, drawn.trace_id)
    for table, graph in zip(block.tables, block.graphs, strict=True):
        assert table.shape == (len(graph), len(block.names))
        assert table[:, 0] == pytest.approx(graph.weights.max(axis=1), abs=1e-6)
        assert np.isfinite(table).all()
    parts = {"attention": 1 + 2 * 2, "similarity": None, "cluster": 1, "text": 1}[method]
    assert parts is None or len(block.names) == parts * len(ROW_NUMBERS)


def test_a_second_run_draws_nothing_and_a_killed_one_goes_on(fit, monkeypatch, tmp_path):
    monkeypatch.setattr(graph_blocks, "PART_TRACES", 10)
    drawn = []
    draw = TraceDrawer.draw
    monkeypatch.setattr(TraceDrawer, "draw", lambda self, t: drawn.append(len(t)) or draw(self, t))

    def run(traces=SET.traces):
        return graph_block(
            traces, "attention", MODEL, TOKENIZER, fit, folder=tmp_path, progress=False
        )

    first = run()
    assert drawn == [10, 10, 4]
    sorted(tmp_path.iterdir())[1].unlink()
    again = run()
    assert drawn == [10, 10, 4, 10]
    assert all((a.weights == b.weights).all() for a, b in zip(first.graphs, again.graphs))
    other = new_course_model(1, hidden_size=16, layers=2, heads=2, intermediate_size=32)
    graph_block(SET.traces[:4], "attention", other, TOKENIZER, fit, folder=tmp_path, progress=False)
    assert drawn[-1] == 4, "another model's graphs are not taken over"


def test_nothing_that_is_scored_is_fitted_on(fit):
    assert not fit.problem_ids & set(SET.problem_ids.tolist())
    leaking = replace(fit, data=type(fit.data)(SET.traces[:1], fit.data.gold[:1]))
    with pytest.raises(ValueError, match="fitted on and scored"):
        graph_block(SET.traces, "cluster", MODEL, TOKENIZER, leaking, progress=False)


def own_traces(trace_set):
    """Traces without their problems, as somebody else's file has them."""
    return TraceSet(
        tuple(replace(t, extra={}) for t in trace_set.traces), trace_set.labels
    )  # fmt: skip


def test_ones_own_traces_set_whole_problems_aside():
    own = own_traces(SET)
    fit, scored = fit_traces(own, TOKENIZER)
    assert not fit.gold
    aside = set(own.problem_ids[~scored].tolist())
    assert len(aside) == 12 // ONE_IN
    assert aside == fit.problem_ids
    assert not aside & set(own.problem_ids[scored].tolist())
    labels = tuple(reversed(own.labels))
    again, same = fit_traces(TraceSet(own.traces, labels), TOKENIZER)
    assert (same == scored).all()
    assert again.hash == fit.hash, "labels play no part"


def test_without_gold_heads_are_averaged_and_what_is_fitted_on_is_not_scored():
    own = own_traces(SET)
    _, scored = fit_traces(own, TOKENIZER)
    found = prediction_inputs(own, MODEL, TOKENIZER, ("attention", "cluster"), progress=False)
    assert found.blocks["attention"].choice.startswith("mean of")
    assert "set aside" in found.fit_origin
    assert found.traces.problem_ids.tolist() == own.problem_ids[scored].tolist()
    assert len(found.disagreement) == len(found.texts) == len(found.confidence) == scored.sum()
    assert [len(s) for s in found.step_states] == [len(t.steps) for t in found.traces.traces]


def test_inputs_do_not_depend_on_labels(tmp_path):
    methods = ("attention", "cluster")
    flipped = TraceSet(SET.traces, tuple(reversed(SET.labels)))
    one, other = (
        prediction_inputs(s, MODEL, TOKENIZER, methods, fit_problems=3, progress=False)
        for s in (SET, flipped)
    )
    for name in (*methods, "text"):
        for kind in ("wiring", "rewired", "steps"):
            assert (one.columns[name][kind].values == other.columns[name][kind].values).all()
    assert (one.numbers.values == other.numbers.values).all()
    assert one.blocks["attention"].choice == other.blocks["attention"].choice


def test_columns_are_features_beside_sums_over_steps(fit):
    block = graph_block(SET.traces, "text", progress=False)
    columns = graph_columns(block)
    table = graph_features(block.graphs, progress=False)
    wiring = columns["wiring"]
    assert np.allclose(wiring.values, table[list(wiring.names)].to_numpy())
    assert columns["rewired"].names == wiring.names
    assert (columns["rewired"].values != wiring.values).any()
    assert columns["steps"].values.shape == (len(SET), 4 * len(ROW_NUMBERS))
    assert all(np.isfinite(found.values).all() for found in columns.values())
    dense = block.graphs[0]
    for axis in (0, 1):
        assert rewired(dense).weights.sum(axis) == pytest.approx(dense.weights.sum(axis), abs=1e-4)
    sparse = dense.top_k(2)
    kept = (sparse.weights > 0).sum(axis=1)
    assert kept.sum() < len(sparse) * (len(sparse) - 1) / 4
    assert ((rewired(sparse).weights > 0).sum(axis=1) == kept).all()
    assert (rewired(sparse).weights != sparse.weights).any()
    with pytest.raises(ValueError, match="no column 'depht'"):
        wiring.named(["depht"])
    with pytest.raises(ValueError, match="2 names"):
        Columns(np.zeros((3, 1)), ("a", "b"))


def test_agreement_is_one_with_itself():
    block = graph_block(SET.traces, "text", progress=False)
    tables = agreement_tables({"text": block, "again": block})
    for table, trace in zip(tables, SET.traces, strict=True):
        sums = block.graphs[SET.traces.index(trace)].weights.sum(axis=1)[-len(trace.steps) :]
        assert table[:, 0] == pytest.approx(sums, abs=1e-5)


def test_the_text_alone_tells_planted_slips():
    wrong = np.array([label.error_type == "arithmetic slip" for label in SET.labels])
    sums = text_columns(SET.traces).named(["most wrong_sums"])[:, 0]
    assert wrong.any()
    assert (sums[wrong] > 0).all()
