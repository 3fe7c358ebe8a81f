"""Batched metrics against NetworkX itself, graph by graph."""

from __future__ import annotations

import itertools

import networkx
import numpy as np
import pytest
from feature_graphs import TOY, TOY_KINDS, dags, random_dag, step_graph
from hypothesis import given, settings
from hypothesis import strategies as st

from rg_helpers.features import FEATURES, centralities, graph_features
from rg_helpers.features.centralities import eigenvector_centrality
from rg_helpers.features.networkx_metrics import NETWORKX_FEATURES
from rg_helpers.features.networkx_reference import networkx_reference
from rg_helpers.features.shortest_paths import (
    hop_betweenness,
    hop_paths,
    lengths_of_weights,
    weighted_betweenness,
)

TOLERANCE = 1e-6


def assert_equal_to_networkx(graphs, **options):
    table = graph_features(graphs, "networkx", progress=False, **options)
    assert np.isfinite(table.to_numpy()).all()
    for row, graph in enumerate(graphs):
        plain = networkx_reference(graph, **options)
        assert set(plain) == set(NETWORKX_FEATURES)
        for name, value in plain.items():
            ours = table[name].iloc[row]
            assert ours == pytest.approx(value, abs=TOLERANCE, rel=TOLERANCE), (name, graph.weights)


@settings(max_examples=60, deadline=None)
@given(st.lists(dags(), min_size=1, max_size=4), st.sampled_from([None, 1, 2, 3]))
def test_every_metric_equals_networkx_on_random_dags(graphs, top_k):
    assert_equal_to_networkx(graphs, top_k=top_k)


def test_every_metric_equals_networkx_at_course_size():
    graphs = [random_dag(seed, 20 + 4 * seed, 1.0) for seed in range(6)]
    assert_equal_to_networkx(graphs, top_k=3)
    assert_equal_to_networkx(graphs[:2], top_k=None, threshold=0.06)


@pytest.mark.parametrize(
    "weights",
    [
        np.zeros((1, 1)),
        np.zeros((2, 2)),
        np.zeros((6, 6)),
        np.eye(2, k=-1),
        np.eye(30, k=-1),  # a chain: the longest paths, the slowest eigenvector
        np.tril(np.ones((7, 7)), -1),  # complete: all degrees equal
        np.kron(np.eye(3), np.eye(2, k=-1)),  # three pieces of equal size
        np.pad(np.ones((9, 1)), ((1, 0), (0, 9))),  # a star
    ],
    ids=["one", "two", "edgeless", "pair", "chain", "complete", "pieces", "star"],
)
def test_edge_cases_have_the_documented_values(weights):
    assert_equal_to_networkx([step_graph(weights)], top_k=None)


def test_a_graph_has_the_same_values_alone_and_beside_larger_ones():
    graphs = [random_dag(seed, nodes, 0.4) for seed, nodes in enumerate([3, 17, 1, 8, 30, 8])]
    together = graph_features(graphs, "networkx", progress=False).to_numpy()
    for row, graph in enumerate(graphs):
        alone = graph_features([graph], "networkx", progress=False).to_numpy()[0]
        np.testing.assert_allclose(together[row], alone, atol=1e-9)


def test_toy_by_hand():
    """Seven nodes, seven edges, one of them (the question) alone; 0-3-4 and 3-4-6 are triangles."""
    row = graph_features([step_graph(TOY, TOY_KINDS)], "networkx", progress=False).iloc[0]
    assert row["n_nodes"] == 7
    assert row["n_edges"] == 7
    assert row["n_connected_components"] == 2
    assert row["largest_component_size"] == 6
    assert row["loop_count"] == 7 - 7 + 2
    assert row["n_triangles"] == 2
    assert row["max_degree"] == 4  # node 3: 0, 1, 4, 6
    assert row["diameter"] == 3  # 5-1-3-4
    assert row["max_in_degree"] == 2
    assert row["density"] == pytest.approx(7 / 21)
    assert row["transitivity"] == pytest.approx(3 * 2 / (1 + 1 + 6 + 3 + 1))


def test_constant_features_are_constant_and_marked():
    graphs = [random_dag(seed, 9, 0.5) for seed in range(30)]
    table = graph_features(graphs, "networkx", progress=False)
    marked = {name for name in NETWORKX_FEATURES if FEATURES[name].constant}
    assert {"n_directed_cycles", "reciprocity", "is_strongly_connected"} <= marked
    assert (table[sorted(marked)].nunique() == 1).all()  # all have nine nodes


@pytest.mark.parametrize("options", [{"top_k": 2}, {"top_k": None, "threshold": 0.3}])
def test_the_same_edges_are_kept_as_by_step_graph(options):
    graphs = [random_dag(seed, 10, 0.8) for seed in range(20)]
    table = graph_features(graphs, "networkx", progress=False, **options)
    for row, graph in enumerate(graphs):
        kept = graph.top_k(2) if options["top_k"] else graph.threshold(0.3)
        assert table["n_edges"].iloc[row] == len(kept.edges)
        assert table["max_out_degree"].iloc[row] == (kept.weights > 0).sum(0).max()


@settings(max_examples=30, deadline=None)
@given(dags(10))
def test_betweenness_equals_all_shortest_paths_enumerated(graph):
    """Not Brandes against Brandes: every shortest path is listed and its inner nodes counted."""
    undirected = graph.to_networkx().to_undirected()
    for _, _, edge in undirected.edges(data=True):
        edge["length"] = int(lengths_of_weights(np.float32(edge["weight"])))
    adjacency = (graph.weights + graph.weights.T > 0).astype(float)[None]
    found = {
        None: hop_betweenness(hop_paths(adjacency), adjacency)[0],
        "length": weighted_betweenness(graph.weights[None])[0],
    }
    for length, ours in found.items():
        counted = np.zeros(len(graph))
        for source in undirected:
            for target in undirected:
                if source == target or not networkx.has_path(undirected, source, target):
                    continue
                paths = list(networkx.all_shortest_paths(undirected, source, target, length))
                for path in paths:
                    counted[path[1:-1]] += 1 / len(paths)
        np.testing.assert_allclose(ours, counted, atol=1e-5)


def test_eigenvector_where_the_two_leading_eigenvalues_nearly_coincide():
    """Two equal hubs joined by a long chain."""
    nodes, hub = 46, 12
    adjacency = np.zeros((nodes, nodes))
    chain = [0, *range(2 * hub, nodes), hub]
    for first, second in itertools.pairwise(chain):
        adjacency[first, second] = adjacency[second, first] = 1
    for centre in (0, hub):
        for leaf in range(centre + 1, centre + hub):
            adjacency[centre, leaf] = adjacency[leaf, centre] = 1
    vector = eigenvector_centrality(adjacency[None], np.ones((1, nodes), dtype=bool))[0]
    image = adjacency @ vector
    np.testing.assert_allclose(image, vector * (vector @ image), atol=1e-9)
    assert np.linalg.norm(vector) == pytest.approx(1)
    assert vector.min() >= 0


def test_eigenvector_by_lapack_is_the_one_by_squaring(monkeypatch):
    graphs = [random_dag(seed, 14, 0.3) for seed in range(8)]
    squared = graph_features(graphs, "networkx", progress=False)
    monkeypatch.setattr(centralities, "SQUARINGS", 1)  # nothing converges: all go to LAPACK
    table = graph_features(graphs, "networkx", progress=False)
    np.testing.assert_allclose(table["max_eigenvector"], squared["max_eigenvector"], atol=1e-9)
    np.testing.assert_allclose(table["std_eigenvector"], squared["std_eigenvector"], atol=1e-9)
