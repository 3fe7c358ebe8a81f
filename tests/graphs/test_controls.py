"""Controls: hand-worked chains and counts, and what each of them must leave unchanged."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rg_helpers.graphs.controls import (
    PositionOnly,
    previous_step_graph,
    random_graph,
    rewired_graph,
)
from rg_helpers.graphs.gold import gold_graph
from rg_helpers.graphs.step_graph import StepGraph, normalise_rows
from rg_helpers.problems import generate_problems


def graph_of(weights, kinds=None, trace_id="toy") -> StepGraph:
    weights = normalise_rows(np.array(weights, dtype=np.float64))
    nodes = len(weights)
    kinds = kinds or ("premise",) * (nodes // 2) + ("step",) * (nodes - nodes // 2)
    return StepGraph(weights, kinds, ("x",) * nodes, "toy", "", trace_id)


def dense(nodes: int, seed: int) -> StepGraph:
    return graph_of(np.random.default_rng(seed).random((nodes, nodes)), trace_id=str(seed))


def sparse(nodes: int, seed: int) -> StepGraph:
    generator = np.random.default_rng(seed)
    weights = generator.random((nodes, nodes)) * (generator.random((nodes, nodes)) < 0.4)
    return graph_of(weights, trace_id=str(seed))


def test_previous_step_is_a_chain():
    assert previous_step_graph(dense(4, 0)).edges == [(0, 1), (1, 2), (2, 3)]


def test_random_graph_depends_on_seed_and_trace_alone():
    graph = dense(6, 0)
    assert np.array_equal(random_graph(graph).weights, random_graph(sparse(6, 0)).weights)
    assert not np.array_equal(random_graph(graph).weights, random_graph(graph, seed=1).weights)
    assert not np.array_equal(random_graph(graph).weights, random_graph(dense(6, 1)).weights)
    assert (random_graph(graph).weights[np.tril_indices(6, -1)] > 0).all()


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 12), st.integers(0, 10**6))
def test_rewiring_edges_keeps_every_degree(nodes, seed):
    graph = sparse(nodes, seed)
    rewired = rewired_graph(graph, seed)
    before, after = graph.weights > 0, rewired.weights > 0
    assert np.array_equal(before.sum(axis=0), after.sum(axis=0))
    assert np.array_equal(before.sum(axis=1), after.sum(axis=1))
    assert np.allclose(np.sort(graph.weights, axis=1), np.sort(rewired.weights, axis=1), atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 12), st.integers(0, 10**6))
def test_moving_weight_keeps_every_sum(nodes, seed):
    graph = dense(nodes, seed)
    rewired = rewired_graph(graph, seed, keep="strength")
    assert np.allclose(graph.weights.sum(axis=0), rewired.weights.sum(axis=0), atol=1e-5)
    assert np.allclose(graph.weights.sum(axis=1), rewired.weights.sum(axis=1), atol=1e-5)


def test_rewiring_changes_the_graph_and_is_seeded():
    for graph, keep in ((sparse(12, 1), "degree"), (dense(12, 1), "strength")):
        rewired = rewired_graph(graph, 0, keep)
        assert np.abs(rewired.weights - graph.weights).sum() > 1
        assert np.array_equal(rewired.weights, rewired_graph(graph, 0, keep).weights)
        assert not np.array_equal(rewired.weights, rewired_graph(graph, 1, keep).weights)
    with pytest.raises(ValueError, match="'degree' or 'strength'"):
        rewired_graph(graph, keep="colour")


def test_the_only_possible_swap_is_found():
    """0 -> 2, 1 -> 3 can only become 1 -> 2, 0 -> 3 (and back)."""
    weights = np.zeros((4, 4))
    weights[2, 0] = weights[3, 1] = 1
    seen = {tuple(rewired_graph(graph_of(weights), seed).edges) for seed in range(20)}
    assert seen == {((0, 2), (1, 3)), ((1, 2), (0, 3))}


KINDS = ("premise", "premise", "question", "step", "step", "answer")


def chain(first: int) -> StepGraph:
    """Steps read premise `first`, then the other one; each step reads the one before."""
    weights = np.zeros((6, 6))
    weights[3, first] = weights[4, 1 - first] = weights[4, 3] = weights[5, 4] = 1
    return graph_of(weights, KINDS)


def test_position_only_counts_by_hand():
    fitted = PositionOnly.fit([chain(0), chain(0), chain(0), chain(1)], prior=0)
    rates = fitted.graph(chain(1)).weights
    # without shrinkage the finest table decides: 3 of 4 first steps read premise 0
    assert rates[3] == pytest.approx([0.75, 0.25, 0, 0, 0, 0])
    assert rates[4] == pytest.approx([0.125, 0.375, 0, 0.5, 0, 0])
    assert rates[5] == pytest.approx([0, 0, 0, 0, 1, 0])
    assert not rates[:3].any()


def test_position_only_reads_no_weights_and_falls_back_on_coarser_counts():
    fitted = PositionOnly.fit([chain(0)] * 20)
    assert np.array_equal(fitted.graph(chain(0)).weights, fitted.graph(chain(1)).weights)
    longer = ("premise",) * 4 + ("question",) + ("step",) * 5 + ("answer",)
    weights = fitted.graph(graph_of(np.tri(11, k=-1), longer)).weights
    assert weights[9, 8] == weights[9].max()  # an unseen size: "the step before" still holds
    with pytest.raises(ValueError, match="got none"):
        PositionOnly.fit([])


def test_position_only_beats_the_chain_on_other_problems():
    problems = generate_problems("program", 60, seed=8)
    gold = [gold_graph(problem) for problem in problems]
    fitted = PositionOnly.fit(gold[:40])

    def hits(draw) -> float:
        return sum((draw(g).weights * (g.weights > 0)).sum() for g in gold[40:])

    assert hits(fitted.graph) > hits(previous_step_graph)
    assert hits(fitted.graph) > 2 * hits(random_graph)


def test_rewiring_goes_on_until_the_graph_is_forgotten():
    """Twice the swaps must not bring the control nearer to knowing nothing."""
    graphs = [gold_graph(problem) for problem in generate_problems("program", 20, "validation")]

    def kept(swaps: int) -> float:
        pairs = [(g, rewired_graph(g, 0, swaps_per_node=swaps)) for g in graphs]
        same = sum(((g.weights > 0) & (r.weights > 0)).sum() for g, r in pairs)
        return same / sum((g.weights > 0).sum() for g in graphs)

    default = inspect.signature(rewired_graph).parameters["swaps_per_node"].default
    assert kept(1) > kept(default) + 0.1
    assert abs(kept(default) - kept(2 * default)) < 0.05
