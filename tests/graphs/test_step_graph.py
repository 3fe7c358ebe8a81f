"""StepGraph: what it refuses, hand-worked normalisation, and files that come back whole."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from rg_helpers.graphs.step_graph import StepGraph, load_graphs, normalise_rows, save_graphs

KINDS = ("premise", "question", "step", "answer")
TEXTS = ("A has 2.", "How many?", "A has 2.", "The answer is 2.")
WEIGHTS = [[0, 0, 0, 0], [0, 0, 0, 0], [0.75, 0.25, 0, 0], [0, 0.2, 0.8, 0]]


def toy(weights=WEIGHTS, **changes) -> StepGraph:
    values = {"kinds": KINDS, "texts": TEXTS, "method": "toy", "choice": "by hand"}
    return StepGraph(np.array(weights, dtype=np.float32), **{**values, **changes})


def test_normalise_rows_by_hand():
    raw = np.array([[9, 9, 9], [3, 9, 9], [1, 3, 9]])
    assert normalise_rows(raw).tolist() == [[0, 0, 0], [1, 0, 0], [0.25, 0.75, 0]]
    assert normalise_rows(raw, min_gap=2).tolist() == [[0, 0, 0], [0, 0, 0], [1, 0, 0]]
    assert normalise_rows(np.zeros((2, 2))).tolist() == [[0, 0], [0, 0]]
    with pytest.raises(ValueError, match="min_gap"):
        normalise_rows(raw, min_gap=0)


@settings(max_examples=50, deadline=None)
@given(
    st.integers(1, 9).flatmap(
        lambda n: arrays.arrays(np.float64, (2, n, n), elements=st.floats(0, 1, width=32))
    ),
    st.integers(1, 3),
)
def test_normalised_rows_always_make_a_graph(raw, min_gap):
    for weights in normalise_rows(raw, min_gap):
        nodes = len(weights)
        graph = StepGraph(weights, ("step",) * nodes, ("x",) * nodes, "toy")
        sums = graph.weights.sum(axis=1)
        assert np.all((np.abs(sums - 1) < 1e-5) | (sums == 0))
        assert all(target - source >= min_gap for source, target in graph.edges)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights": np.transpose(WEIGHTS)}, "transposed"),
        ({"weights": np.eye(4)}, "backwards"),
        ({"weights": np.array(WEIGHTS) * 2}, "row 2 sums to 2"),
        ({"weights": [[0, 0], [1, 0]]}, "do not fit"),
        ({"weights": -np.array(WEIGHTS)}, "not negative"),
        ({"weights": np.array(WEIGHTS) * np.nan}, "finite"),
        ({"kinds": ("premise", "question", "thought", "answer")}, "thought"),
        ({"texts": TEXTS[:3]}, "do not fit"),
    ],
)
def test_what_is_not_a_graph_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        toy(**change)


def test_weights_are_a_read_only_copy():
    source = np.array(WEIGHTS, dtype=np.float32)
    graph = toy(source)
    source[2, 0] = 9
    assert graph.weights[2, 0] == 0.75
    assert graph.weights.dtype == np.float32
    with pytest.raises(ValueError, match="read-only"):
        graph.weights[2, 0] = 1


def test_edges_point_from_source_to_target():
    assert toy().edges == [(0, 2), (1, 2), (1, 3), (2, 3)]
    drawn = toy().to_networkx()
    assert drawn.edges[0, 2]["weight"] == pytest.approx(0.75)
    assert not drawn.has_edge(2, 0)
    assert drawn.nodes[3] == {"kind": "answer", "text": "The answer is 2."}
    assert drawn.graph["choice"] == "by hand"


def test_thinning_edges():
    assert toy().top_k(1).edges == [(0, 2), (2, 3)]
    assert toy().top_k(1).weights[3, 2] == 1
    assert toy().top_k(9).edges == toy().edges
    assert toy().threshold(0.25).edges == [(0, 2), (1, 2), (2, 3)]
    assert toy().threshold(2).edges == []
    with pytest.raises(ValueError, match="k=0"):
        toy().top_k(0)


def test_files_give_back_the_same_graphs(tmp_path):
    graphs = [toy(trace_id="é-1"), toy(trace_id="2").top_k(1)]
    save_graphs(tmp_path / "some.graphs", graphs)
    names = sorted(file.name for file in tmp_path.iterdir())
    assert names == ["some.graphs.json", "some.graphs.safetensors"]
    for read, graph in zip(load_graphs(tmp_path / "some.graphs"), graphs, strict=True):
        assert np.array_equal(read.weights, graph.weights)
        assert vars(read).keys() == vars(graph).keys()
        assert (read.kinds, read.texts, read.method) == (graph.kinds, graph.texts, graph.method)
        assert (read.choice, read.trace_id) == (graph.choice, graph.trace_id)
    path = toy().save(tmp_path / "one")
    assert np.array_equal(StepGraph.load(path).weights, toy().weights)
    with pytest.raises(ValueError, match="load_graphs"):
        StepGraph.load(tmp_path / "some.graphs")


def test_damaged_files_name_the_cure(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        StepGraph.load(tmp_path / "none")
    path = toy().save(tmp_path / "one")
    weights = tmp_path / "one.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-3])
    with pytest.raises(ValueError, match="delete both files"):
        StepGraph.load(path)
    weights.unlink()
    with pytest.raises(FileNotFoundError, match="missing beside"):
        StepGraph.load(path)
    weights.write_bytes(whole)
    path.write_text(json.dumps({"graphs": []}))
    with pytest.raises(ValueError, match="not a file of graphs"):
        StepGraph.load(path)
