"""Controls: graphs that know nothing about content, which every drawn graph must beat.

Attention falls off with distance and piles up on early tokens (Xiao et al. 2023, arXiv
2309.17453), and true dependencies are often near, so a graph can look right for no reason.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from rg_helpers.artefacts import sha256_of
from rg_helpers.graphs.step_graph import StepGraph, normalise_rows

Key = tuple[object, ...]


def previous_step_graph(graph: StepGraph) -> StepGraph:
    """Return the chain over the same nodes: every node follows from the one just before it."""
    return _control(graph, np.eye(len(graph), k=-1), "previous step")


def random_graph(graph: StepGraph, seed: int = 0) -> StepGraph:
    """Return uniform random weights over the same nodes; seeded by `seed` and the trace id."""
    weights = _generator(graph, seed).random((len(graph), len(graph)))
    return _control(graph, weights, "random", f"seed {seed}")


def rewired_graph(
    graph: StepGraph,
    seed: int = 0,
    keep: Literal["degree", "strength"] = "degree",
    swaps_per_node: int = 400,
) -> StepGraph:
    """Return a random graph with the same degrees: who is connected to whom is shuffled.

    Two edges a -> b, c -> d become c -> b, a -> d where both still point forwards and do not exist
    yet (Maslov & Sneppen 2002). `keep="degree"`, for sparse graphs: every target keeps its number
    of sources and their weights, every source its number of targets. `keep="strength"`, for dense
    graphs, where no edge is missing: a random part of the weight is moved, so that every row sum
    and every column sum stays what it was. With few `swaps_per_node` much of the graph is left
    standing, and the control looks better than it is.
    """
    generator = _generator(graph, seed)
    weights = graph.weights.astype(np.float64)
    if keep == "degree":
        _swap_edges(weights, generator, swaps_per_node * len(graph))
    elif keep == "strength":
        _move_weight(weights, generator, swaps_per_node * len(graph))
    else:
        raise ValueError(f"keep={keep!r}: expected 'degree' or 'strength'")
    return _control(graph, weights, "rewired", f"same {keep}, seed {seed}, of {graph.method}")


@dataclass(frozen=True)
class PositionOnly:
    """How often a gold edge joins two positions, counted on other problems.

    The tables run from coarse to fine: kinds of both nodes; also their distance; also where each
    stands within prompt or solution; also how long both are. A fine count is trusted as
    far as it has been seen: its rate is shrunk towards the coarser one by `prior` pairs. Nothing is
    read but positions, so what it recovers could be recovered without looking at the model.
    """

    tables: tuple[dict[Key, tuple[float, float]], ...]  # key -> (gold edges, pairs)
    prior: float = 5.0

    @staticmethod
    def fit(gold: Sequence[StepGraph], prior: float = 5.0) -> PositionOnly:
        """Count gold edges by position; the graphs must be of other problems than those scored."""
        if not gold:
            raise ValueError("position-only needs gold graphs to count, got none")
        counts: list[dict[Key, list[float]]] = [defaultdict(lambda: [0.0, 0.0]) for _ in range(4)]
        for graph in gold:
            keys = _position_keys(graph.kinds)
            for (target, source), levels in keys.items():
                edge = float(graph.weights[target, source] > 0)
                for table, key in zip(counts, levels, strict=True):
                    table[key][0] += edge
                    table[key][1] += 1
        tables = tuple({key: (e, n) for key, (e, n) in table.items()} for table in counts)
        return PositionOnly(tables, prior)

    def graph(self, graph: StepGraph) -> StepGraph:
        """Return the position-only graph over the nodes of `graph`, whose weights are not read."""
        weights = np.zeros((len(graph), len(graph)))
        for (target, source), levels in _position_keys(graph.kinds).items():
            rate = 0.0
            for table, key in zip(self.tables, levels, strict=True):
                edges, pairs = table.get(key, (0.0, 0.0))
                if pairs:
                    rate = (edges + self.prior * rate) / (pairs + self.prior)
            weights[target, source] = rate
        return _control(graph, weights, "position only")


def places(kinds: Sequence[str]) -> list[int]:
    """Return where each node stands within its part: prompt or solution, each counted from 0."""
    prompt = sum(kind in ("premise", "question") for kind in kinds)
    return [index if index < prompt else index - prompt for index in range(len(kinds))]


def _position_keys(kinds: tuple[str, ...]) -> dict[tuple[int, int], tuple[Key, ...]]:
    """Return, per (target, source) pair, its keys from coarse to fine."""
    prompt = sum(kind in ("premise", "question") for kind in kinds)
    written = len(kinds) - prompt
    place = places(kinds)
    keys = {}
    for target in range(prompt, len(kinds)):
        for source in range(target):
            joined = (kinds[target], kinds[source])
            placed = (*joined, place[target], place[source])
            keys[target, source] = (
                joined,
                (*joined, target - source),
                placed,
                (*placed, written, prompt),
            )
    return keys


def _swap_edges(weights: np.ndarray, generator: np.random.Generator, swaps: int) -> None:
    """Exchange the sources of random pairs of edges, in place."""
    edges = [tuple(edge) for edge in np.argwhere(weights > 0).tolist()]
    if len(edges) < 2:
        return
    for first, second in generator.integers(len(edges), size=(swaps, 2)).tolist():
        (b, a), (d, c) = edges[first], edges[second]
        if c < b and a < d and weights[b, c] == 0 and weights[d, a] == 0:
            weights[b, c], weights[b, a] = weights[b, a], 0
            weights[d, a], weights[d, c] = weights[d, c], 0
            edges[first], edges[second] = (b, c), (d, a)


def _move_weight(weights: np.ndarray, generator: np.random.Generator, moves: int) -> None:
    """Move weight round rectangles of eligible entries, in place; row and column sums stay."""
    nodes = len(weights)
    rows, columns = np.tril_indices(nodes, k=-1)
    if nodes < 3:
        return
    corners = generator.integers(len(rows), size=(moves, 2)).tolist()
    shares = generator.random(moves).tolist()
    w = weights.tolist()  # plain lists: ten times faster than single NumPy entries
    rows, columns = rows.tolist(), columns.tolist()
    for (first, second), share in zip(corners, shares, strict=True):
        i, j, k, m = rows[first], columns[first], rows[second], columns[second]
        if i == k or j == m or m >= i or j >= k:
            continue
        most = min(w[i][j], w[k][m])
        least = -min(w[i][m], w[k][j])
        moved = least + share * (most - least)
        w[i][j] -= moved
        w[k][m] -= moved
        w[i][m] += moved
        w[k][j] += moved
    weights[:] = np.maximum(w, 0)


def _generator(graph: StepGraph, seed: int) -> np.random.Generator:
    return np.random.default_rng(int(sha256_of(str(seed), graph.trace_id)[:16], 16))


def _control(graph: StepGraph, weights: np.ndarray, method: str, choice: str = "") -> StepGraph:
    return replace(graph, weights=normalise_rows(weights), method=method, choice=choice)
