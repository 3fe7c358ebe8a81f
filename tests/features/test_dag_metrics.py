"""Metrics of a step DAG: a toy worked out by hand, and naive walks over NetworkX graphs."""

from __future__ import annotations

import math

import networkx
import numpy as np
import pytest
from feature_graphs import TOY, TOY_KINDS, dags, random_dag, step_graph
from hypothesis import given, settings

from rg_helpers.features import graph_features
from rg_helpers.graphs.step_graph import StepGraph


def row_of(graph, **options):
    return graph_features([graph], "dag", progress=False, **options).iloc[0]


TOY_ENTROPY = {3: math.log(2), 4: -(0.75 * math.log(0.75) + 0.25 * math.log(0.25)), 5: 0.0,
               6: math.log(2)}  # fmt: skip

BY_HAND = {
    "depth": 3,  # 0 > 3 > 4 > 6
    "answer_depth": 3,
    "width": 3,  # depth 0: 0, 1, 2; depth 1: 3, 5; depth 2: 4; depth 3: 6
    "nodes_per_level": 7 / 4,
    "dead_ends": 1,  # step 5
    "dead_end_share": 1 / 3,
    "unused_premises": 0,
    "unused_premise_share": 0,
    "unreached_premise_share": 0,
    "unreached_step_share": 1 / 3,
    "sourceless_share": 0,
    "groundless_share": 0,
    "distance_to_premises_mean": (1 + 1 + 1 + 2) / 4,
    "distance_to_premises_max": 2,
    "answer_distance_to_premises": 2,
    "fan_in_mean": 7 / 4,
    "fan_in_max": 2,
    "fan_in_std": math.sqrt(3 / 16),
    "fan_out_max": 2,
    "fan_out_std": math.sqrt((4 + 4 + 0 + 4 + 1 + 0) / 6 - (7 / 6) ** 2),
    "branching_share": 3 / 6,  # 0, 1 and 3 of the six that are not the answer
    "joining_share": 3 / 4,
    "redundant_edge_share": 2 / 7,  # 0 > 4 beside 0 > 3 > 4, and 3 > 6 beside 3 > 4 > 6
    "log_paths_to_answer": math.log(1 + 5),  # 3 has 2 paths, 4 has 2 + 1, 6 has 3 + 2
    "row_entropy_mean": sum(TOY_ENTROPY.values()) / 4,
    "row_entropy_max": math.log(2),
    "row_entropy_std": np.std(list(TOY_ENTROPY.values())),
    "row_entropy_normalised": sum(TOY_ENTROPY[i] / math.log(i) for i in TOY_ENTROPY) / 4,
    "answer_row_entropy": math.log(2),
    "strongest_source_mean": (0.5 + 0.75 + 1 + 0.5) / 4,
    "received_entropy": -sum(p / 4 * math.log(p / 4) for p in (0.75, 1.5, 1.25, 0.5)),
    "received_max_share": 1.5 / 4,  # premise 1: half of step 3, all of step 5
    "look_back_mean": ((1.5 + 1) + (0.75 + 1) + 4 + (1 + 1.5)) / 4,
    "look_back_relative": (2.5 / 3 + 1.75 / 4 + 4 / 5 + 2.5 / 6) / 4,
    "mass_on_premises": (1 + 0.25 + 1 + 0) / 4,
    "mass_on_question": 0,
    "mass_on_steps": (0.75 + 1) / 4,
    "mass_on_previous": (0 + 0.75 + 0 + 0) / 4,
    "mass_on_first": (0.5 + 0.25) / 4,
    "flow_from_premises": 1,
    "flow_from_question": 0,
    "flow_lost": 0,
    "flow_length": 1 + 0.5 + 0.875,  # answer, step 4, step 3 = 0.5 + 0.5 * 0.75
    "flow_premise_entropy": -(0.5625 * math.log(0.5625) + 0.4375 * math.log(0.4375)),
    "flow_step_min": 0,
    "flow_step_mean": (0.875 + 0.5 + 0) / 3,
}


def test_toy_by_hand():
    row = row_of(step_graph(TOY, TOY_KINDS))
    assert set(BY_HAND) == set(row.index)
    for name, value in BY_HAND.items():
        assert row[name] == pytest.approx(value, abs=1e-6), name


def test_toy_cut_off_before_the_answer():
    """Without an answer line the last node stands in for it: step 5, which follows from 1 alone."""
    row = row_of(step_graph(TOY[:6, :6], TOY_KINDS[:6]))
    assert row["answer_depth"] == 1
    assert row["flow_length"] == 1
    assert row["unreached_premise_share"] == 1 / 2
    assert row["unreached_step_share"] == 2 / 3


def test_a_step_from_nowhere_is_seen():
    weights = np.zeros((4, 4))
    weights[3, [0, 2]] = 0.5  # the answer rests half on the premise, half on an invented step
    row = row_of(step_graph(weights, ("premise", "question", "step", "answer")))
    assert row["sourceless_share"] == 1 / 2
    assert row["groundless_share"] == 1 / 2
    assert row["flow_lost"] == 0.5
    assert row["flow_from_premises"] == 0.5


