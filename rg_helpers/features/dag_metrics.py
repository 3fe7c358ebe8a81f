"""Metrics that mean something on a graph of steps: how deep, how wide, what is used, what is lost.

A step graph is a DAG in text order, so cycles and strongly connected pieces are constants there;
the metrics here are not. Two graphs are read: the "directed" one of the edges that `top_k` or
`threshold` leaves, for everything that counts or follows edges, and the "full" weights for
everything that adds them up. Premises and the question are the prompt, steps and the answer line
are written. Only edges into written nodes count: attention also joins premises to earlier premises,
but a premise follows from nothing and is not used by being read. "The answer" is the last node of
kind answer, or the last node of a trace that was cut off before it. Where there is nothing to
average, divide or reach, the value is 0.
"""

from __future__ import annotations

import numpy as np

from rg_helpers.features.feature import feature_table
from rg_helpers.features.stacks import GraphStack, share

_NEW = "this course"
_ENTROPY = "this course, after Shannon 1948"
_LOOKBACK = "after Chuang et al. 2024, arXiv 2407.07071"
_D, _F = "directed", "full"

DAG_FEATURES = feature_table(
    "dag",
    [
        ("depth", "edges on the longest path", _D, _NEW),
        ("answer_depth", "edges on the longest path that ends at the answer", _D, _NEW),
        ("width", "most nodes at one depth", _D, _NEW),
        ("nodes_per_level", "mean nodes at one depth", _D, _NEW),
        ("dead_ends", "steps that nothing uses", _D, _NEW),
        ("dead_end_share", "share of steps that nothing uses", _D, _NEW),
        ("unused_premises", "premises that nothing uses", _D, _NEW),
        ("unused_premise_share", "share of premises that nothing uses", _D, _NEW),
        ("unreached_premise_share", "share of premises from which no path leads to the answer",
         _D, _NEW),
        ("unreached_step_share", "share of steps from which no path leads to the answer", _D, _NEW),
        ("sourceless_share", "share of written nodes that follow from nothing", _D, _NEW),
        ("groundless_share", "share of written nodes no premise leads to", _D, _NEW),
        ("distance_to_premises_mean", "mean edges from a written node back to its nearest premise",
         _D, _NEW, "over the nodes that have one, see groundless_share"),
        ("distance_to_premises_max", "the farthest any written node is from its nearest premise",
         _D, _NEW, "over the nodes that have one, see groundless_share"),
        ("answer_distance_to_premises", "edges from the answer back to its nearest premise", _D,
         _NEW, "0 if no premise leads to it"),
        ("fan_in_mean", "mean sources of a written node", _D, _NEW),
        ("fan_in_max", "most sources of a written node", _D, _NEW),
        ("fan_in_std", "spread of the number of sources", _D, _NEW),
        ("fan_out_max", "most users of a node that is not the answer", _D, _NEW),
        ("fan_out_std", "spread of the number of users", _D, _NEW),
        ("branching_share", "share of nodes used more than once", _D, _NEW),
        ("joining_share", "share of written nodes with more than one source", _D, _NEW),
        ("redundant_edge_share", "share of edges that a longer path makes superfluous", _D,
         "Aho, Garey & Ullman 1972 (transitive reduction)"),
        ("log_paths_to_answer", "log of one plus the number of paths from premises to the answer",
         _D, _NEW),
        ("row_entropy_mean", "mean entropy of a written node's weights over its sources, in nats",
         _F, _ENTROPY),
        ("row_entropy_max", "entropy of the least decided written node", _F, _ENTROPY),
        ("row_entropy_std", "spread of that entropy", _F, _ENTROPY),
        ("row_entropy_normalised", "mean entropy over the largest possible with as many sources",
         _F, _ENTROPY, "nodes with fewer than two earlier nodes count as 0"),
        ("answer_row_entropy", "entropy of the answer's weights over its sources", _F, _ENTROPY),
        ("strongest_source_mean", "mean weight of a written node's strongest source", _F, _NEW),
        ("received_entropy", "entropy of the support that nodes give to written nodes", _F,
         _ENTROPY),
        ("received_max_share", "share of all support that the most used node gives", _F, _NEW,
         "high where attention rests on a sink"),
        ("look_back_mean", "mean distance in nodes from a written node to its sources", _F, _NEW),
        ("look_back_relative", "the same over the number of earlier nodes", _F, _NEW),
        ("mass_on_premises", "mean weight of written nodes on premises", _F, _LOOKBACK),
        ("mass_on_question", "mean weight of written nodes on the question", _F, _LOOKBACK),
        ("mass_on_steps", "mean weight of written nodes on earlier written nodes", _F, _LOOKBACK,
         "the three masses sum to one where every written node has a source"),
        ("mass_on_previous", "mean weight of written nodes on the node just before", _F, _NEW),
        ("mass_on_first", "mean weight of written nodes on the first node", _F, _NEW,
         "high where attention rests on a sink"),
        ("flow_from_premises", "chance that a walk back along weights ends in a premise",
         _F, _NEW),
        ("flow_from_question", "chance that such a walk ends in the question", _F,
         _NEW),
        ("flow_lost", "chance that such a walk ends in a step without sources", _F,
         _NEW),
        ("flow_length", "mean written nodes such a walk passes, the answer included", _F, _NEW),
        ("flow_premise_entropy", "entropy of the premises such walks end in, in nats", _F,
         _ENTROPY),
        ("flow_step_min", "chance that such a walk passes the step it avoids most", _F, _NEW),
        ("flow_step_mean", "mean chance that such a walk passes a step", _F, _NEW),
    ],
)  # fmt: skip


