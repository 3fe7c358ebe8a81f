"""Attention flow: how much can pass from a step to an earlier one, over all ways between them.

Abnar & Zuidema (2020, arXiv 2005.00928) read attention weights as capacities of pipes and take,
for every target and source, the maximum flow between them. Here it runs on the step graph: an edge
from target i to source j has the graph's weight as its capacity, and what a step has to do with a
premise includes what reaches it through the steps between. Rows sum to one, so a flow is at most
one, and never less than the direct edge.

All pairs of a trace are solved in one call: every pair (i, j) gets a copy of the nodes j to i,
which are all that a flow from i to j can pass, and the copies hang side by side between one common
source and one common sink. They share no edge, so the maximum flow of the whole is that of every
copy, and the price of hundreds of small calls is saved.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import maximum_flow
from tqdm.auto import tqdm

from rg_helpers.graphs.attention import Reduction, attention_graphs
from rg_helpers.graphs.step_graph import StepGraph, normalise_rows
from rg_helpers.traces import Trace

if TYPE_CHECKING:
    from transformers import PreTrainedModel

UNITS = 1_000_000  # the solver counts in whole numbers: this many make up the largest row sum
PAIRS_AT_ONCE = 1000  # their flows together stay below the solver's 32-bit numbers


def max_flows(weights: np.ndarray) -> np.ndarray:
    """Return the maximum flow between all pairs of nodes: float32 (nodes, nodes).

    `weights` (nodes, nodes), row = target, column = source; what is not below the diagonal is
    ignored. Entry [i, j] is the maximum flow from i to j along edges to ever earlier nodes, exact
    up to rounding capacities to a millionth of the largest row sum. Raises `ValueError` for
    negative or infinite weights.
    """
    capacities = np.tril(np.asarray(weights, dtype=np.float64), k=-1)
    if not np.isfinite(capacities).all() or (capacities < 0).any():
        raise ValueError(
            "capacities must be finite and not negative: give raw or normalised masses"
        )
    nodes = len(capacities)
    largest = capacities.sum(axis=1).max(initial=0)
    flows = np.zeros((nodes, nodes), dtype=np.float32)
    if largest == 0:
        return flows
    units = np.rint(capacities * (UNITS / largest)).astype(np.int32)
    targets, sources = np.tril_indices(nodes, k=-1)
    for first in range(0, len(targets), PAIRS_AT_ONCE):
        chosen = slice(first, first + PAIRS_AT_ONCE)
        found = _flows_of_pairs(units, targets[chosen], sources[chosen])
        flows[targets[chosen], sources[chosen]] = found * (largest / UNITS)
    return flows


def flow_scores(
    model: PreTrainedModel,
    traces: Sequence[Trace],
    reduction: Reduction = "mean",
    *,
    sink: Literal["keep", "drop"] = "keep",
    batch_size: int | None = None,
    progress: bool = True,
) -> list[np.ndarray]:
    """Return the flows on each trace's attention graph: float32 (nodes, nodes).

    `reduction` and `sink` choose the graph, as in `attention.attention_graph`.
    """
    graphs = attention_graphs(
        model, traces, reduction, sink=sink, batch_size=batch_size, progress=progress
    )
    bar = tqdm(graphs, desc="attention flow", disable=None if progress else True)
    return [max_flows(graph.weights) for graph in bar]


def flow_graph(graph: StepGraph, flows: np.ndarray | None = None) -> StepGraph:
    """Replace a graph's weights by flows on it (worked out here if not given), rows normalised."""
    flows = max_flows(graph.weights) if flows is None else flows
    choice = f"on {graph.method}: {graph.choice}" if graph.choice else f"on {graph.method}"
    weights = normalise_rows(flows)
    return StepGraph(weights, graph.kinds, graph.texts, "flow", choice, graph.trace_id)


def flow_graphs(
    model: PreTrainedModel,
    traces: Sequence[Trace],
    reduction: Reduction = "mean",
    *,
    sink: Literal["keep", "drop"] = "keep",
    batch_size: int | None = None,
    progress: bool = True,
) -> list[StepGraph]:
    """Draw the flow graph of every trace; see `flow_scores`."""
    graphs = attention_graphs(
        model, traces, reduction, sink=sink, batch_size=batch_size, progress=progress
    )
    bar = tqdm(graphs, desc="attention flow", disable=None if progress else True)
    return [flow_graph(graph) for graph in bar]


def _flows_of_pairs(units: np.ndarray, targets: np.ndarray, sources: np.ndarray) -> np.ndarray:
    """Return the flow of every pair, int64 (pairs,), from whole capacities (nodes, nodes)."""
    sizes = targets - sources + 1
    bases = 2 + np.concatenate([[0], np.cumsum(sizes)[:-1]])  # 0: common source, 1: common sink
    rows, columns, values = [], [], []
    for target, source, size, base in zip(targets, sources, sizes, bases, strict=True):
        above, below = np.tril_indices(size, k=-1)
        rows.append(base + above)
        columns.append(base + below)
        values.append(units[source : target + 1, source : target + 1][above, below])
    entries, exits = bases + sizes - 1, bases
    wide = np.full(len(targets), UNITS + len(units), dtype=np.int32)  # never the narrowest place
    network = csr_matrix(
        (
            np.concatenate([*values, wide, wide]),
            (
                np.concatenate([*rows, np.zeros_like(entries), exits]),
                np.concatenate([*columns, entries, np.ones_like(exits)]),
            ),
        ),
        shape=(2 + sizes.sum(),) * 2,
    )
    network.eliminate_zeros()
    flow = maximum_flow(network, 0, 1, method="dinic").flow
    return flow[[0]].toarray()[0, entries].astype(np.int64)
