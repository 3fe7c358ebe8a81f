"""Transition graphs: a trace as a walk over clusters of steps, with revisits, loops and distances.

This is the cluster graph of the study that the course grew out of and of Topology of Reasoning
(2025, arXiv 2506.05744): its nodes are kinds of steps, not steps, so it can have cycles,
which a step graph cannot. How many clusters there are decides what counts as a revisit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import networkx
import numpy as np

from rg_helpers.graphs.clusters import StepClusters
from rg_helpers.traces import Trace


@dataclass(frozen=True, eq=False)
class TransitionGraph:
    """A trace as a walk over clusters.

    `path` is the cluster of each written step in order. `counts` says how often the walk goes from
    one cluster to another (or stays: a loop), `distances` how far apart their centroids are.
    """

    path: tuple[int, ...]
    counts: Mapping[tuple[int, int], int]
    distances: Mapping[tuple[int, int], float]

    @property
    def visits(self) -> dict[int, int]:
        """How many steps lie in each visited cluster, in the order of the first visit."""
        return dict(Counter(self.path))

    @property
    def loops(self) -> int:
        """Number of moves that stay in their cluster."""
        return sum(count for (start, end), count in self.counts.items() if start == end)

    @property
    def revisits(self) -> int:
        """Number of moves back to a cluster that was visited before and left since."""
        seen: set[int] = set()
        back = 0
        for before, now in pairwise((None, *self.path)):
            back += now != before and now in seen
            seen.add(now)
        return back

    @property
    def length(self) -> float:
        """Total distance walked, from centroid to centroid."""
        return float(sum(n * self.distances[edge] for edge, n in self.counts.items()))

    def to_networkx(self) -> networkx.DiGraph:
        """Return a `DiGraph` over clusters; nodes carry visits, edges count and distance."""
        graph = networkx.DiGraph()
        for cluster, visits in self.visits.items():
            graph.add_node(cluster, visits=visits)
        for (start, end), count in self.counts.items():
            graph.add_edge(start, end, count=count, distance=self.distances[start, end])
        return graph


def transition_graph(trace: Trace, labels: np.ndarray, fitted: StepClusters) -> TransitionGraph:
    """Return the walk of a trace's steps and answer; `labels` (nodes,) are of all its nodes."""
    if len(labels) != len(trace.nodes):
        raise ValueError(
            f"trace {trace.trace_id!r} has {len(trace.nodes)} nodes but {len(labels)} labels: give "
            "the labels that assign_steps returns for this trace"
        )
    path = tuple(int(label) for label in labels[len(trace.nodes) - len(trace.steps) :])
    counts = Counter(pairwise(path))
    return TransitionGraph(
        path, dict(counts), {edge: float(fitted.distances[edge]) for edge in counts}
    )
