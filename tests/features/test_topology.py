"""Persistent homology: a square by hand, spanning trees for H0, isometries."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.csgraph import minimum_spanning_tree
from scipy.spatial.distance import pdist, squareform

from rg_helpers.features import topology_features
from rg_helpers.features.topology import lifetimes

SQUARE = np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]])


@pytest.fixture(autouse=True)
def _gudhi():
    pytest.importorskip("gudhi")


def row_of(cloud, **options):
    return topology_features([cloud], progress=False, **options).iloc[0]


def test_square_by_hand():
    """Sides of 1 join four points at 1 and close a ring; the diagonals fill it at sqrt(2)."""
    row = row_of(SQUARE)
    assert row["h0_total_persistence"] == pytest.approx(3)
    assert row["h0_mean_persistence"] == pytest.approx(1)
    assert row["h0_persistence_entropy"] == pytest.approx(math.log(3))
    assert row["h1_count"] == 1
    assert row["h1_total_persistence"] == pytest.approx(math.sqrt(2) - 1)
    assert row["h1_mean_birth"] == pytest.approx(1)


def test_ring_has_one_clear_loop_and_a_line_has_none():
    angles = np.arange(24) * 2 * math.pi / 24
    ring = row_of(np.stack([np.cos(angles), np.sin(angles)], 1))
    assert ring["h1_count"] == 1
    assert ring["h1_max_persistence"] > 1
    line = row_of(np.arange(9.0)[:, None] * [[1.0, 2.0]])
    assert line["h1_count"] == 0
    assert line["h1_mean_birth"] == 0


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 20), st.integers(1, 5))
def test_clusters_merge_along_the_minimum_spanning_tree(seed, nodes, width):
    cloud = np.random.default_rng(seed).normal(size=(nodes, width))
    tree = minimum_spanning_tree(squareform(pdist(cloud))).data
    clusters, _ = lifetimes(cloud)
    np.testing.assert_allclose(np.sort(clusters[:, 1]), np.sort(tree))
    row = row_of(cloud)
    assert row["h0_total_persistence"] == pytest.approx(tree.sum())
    assert row["h0_max_persistence"] == pytest.approx(tree.max())


def test_rotation_shift_and_order_change_nothing_and_scale_scales():
    generator = np.random.default_rng(0)
    cloud = generator.normal(size=(15, 4))
    rotation, _ = np.linalg.qr(generator.normal(size=(4, 4)))
    before = row_of(cloud)
    np.testing.assert_allclose(row_of(cloud[::-1] @ rotation + 5), before, atol=1e-8)
    assert row_of(3 * cloud)["h1_total_persistence"] == pytest.approx(
        3 * before["h1_total_persistence"]
    )


def test_one_node_and_equal_nodes_are_all_zero():
    assert (row_of(np.ones((1, 3))) == 0).all()
    assert (row_of(np.ones((4, 3))) == 0).all()


def test_faults_are_named():
    with pytest.raises(ValueError, match=r"embeddings 1 have shape \(3,\)"):
        topology_features([SQUARE, np.ones(3)], progress=False)
    with pytest.raises(ValueError, match="trace ids"):
        topology_features([SQUARE], ["a", "b"], progress=False)


def test_without_gudhi_the_error_names_the_cure(monkeypatch):
    monkeypatch.setitem(sys.modules, "gudhi", None)
    with pytest.raises(ImportError, match="pip install gudhi"):
        topology_features([SQUARE], progress=False)
