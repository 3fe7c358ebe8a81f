"""Flow: against networkx pair by pair, and by hand on a diamond."""

from __future__ import annotations

import networkx
import numpy as np
import pytest
from tiny_models import ARCHITECTURES, tiny_model, tiny_traces

from rg_helpers.graphs import flow as module
from rg_helpers.graphs.attention import attention_graphs
from rg_helpers.graphs.flow import flow_graph, flow_graphs, flow_scores, max_flows
from rg_helpers.graphs.step_graph import StepGraph, normalise_rows


def random_weights(nodes: int, seed: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return normalise_rows(
        generator.random((nodes, nodes)) ** 3 * (generator.random((nodes, nodes)) < 0.7)
    )


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_equals_networkx(seed):
    weights = random_weights(9, seed)
    graph = networkx.DiGraph()
    graph.add_nodes_from(range(9))
    for i, j in np.argwhere(weights > 0):
        graph.add_edge(int(i), int(j), capacity=float(weights[i, j]))
    flows = max_flows(weights)
    more_than_direct = 0
    for i in range(9):
        for j in range(i):
            expected = networkx.maximum_flow_value(graph, i, j)
            assert flows[i, j] == pytest.approx(expected, abs=5e-5)
            more_than_direct += expected > weights[i, j] + 1e-3
    assert more_than_direct > 10
    assert not np.triu(flows).any()


def test_a_diamond_by_hand():
    weights = np.zeros((4, 4))
    weights[3, 1], weights[3, 2], weights[1, 0], weights[2, 0] = 0.75, 0.25, 0.5, 1.0
    flows = max_flows(weights)
    assert flows[3, 0] == pytest.approx(0.75, abs=1e-5)  # 0.5 past node 1, 0.25 past node 2
    assert flows[2, 1] == 0
    assert max_flows(8 * weights)[3, 0] == pytest.approx(6, abs=1e-4)
    assert not max_flows(np.zeros((3, 3))).any()


def test_pairs_may_be_solved_in_portions(monkeypatch):
    weights = random_weights(12, 4)
    whole = max_flows(weights)
    monkeypatch.setattr(module, "PAIRS_AT_ONCE", 7)
    np.testing.assert_allclose(max_flows(weights), whole, atol=1e-7)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture(name):
    model, traces = tiny_model(name), tiny_traces(2)
    for trace, scores in zip(traces, flow_scores(model, traces), strict=True):
        assert scores.shape == (len(trace.nodes),) * 2
        assert np.isfinite(scores).all()
        assert not np.triu(scores).any()
        assert scores.sum() > 0


def test_graphs_name_what_they_flow_on():
    model, traces = tiny_model("qwen3"), tiny_traces(2)
    graph = flow_graphs(model, traces, [(1, 0)], sink="drop")[1]
    attention = attention_graphs(model, traces, [(1, 0)], sink="drop")[1]
    assert (graph.method, graph.choice) == ("flow", "on attention: layer 1 head 0")
    np.testing.assert_allclose(graph.weights, flow_graph(attention).weights, atol=1e-5)
    assert graph.trace_id == attention.trace_id
    chain = StepGraph(np.eye(3, k=-1), ("premise", "step", "step"), ("a", "b", "c"), "text")
    assert flow_graph(chain).choice == "on text"
    assert flow_graph(chain).weights[2].tolist() == [0.5, 0.5, 0]


def test_impossible_capacities_are_refused():
    with pytest.raises(ValueError, match="not negative"):
        max_flows(np.array([[0, 0], [-1.0, 0]]))