def dag_metrics(stack: GraphStack) -> dict[str, np.ndarray]:
    """Return every feature of `DAG_FEATURES` as float64 (graphs,)."""
    answer = answer_nodes(stack)
    metrics = {
        **_shape(stack, answer),
        **_use(stack, answer),
        **_fans(stack),
        **_rows(stack, answer),
        **_masses(stack),
        **_flow(stack, answer),
    }
    return {name: np.asarray(metrics[name], dtype=np.float64) for name in DAG_FEATURES}


def used_edges(stack: GraphStack) -> np.ndarray:
    """Return the kept edges whose target is written, bool (graphs, nodes, nodes)."""
    return stack.edges & stack.of_kind("step", "answer")[:, :, None]


def answer_nodes(stack: GraphStack) -> np.ndarray:
    """Return each graph's answer: its last node of kind answer, else its last node; (graphs,)."""
    is_answer = stack.of_kind("answer")
    last = stack.nodes - 1 - is_answer[:, ::-1].argmax(1)
    return np.where(is_answer.any(1), last, stack.sizes - 1)


def answer_flow(stack: GraphStack, answer: np.ndarray) -> np.ndarray:
    """Return the chance that a walk back from the answer passes each node; (graphs, nodes).

    f(answer) = 1 and f_j = sum_i w_ij f_i over written i: from every written node the walk steps to
    a source with the weight's probability; it ends in the prompt. Text order is a topological
    order, so one pass from the last node to the first is exact.
    """
    weights = stack.weights.astype(np.float64) * stack.of_kind("step", "answer")[:, :, None]
    flow = np.zeros((len(stack), stack.nodes))
    flow[np.arange(len(stack)), answer] = 1
    for node in range(stack.nodes - 1, 0, -1):
        flow[:, :node] += flow[:, node, None] * weights[:, node, :node]
    return flow


def _at(values: np.ndarray, nodes: np.ndarray) -> np.ndarray:
    return values[np.arange(len(nodes)), nodes]


def _reach(edges: np.ndarray) -> np.ndarray:
    """Return float32 1 where a path of any length, also none, leads from column to row."""
    reach = edges.astype(np.float32) + np.eye(edges.shape[-1], dtype=np.float32)
    for _ in range(max(1, int(np.ceil(np.log2(edges.shape[-1]))))):
        reach = np.minimum(reach @ reach, 1)
    return reach


def _shape(stack: GraphStack, answer: np.ndarray) -> dict[str, np.ndarray]:
    edges, premises = used_edges(stack), stack.of_kind("premise")
    written = stack.of_kind("step", "answer")
    depth = np.zeros((len(stack), stack.nodes))
    distance = np.where(premises, 0, np.inf)
    paths = premises.astype(np.float64)
    for node in range(1, stack.nodes):
        sources = edges[:, node, :node]
        depth[:, node] = np.where(sources, depth[:, :node] + 1, 0).max(1)
        nearest = np.where(sources, distance[:, :node] + 1, np.inf).min(1)
        distance[:, node] = np.minimum(distance[:, node], nearest)
        paths[:, node] += (sources * paths[:, :node]).sum(1)
    deepest = stack.maximum(depth)
    levels = (depth[:, :, None] == np.arange(stack.nodes)) & stack.present[:, :, None]
    grounded = written & np.isfinite(distance)
    finite = np.where(np.isfinite(distance), distance, 0)
    return {
        "depth": deepest,
        "answer_depth": _at(depth, answer),
        "width": levels.sum(1).max(1),
        "nodes_per_level": stack.sizes / (deepest + 1),
        "groundless_share": share((written & ~grounded).sum(1), written.sum(1)),
        "distance_to_premises_mean": stack.mean(finite, grounded),
        "distance_to_premises_max": stack.maximum(finite, grounded),
        "answer_distance_to_premises": _at(finite, answer),
        "log_paths_to_answer": np.log1p(_at(paths, answer)),
    }


