"""Weisfeiler-Lehman: the same partition as a naive refinement, and a hash that stays put."""

from __future__ import annotations

import numpy as np
import pytest
from feature_graphs import TOY, TOY_KINDS, dags, step_graph
from hypothesis import given, settings
from hypothesis import strategies as st

from rg_helpers.features import graph_features
from rg_helpers.features.stacks import graph_stacks
from rg_helpers.features.weisfeiler_lehman import weisfeiler_lehman, weisfeiler_lehman_labels

ROUND_0 = [348110, 139053, 603978, 358618]
ROUND_1 = [370389, 566370, 843739, 69773]


def naive_labels(graph, rounds: int) -> list[list[object]]:
    """Labels as nested tuples: own label, sorted labels of sources, sorted labels of users."""
    labels: list[object] = list(graph.kinds)
    history = [labels]
    for _ in range(rounds):
        labels = [
            (
                labels[node],
                tuple(sorted(repr(labels[j]) for j in np.flatnonzero(graph.weights[node]))),
                tuple(sorted(repr(labels[j]) for j in np.flatnonzero(graph.weights[:, node]))),
            )
            for node in range(len(graph))
        ]
        history.append(labels)
    return history


@settings(max_examples=30, deadline=None)
@given(st.lists(dags(8), min_size=1, max_size=4))
def test_labels_are_equal_exactly_where_the_naive_ones_are(graphs):
    (stack,) = graph_stacks(graphs, top_k=None)
    hashed = weisfeiler_lehman_labels(stack, rounds=2)
    for turn in range(3):
        pairs = set()
        for row, position in enumerate(stack.positions):
            naive = naive_labels(graphs[position], 2)[turn]
            pairs |= {
                (repr(naive[node]), int(hashed[row, turn, node])) for node in range(len(naive))
            }
        assert len({name for name, _ in pairs}) == len(pairs) == len({label for _, label in pairs})


def test_isomorphic_graphs_have_equal_histograms_and_others_do_not():
    first, second, third = np.zeros((3, 5, 5))
    first[3, [0, 1]], first[4, [2, 3]] = 1, 1
    second[3, [1, 2]], second[4, [0, 3]] = 1, 1
    third[3, [0, 1]], third[4, 3] = 1, 1
    kinds = ["premise"] * 3 + ["step", "answer"]
    rows = graph_features(
        [step_graph(weights, kinds) for weights in (first, second, third)],
        "weisfeiler_lehman",
        progress=False,
    ).to_numpy()
    np.testing.assert_array_equal(rows[0], rows[1])
    assert np.abs(rows[0] - rows[2]).sum() > 0


def test_histogram_sums_to_one_and_has_the_width_asked_for():
    for stack in graph_stacks([step_graph(TOY, TOY_KINDS), step_graph(np.zeros((1, 1)))]):
        histogram = weisfeiler_lehman(stack, width=10, rounds=4)
        assert len(histogram) == 10
        assert sum(histogram.values()) == pytest.approx(1)


def test_labels_are_the_same_in_every_process_and_version():
    """Committed numbers: a change of the hash would silently move every bucket."""
    (stack,) = graph_stacks([step_graph(TOY, TOY_KINDS)])
    labels = weisfeiler_lehman_labels(stack, rounds=1)[0]
    assert [int(label) % 10**6 for label in labels[0, [0, 2, 3, 6]]] == ROUND_0
    assert [int(label) % 10**6 for label in labels[1, [0, 2, 3, 6]]] == ROUND_1
