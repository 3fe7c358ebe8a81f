"""`GraphStack`: many graphs of similar size as one padded array, so that one operation serves all.

Graphs are sorted by size and cut into stacks small enough for the processor's cache; every metric
is then a handful of array operations a stack instead of thousands of Python steps a graph.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from rg_helpers.graphs.step_graph import StepGraph, normalise_rows
from rg_helpers.traces import KINDS

ENTRIES = 2**16  # matrix entries a stack: half a megabyte in float64


@dataclass(frozen=True)
class GraphStack:
    """Graphs padded to `nodes`, the size of the largest; row = target, column = source.

    `positions` (graphs,) says where each stands in the caller's list, `sizes` (graphs,) its true
    number of nodes, `kinds` (graphs, nodes) the index into `KINDS`, -1 beyond its size. `weights`
    (graphs, nodes, nodes) float32 are those drawn, `kept` those left after `top_k` or `threshold`,
    rows normalised again. Padding nodes have no edges.
    """

    positions: np.ndarray
    sizes: np.ndarray
    kinds: np.ndarray
    weights: np.ndarray
    kept: np.ndarray

    def __len__(self) -> int:
        return len(self.sizes)

    @property
    def nodes(self) -> int:
        """Return the padded number of nodes."""
        return self.weights.shape[-1]

    @cached_property
    def present(self) -> np.ndarray:
        """Return bool (graphs, nodes): True for nodes that are no padding."""
        return self.kinds >= 0

    @cached_property
    def edges(self) -> np.ndarray:
        """Return bool (graphs, nodes, nodes): the kept edges, row = target."""
        return self.kept > 0

    @cached_property
    def undirected(self) -> np.ndarray:
        """Return float64 (graphs, nodes, nodes): 1 where two nodes share a kept edge."""
        return (self.edges | self.edges.transpose(0, 2, 1)).astype(np.float64)

    def of_kind(self, *names: str) -> np.ndarray:
        """Return bool (graphs, nodes): True for nodes of the kinds named."""
        return np.isin(self.kinds, [KINDS.index(name) for name in names])

    def mean(self, values: np.ndarray, among: np.ndarray | None = None) -> np.ndarray:
        """Average (graphs, nodes) over the nodes `among` (default: all present); none gives 0."""
        among = self.present if among is None else among
        return share((values * among).sum(1), among.sum(1))

    def maximum(self, values: np.ndarray, among: np.ndarray | None = None) -> np.ndarray:
        """Return the largest value (graphs,) over the nodes `among`; values are not negative."""
        among = self.present if among is None else among
        return np.where(among, values, 0).max(1)

    def minimum(self, values: np.ndarray) -> np.ndarray:
        """Return the smallest value (graphs,) over all nodes present."""
        return np.where(self.present, values, np.inf).min(1)

    def deviation(self, values: np.ndarray, among: np.ndarray | None = None) -> np.ndarray:
        """Return the population standard deviation (graphs,) over the nodes `among`."""
        mean = self.mean(values, among)
        return np.sqrt(self.mean((values - mean[:, None]) ** 2, among))


def share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Divide, and give 0 where there is nothing to divide by: the rule of all features here."""
    part, whole = np.broadcast_arrays(np.asarray(part, np.float64), np.asarray(whole, np.float64))
    return np.divide(part, whole, out=np.zeros(whole.shape), where=whole != 0)


def graph_stacks(
    graphs: Sequence[StepGraph],
    top_k: int | None = 3,
    threshold: float | None = None,
    entries: int = ENTRIES,
) -> Iterator[GraphStack]:
    """Yield the graphs in stacks of similar size, at most `entries` matrix entries each.

    `threshold` keeps edges of at least this weight, `top_k` then each node's strongest sources
    (ties: the earlier), exactly as `StepGraph.threshold` and `StepGraph.top_k`; None keeps all.
    Raises `ValueError` for a graph without nodes and for settings that keep nothing.
    """
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k keeps at least one source per node, got {top_k}; None keeps all")
    if threshold is not None and not 0 < threshold <= 1:
        raise ValueError(f"threshold {threshold} keeps all or nothing: choose one in (0, 1]")
    for position, graph in enumerate(graphs):
        if len(graph) == 0:
            raise ValueError(
                f"graph {position} (trace {graph.trace_id!r}) has no nodes: leave it out"
            )
    order = sorted(range(len(graphs)), key=lambda position: len(graphs[position]), reverse=True)
    start = 0
    while start < len(order):
        nodes = len(graphs[order[start]])
        stop = start + max(1, entries // nodes**2)
        yield _stack([graphs[position] for position in order[start:stop]], order[start:stop], top_k,
                     threshold)  # fmt: skip
        start = stop


def _stack(
    graphs: Sequence[StepGraph], positions: list[int], top_k: int | None, threshold: float | None
) -> GraphStack:
    sizes = np.array([len(graph) for graph in graphs])
    nodes = sizes.max()
    weights = np.zeros((len(graphs), nodes, nodes), dtype=np.float32)
    kinds = np.full((len(graphs), nodes), -1, dtype=np.int8)
    numbers = {kind: number for number, kind in enumerate(KINDS)}
    for row, graph in enumerate(graphs):
        size = len(graph)
        weights[row, :size, :size] = graph.weights
        kinds[row, :size] = [numbers[kind] for kind in graph.kinds]
    kept = weights
    if threshold is not None:
        kept = normalise_rows(np.where(kept >= threshold, kept, 0))
    if top_k is not None:
        kept = normalise_rows(_strongest(kept, top_k))
    return GraphStack(np.array(positions), sizes, kinds, weights, kept)


def _strongest(weights: np.ndarray, k: int) -> np.ndarray:
    """Keep the k largest entries of every row; of equal ones the first."""
    left = weights.copy()
    chosen = np.zeros_like(weights)
    for _ in range(min(k, weights.shape[-1])):
        best = left.argmax(-1)[..., None]
        np.put_along_axis(chosen, best, np.maximum(np.take_along_axis(left, best, -1), 0), -1)
        np.put_along_axis(left, best, -1, -1)
    return np.where(chosen > 0, weights, 0)
