"""Spectra: the trap of triangular matrices, known spectra, NetworkX's Laplacian."""

from __future__ import annotations

import math

import networkx
import numpy as np
import pytest
from feature_graphs import dags, random_dag, step_graph
from hypothesis import given, settings

from rg_helpers.features import graph_features
from rg_helpers.features.spectra import triangular_spectra


def row_of(graph, sets="spectra", **options):
    return graph_features([graph], sets, progress=False, **options).iloc[0]


def test_the_trap_unsymmetrised_spectra_see_no_edge():
    """A chain and random graphs: same spectra of W and D - W, different ones once symmetrised."""
    chain = step_graph(np.eye(9, k=-1))
    graphs = [chain, *(random_dag(seed, 9, 1.0) for seed in range(5))]
    for graph in graphs:
        of_weights, of_laplacian = triangular_spectra(graph.weights)
        np.testing.assert_allclose(of_weights, 0, atol=1e-9)
        np.testing.assert_allclose(of_laplacian, [0, *[1] * 8], atol=1e-6)
    fiedler = graph_features(graphs, "spectra", progress=False)["fiedler_value"]
    assert fiedler.nunique() == len(graphs)


@settings(max_examples=40, deadline=None)
@given(dags())
def test_eigenvalues_are_those_of_networkx(graph):
    row = row_of(graph)
    values = np.sort(networkx.normalized_laplacian_spectrum(graph.to_networkx().to_undirected()))
    assert row["laplacian_largest"] == pytest.approx(values[-1], abs=1e-6)
    for rank in range(2, 7):
        expected = values[rank - 1] if rank <= len(values) else 0
        assert row[f"laplacian_eigenvalue_{rank}"] == pytest.approx(expected, abs=1e-6)
    pieces = networkx.number_weakly_connected_components(graph.to_networkx())
    assert row["spectral_pieces"] == pieces
    assert np.isfinite(row.to_numpy()).all()


def test_complete_graph_with_equal_weights_by_hand():
    """Two nodes: eigenvalues 0 and 2; entropy of (0, 1) is 0."""
    row = row_of(step_graph(np.eye(2, k=-1)))
    assert row["fiedler_value"] == pytest.approx(2)
    assert row["spectral_entropy"] == pytest.approx(0)
    assert row["laplacian_high_share"] == 1 / 2
    assert row["laplacian_variance"] == pytest.approx(1)


def test_chain_has_the_known_spectrum():
    """Path of n nodes: 1 - cos(pi k / (n - 1)), k = 0 ... n - 1; only one is zero."""
    nodes = 40
    row = row_of(step_graph(np.eye(nodes, k=-1)))
    values = 1 - np.cos(np.pi * np.arange(nodes) / (nodes - 1))
    assert row["fiedler_value"] == pytest.approx(values[1], abs=1e-9)
    assert row["spectral_pieces"] == 1
    shares = values[1:] / values.sum()
    entropy = -(shares * np.log(shares)).sum() / math.log(nodes)
    assert row["spectral_entropy"] == pytest.approx(entropy, abs=1e-9)
    assert row["laplacian_high_share"] == (values > 1).sum() / nodes


def test_names_of_nodes_do_not_matter():
    """Invariance: another topological order of the same graph has the same spectrum."""
    first, second = np.zeros((5, 5)), np.zeros((5, 5))
    first[3, [0, 1]], first[4, [2, 3]] = 1, 1
    second[3, [1, 2]], second[4, [0, 3]] = 1, 1  # 0 > 2, 1 > 0, 2 > 1
    kinds = ["premise"] * 3 + ["step", "answer"]
    one, other = row_of(step_graph(first, kinds)), row_of(step_graph(second, kinds))
    np.testing.assert_allclose(one, other, atol=1e-9)


def test_signal_smoothness_equals_the_sum_over_edges():
    """x'Lx = sum over pairs of s_ij (x_i / sqrt d_i - x_j / sqrt d_j)^2, added up one by one."""
    graph = random_dag(1, 7, 0.6)
    signal = np.random.default_rng(0).normal(size=(7, 3))
    weights = (graph.weights + graph.weights.T) / 2
    degree = weights.sum(1)
    centred = signal - signal.mean(0)
    total = 0.0
    for i in range(7):
        for j in range(i):
            if weights[i, j] > 0:
                gap = centred[i] / math.sqrt(degree[i]) - centred[j] / math.sqrt(degree[j])
                total += weights[i, j] * (gap**2).sum()
    row = row_of(graph, "signal", embeddings=[signal])
    assert row["signal_smoothness"] == pytest.approx(1 - total / (centred**2).sum() / 2, abs=1e-6)


def test_signals_of_known_frequency():
    """On a pair of equal weight (1, -1) is the eigenvector at 2: rough, all energy high."""
    pair = step_graph(np.eye(2, k=-1))
    rough = row_of(pair, "signal", embeddings=[np.array([[1.0], [-1.0]])])
    assert rough["signal_smoothness"] == pytest.approx(0, abs=1e-9)
    assert rough["signal_high_frequency_ratio"] == pytest.approx(1)
    assert rough["signal_entropy"] == pytest.approx(0, abs=1e-9)
    alike = row_of(pair, "signal", embeddings=[np.ones((2, 1))])
    assert alike.tolist() == [1, 0, 0]


def test_signals_follow_their_graph_through_the_stacks():
    graphs = [random_dag(seed, nodes, 0.5) for seed, nodes in enumerate([5, 9, 2, 9, 30, 7])]
    signals = [np.random.default_rng(len(graph)).normal(size=(len(graph), 4)) for graph in graphs]
    table = graph_features(graphs, "signal", embeddings=signals, progress=False).to_numpy()
    for row, (graph, signal) in enumerate(zip(graphs, signals, strict=True)):
        np.testing.assert_allclose(table[row], row_of(graph, "signal", embeddings=[signal]))
