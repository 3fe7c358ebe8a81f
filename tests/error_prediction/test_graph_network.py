"""The graph network: uses edges, weights and directions, repeats with a seed, fits the protocol."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rg_helpers.edge_recovery import auroc
from rg_helpers.error_prediction.graph_network import (
    ARCHITECTURES,
    GraphInput,
    GraphNetworkClassifier,
    graph_input,
)
from rg_helpers.error_prediction.protocol import cross_validated_scores
from rg_helpers.graphs.step_graph import StepGraph, normalise_rows


def planted(count: int, seed: int = 0, by: str = "edges"):
    """Graphs of 8 nodes and more whose label shows in the wiring alone: nodes know their place.

    by="edges": wrong ones are chains, right ones stars. by="weights": all are complete, wrong ones
    with their weight on the nearest source. by="direction": a star from one node, or into one.
    """
    generator = np.random.default_rng(seed)
    graphs, wrong = [], generator.random(count) < 0.5
    for label in wrong:
        nodes = 8 + int(generator.integers(3))
        weights = np.zeros((nodes, nodes))
        if by == "edges":
            for target in range(1, nodes):
                weights[target, target - 1 if label else 0] = 1
        elif by == "weights":
            for target in range(1, nodes):
                decay = 3.0 if label else 0.1
                weights[target, :target] = np.exp(-decay * np.arange(target)[::-1])
            weights = normalise_rows(weights)
        elif label:
            weights[1:, 0] = 1
        else:
            weights[-1, :-1] = 1
        place = np.arange(nodes, dtype=np.float32)[:, None] / nodes
        graphs.append(GraphInput(place, weights))
    return graphs, wrong


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("by", ["edges", "weights", "direction"])
def test_it_reads_wiring_weights_and_direction(architecture, by):
    train, labels = planted(120, 0, by)
    test, truth = planted(80, 1, by)
    model = GraphNetworkClassifier(architecture, epochs=15).fit(train, labels)
    assert auroc(model.predict_proba(test)[:, 1], truth) > 0.9


def test_same_seed_same_result_and_the_callers_generator_is_left_alone():
    graphs, wrong = planted(40)
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first = GraphNetworkClassifier(epochs=2).fit(graphs, wrong).predict_proba(graphs)
    assert torch.rand(1) == expected
    assert (
        first == GraphNetworkClassifier(epochs=2).fit(graphs, wrong).predict_proba(graphs)
    ).all()
    other = GraphNetworkClassifier(epochs=2, seed=1).fit(graphs, wrong).predict_proba(graphs)
    assert (first != other).any()
    assert np.allclose(first.sum(axis=1), 1)


def test_it_goes_through_the_protocol():
    graphs, wrong = planted(60)
    found = cross_validated_scores(
        GraphNetworkClassifier(epochs=10), graphs, wrong, np.arange(60) // 2, folds=3
    )
    assert auroc(found.scores, wrong) > 0.9


def test_inputs_carry_kind_place_and_what_weights_tell():
    weights = normalise_rows(np.array([[0, 0, 0], [1, 0, 0], [1, 3, 0]], float))
    graph = StepGraph(weights, ("premise", "question", "step"), ("a", "b", "c"), "attention")
    found = graph_input(graph, node_features=np.array([[7.0], [8.0], [9.0]]), least=0.3)
    assert found.nodes[:, -1].tolist() == [7, 8, 9]
    assert found.nodes[2, -5:-1] == pytest.approx(
        [1, 0.75, -(0.25 * np.log(0.25) + 0.75 * np.log(0.75)), 0]
    )
    assert found.weights[2].tolist() == [0, 0.75, 0]
    with pytest.raises(ValueError, match="one row a node"):
        graph_input(graph, node_features=np.zeros((2, 1)))


def test_unknown_architectures_and_graphs_without_edges():
    graphs, wrong = planted(10)
    with pytest.raises(ValueError, match="gcn, gin, gatv2"):
        GraphNetworkClassifier("gnn").fit(graphs, wrong)
    bare = [GraphInput(np.ones((1, 1), np.float32), np.zeros((1, 1)))] * 4
    for architecture in ARCHITECTURES:
        model = GraphNetworkClassifier(architecture, epochs=1).fit(
            bare, np.array([True, False] * 2)
        )
        assert np.isfinite(model.predict_proba(bare)).all()