def _use(stack: GraphStack, answer: np.ndarray) -> dict[str, np.ndarray]:
    edges, premises, steps = used_edges(stack), stack.of_kind("premise"), stack.of_kind("step")
    written = stack.of_kind("step", "answer")
    unused = ~edges.any(1)
    reach = _reach(edges)
    reached = _at(reach, answer) > 0
    # An edge is superfluous if another source of the same target can be reached from its source.
    strict = reach - np.eye(stack.nodes, dtype=np.float32)
    detours = edges.astype(np.float32) @ strict
    return {
        "dead_ends": (steps & unused).sum(1),
        "dead_end_share": share((steps & unused).sum(1), steps.sum(1)),
        "unused_premises": (premises & unused).sum(1),
        "unused_premise_share": share((premises & unused).sum(1), premises.sum(1)),
        "unreached_premise_share": share((premises & ~reached).sum(1), premises.sum(1)),
        "unreached_step_share": share((steps & ~reached).sum(1), steps.sum(1)),
        "sourceless_share": share((written & ~edges.any(2)).sum(1), written.sum(1)),
        "redundant_edge_share": share((edges & (detours > 0)).sum((1, 2)), edges.sum((1, 2))),
    }


def _fans(stack: GraphStack) -> dict[str, np.ndarray]:
    written = stack.of_kind("step", "answer")
    givers = stack.present & ~stack.of_kind("answer")
    edges = used_edges(stack)
    fan_in, fan_out = edges.sum(2), edges.sum(1)
    return {
        "fan_in_mean": stack.mean(fan_in, written),
        "fan_in_max": stack.maximum(fan_in, written),
        "fan_in_std": stack.deviation(fan_in, written),
        "fan_out_max": stack.maximum(fan_out, givers),
        "fan_out_std": stack.deviation(fan_out, givers),
        "branching_share": stack.mean(fan_out > 1, givers),
        "joining_share": stack.mean(fan_in > 1, written),
    }


def entropy(shares: np.ndarray) -> np.ndarray:
    """Return -sum p log p over the last axis, in nats; p = 0 adds nothing."""
    logarithms = np.log(shares, out=np.zeros_like(shares), where=shares > 0)
    return np.maximum(-(shares * logarithms).sum(-1), 0)


def _rows(stack: GraphStack, answer: np.ndarray) -> dict[str, np.ndarray]:
    weights = stack.weights.astype(np.float64)
    written = stack.of_kind("step", "answer")
    disorder = entropy(weights)
    earlier = np.arange(stack.nodes)
    largest = np.log(np.maximum(earlier, 1))
    received = (weights * written[:, :, None]).sum(1)
    received = share(received, received.sum(1, keepdims=True))
    distance = np.maximum(earlier[:, None] - earlier, 0)
    look_back = (weights * distance).sum(2)
    return {
        "row_entropy_mean": stack.mean(disorder, written),
        "row_entropy_max": stack.maximum(disorder, written),
        "row_entropy_std": stack.deviation(disorder, written),
        "row_entropy_normalised": stack.mean(share(disorder, largest), written),
        "answer_row_entropy": _at(disorder, answer),
        "strongest_source_mean": stack.mean(weights.max(2), written),
        "received_entropy": entropy(received),
        "received_max_share": received.max(1),
        "look_back_mean": stack.mean(look_back, written),
        "look_back_relative": stack.mean(share(look_back, earlier), written),
    }


def _masses(stack: GraphStack) -> dict[str, np.ndarray]:
    weights = stack.weights.astype(np.float64)
    written = stack.of_kind("step", "answer")
    previous = np.zeros((len(stack), stack.nodes))
    previous[:, 1:] = np.diagonal(weights, offset=-1, axis1=1, axis2=2)

    def on(nodes: np.ndarray) -> np.ndarray:
        return stack.mean((weights * nodes[:, None, :]).sum(2), written)

    return {
        "mass_on_premises": on(stack.of_kind("premise")),
        "mass_on_question": on(stack.of_kind("question")),
        "mass_on_steps": on(written),
        "mass_on_previous": stack.mean(previous, written),
        "mass_on_first": stack.mean(weights[:, :, 0], written),
    }


def _flow(stack: GraphStack, answer: np.ndarray) -> dict[str, np.ndarray]:
    flow = answer_flow(stack, answer)
    premises, question = stack.of_kind("premise"), stack.of_kind("question")
    written, steps = stack.of_kind("step", "answer"), stack.of_kind("step")
    ended = (flow * premises).sum(1)
    lost = (flow * (written & ~(stack.weights > 0).any(2))).sum(1)
    lowest = np.where(steps, flow, np.inf).min(1)
    return {
        "flow_from_premises": ended,
        "flow_from_question": (flow * question).sum(1),
        "flow_lost": lost,
        "flow_length": (flow * written).sum(1),
        "flow_premise_entropy": entropy(share(flow * premises, ended[:, None])),
        "flow_step_min": np.where(steps.any(1), lowest, 0),
        "flow_step_mean": stack.mean(flow, steps),
    }
