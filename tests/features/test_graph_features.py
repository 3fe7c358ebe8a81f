"""The table of features: order, meanings, errors."""

from __future__ import annotations

import numpy as np
import pytest
from feature_graphs import random_dag, step_graph

from rg_helpers.features import DEFAULT_SETS, FEATURES, SETS, Feature, graph_features
from rg_helpers.features.stacks import graph_stacks

GRAPHS = [random_dag(seed, nodes, 0.5) for seed, nodes in enumerate([4, 21, 1, 13])]
EMBEDDINGS = [np.random.default_rng(0).normal(size=(len(graph), 3)) for graph in GRAPHS]


def test_all_sets_together_one_row_a_graph_in_order():
    pytest.importorskip("gudhi")
    table = graph_features(GRAPHS, SETS, EMBEDDINGS, progress=False)
    assert table.index.tolist() == [graph.trace_id for graph in GRAPHS]
    assert table.index.name == "trace_id"
    assert table["n_nodes"].tolist() == [4, 21, 1, 13]
    assert table.columns.tolist() == list(FEATURES)
    assert (table.dtypes == np.float64).all()
    assert np.isfinite(table.to_numpy()).all()


def test_default_sets_need_nothing_but_graphs():
    table = graph_features(GRAPHS, progress=False)
    assert table.columns.tolist() == [n for n, f in FEATURES.items() if f.set in DEFAULT_SETS]
    assert graph_features([], progress=False).shape == (0, table.shape[1])


def test_same_trace_drawn_twice_keeps_both_rows():
    table = graph_features([GRAPHS[1], GRAPHS[1].top_k(1)], "dag", progress=False)
    assert table.index.tolist() == ["1", "1"]
    assert table["fan_in_max"].tolist() == [3, 1]


def test_every_feature_says_what_it_means_in_one_line():
    for name, feature in FEATURES.items():
        assert feature.name == name
        assert feature.set in SETS
        assert 10 <= len(feature.meaning) <= 90, name
        assert "\n" not in feature.meaning
        assert not feature.meaning.endswith(".")
        assert feature.source
    meanings = [feature.meaning for feature in FEATURES.values() if feature.set == "dag"]
    assert len(set(meanings)) == len(meanings)


def test_fifty_metrics_of_the_original_are_there():
    original = [feature for feature in FEATURES.values() if feature.source == "original study"]
    assert len(original) >= 44


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sets": ("dag", "homology")}, "choose among networkx"),
        ({"sets": ()}, "choose among networkx"),
        ({"sets": "signal"}, "none were given"),
        ({"sets": "signal", "embeddings": EMBEDDINGS[:2]}, "2 were given"),
        (
            {"sets": "signal", "embeddings": EMBEDDINGS[::-1]},
            r"expected finite numbers \(4, width\)",
        ),
        ({"top_k": 0}, "at least one source"),
        ({"threshold": 0.0}, r"choose one in \(0, 1\]"),
    ],
)
def test_bad_arguments_are_refused_with_the_cure(arguments, message):
    with pytest.raises(ValueError, match=message):
        graph_features(GRAPHS, progress=False, **arguments)


def test_a_graph_without_nodes_is_named():
    with pytest.raises(ValueError, match=r"graph 1 .*'empty'.* has no nodes"):
        graph_features([GRAPHS[0], step_graph(np.zeros((0, 0)), (), "empty")], progress=False)


def test_unknown_graph_version_is_refused():
    with pytest.raises(ValueError, match="use undirected"):
        Feature("x", "some meaning", "dag", "nowhere", "sparse")


def test_stacks_hold_every_graph_once_and_stay_small():
    graphs = [random_dag(seed, 1 + seed % 30, 0.3) for seed in range(100)]
    stacks = list(graph_stacks(graphs, entries=2000))
    assert sorted(np.concatenate([stack.positions for stack in stacks])) == list(range(100))
    assert len(stacks) > 5
    for stack in stacks:
        assert stack.weights.size <= 2000 or len(stack) == 1
        for row, position in enumerate(stack.positions):
            size = len(graphs[position])
            assert stack.sizes[row] == size
            np.testing.assert_array_equal(
                stack.weights[row, :size, :size], graphs[position].weights
            )
            np.testing.assert_allclose(
                stack.kept[row, :size, :size], graphs[position].top_k(3).weights
            )
            assert not stack.weights[row, size:].any()
            assert (stack.kinds[row, size:] == -1).all()