@settings(max_examples=60, deadline=None)
@given(dags())
def test_against_naive_walks(graph):
    """Every path is enumerated by NetworkX, every walk followed step by step."""
    row = row_of(graph, top_k=None)
    directed, kinds, last = graph.to_networkx(), graph.kinds, len(graph) - 1
    prompt = [node for node in directed if kinds[node] in ("premise", "question")]
    directed.remove_edges_from(list(directed.in_edges(prompt)))
    premises = [node for node in directed if kinds[node] == "premise"]
    steps = [node for node in directed if kinds[node] == "step"]
    written = [node for node in directed if kinds[node] in ("step", "answer")]
    assert row["depth"] == networkx.dag_longest_path_length(directed, weight=None)
    reduced = networkx.transitive_reduction(directed).number_of_edges()
    edges = directed.number_of_edges()
    assert row["redundant_edge_share"] == pytest.approx((edges - reduced) / max(edges, 1))
    reached = networkx.ancestors(directed, last) | {last}
    missed = [node for node in premises if node not in reached]
    assert row["unreached_premise_share"] == pytest.approx(len(missed) / max(len(premises), 1))
    unused = [node for node in premises if directed.out_degree(node) == 0]
    assert row["unused_premises"] == len(unused)
    paths = sum(
        len(list(networkx.all_simple_paths(directed, node, last))) if node != last else 1
        for node in premises
    )
    assert row["log_paths_to_answer"] == pytest.approx(np.log1p(paths))
    assert row["dead_ends"] == sum(directed.out_degree(node) == 0 for node in steps)
    distances = []
    for node in written:
        lengths = networkx.single_source_shortest_path_length(directed.reverse(), node)
        near = [lengths[premise] for premise in premises if premise in lengths]
        distances += [min(near)] if near else []
    assert row["distance_to_premises_mean"] == pytest.approx(np.mean(distances or [0]))

    def ends(node) -> dict[str, float]:
        """Where a walk back from `node` ends, and how many written nodes it passes."""
        if kinds[node] in ("premise", "question"):
            return {"premises": float(kinds[node] == "premise"), "length": 0.0}
        found = {"premises": 0.0, "length": 1.0}
        for source in range(node):
            for name, value in ends(source).items() if graph.weights[node, source] > 0 else ():
                found[name] += float(graph.weights[node, source]) * value
        return found

    if len(graph) <= 8:
        walk = ends(last)
        assert row["flow_from_premises"] == pytest.approx(walk["premises"], abs=1e-6)
        assert row["flow_length"] == pytest.approx(walk["length"], abs=1e-5)


@settings(max_examples=30, deadline=None)
@given(dags())
def test_no_value_is_nan_and_shares_lie_between_0_and_1(graph):
    row = row_of(graph)
    assert np.isfinite(row.to_numpy()).all()
    for name in row.index:
        if name.endswith("_share") or name.startswith("mass_on") or name.startswith("flow_from"):
            assert -1e-6 <= row[name] <= 1 + 1e-6, name


def test_a_premise_read_by_another_premise_only_is_unused():
    weights = np.zeros((4, 4))
    weights[1, 0] = weights[3, 1] = 1
    row = row_of(step_graph(weights, ("premise", "premise", "question", "answer")))
    assert row["unused_premises"] == 1
    assert row["unreached_premise_share"] == 1 / 2
    assert row["depth"] == 1


def test_nodes_without_edges_at_the_end_change_no_flow_but_the_dead_ends():
    """Invariance: an idle step before the answer adds a dead end and leaves the walk as it was."""
    graph = random_dag(3, 9, 0.5)
    kinds = (*graph.kinds[:-1], "step", "answer")
    weights = np.zeros((10, 10), dtype=np.float32)
    weights[:8, :8], weights[9, :8] = graph.weights[:8, :8], graph.weights[8, :8]
    idle = StepGraph(weights, kinds, ("text",) * 10, "test")
    before, after = row_of(graph, top_k=None), row_of(idle, top_k=None)
    assert after["dead_ends"] == before["dead_ends"] + 1
    for name in ("flow_from_premises", "flow_length", "answer_depth", "log_paths_to_answer"):
        assert after[name] == pytest.approx(before[name])


def test_values_do_not_depend_on_the_stack():
    graphs = [random_dag(seed, nodes, 0.4) for seed, nodes in enumerate([3, 17, 1, 8, 30])]
    together = graph_features(graphs, ("dag", "spectra"), progress=False).to_numpy()
    for row, graph in enumerate(graphs):
        alone = graph_features([graph], ("dag", "spectra"), progress=False).to_numpy()[0]
        np.testing.assert_allclose(together[row], alone, atol=1e-9)
