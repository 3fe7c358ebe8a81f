"""`TypedGraph`: what a judge says of a trace - a role per node, a relation per edge.

Support and contradiction between steps follow LLM-MindMap (2025, arXiv 2505.13890), the roles of
sentences Thought Anchors (2025, arXiv 2506.19143); both are cut to what short solutions can show.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import networkx
import numpy as np

from rg_helpers.graphs.step_graph import StepGraph, normalise_rows
from rg_helpers.traces import Trace

ROLES = MappingProxyType(
    {
        "premise": "a given fact or rule",
        "question": "what is asked",
        "recall": "repeats a given fact",
        "plan": "says what to find out next",
        "calculation": "computes a value",
        "deduction": "concludes something from facts or rules",
        "check": "tests an earlier node",
        "correction": "takes an earlier node back",
        "answer": "states the final answer",
        "aside": "does not bear on the answer",
    }
)
GIVEN_ROLES = ("premise", "question", "aside")  # of nodes that were given, not written
RELATIONS = MappingProxyType(
    {
        "supports": "the target uses a value, fact or rule of the source",
        "leads_to": "the source asks for or plans the target",
        "refines": "the target says the same as the source, more exactly or corrected",
        "assumes": "the target takes the source for granted though nothing has shown it",
        "checks": "the target tests the source",
        "contradicts": "the target cannot be true together with the source",
    }
)
# A contradiction is no dependency: it stands in the typed graph alone.
RELATION_WEIGHTS = MappingProxyType(
    {relation: float(relation != "contradicts") for relation in RELATIONS}
)


@dataclass(frozen=True)
class TypedEdge:
    """An edge from an earlier node to a later one, its relation, and its weight in 0 to 1."""

    source: int
    target: int
    relation: str
    weight: float = 1.0


@dataclass(frozen=True)
class TypedGraph:
    """Roles and typed edges over the nodes of one trace.

    `roles` has one entry per node, None where the judge gave no valid one; `edges` are sorted by
    target, then source, one per pair of nodes, each from an earlier node to a written one.
    """

    trace_id: str
    kinds: tuple[str, ...]
    texts: tuple[str, ...]
    roles: tuple[str | None, ...]
    edges: tuple[TypedEdge, ...]
    model: str = ""

    def __len__(self) -> int:
        return len(self.kinds)

    def step_graph(self, relation_weights: Mapping[str, float] = RELATION_WEIGHTS) -> StepGraph:
        """Return the dependencies: edge weight times weight of its relation, rows normalised.

        w[i, j] = r(relation of j -> i) * w(j -> i), then each row divided by its sum. Relations
        that `relation_weights` does not name count 0. Raises `ValueError` for an unknown relation
        or a weight that is negative or not finite.
        """
        check_relation_weights(relation_weights)
        weights = np.zeros((len(self), len(self)))
        for edge in self.edges:
            factor = relation_weights.get(edge.relation, 0.0)
            weights[edge.target, edge.source] = factor * edge.weight
        return StepGraph(
            normalise_rows(weights), self.kinds, self.texts, "judge", self.model, self.trace_id
        )

    def to_networkx(self) -> networkx.DiGraph:
        """Return a `DiGraph` source -> target with kinds, texts, roles, relations and weights."""
        graph = networkx.DiGraph(method="judge", choice=self.model, trace_id=self.trace_id)
        for index, (kind, text, role) in enumerate(
            zip(self.kinds, self.texts, self.roles, strict=True)
        ):
            graph.add_node(index, kind=kind, text=text, role=role)
        for edge in self.edges:
            graph.add_edge(edge.source, edge.target, relation=edge.relation, weight=edge.weight)
        return graph


def typed_graph(
    trace: Trace,
    roles: Mapping[int, str],
    edges: Mapping[tuple[int, int], tuple[str, float]],
    model: str = "",
) -> TypedGraph:
    """Put validated roles (by node) and edges (by source, target) of a trace in order."""
    ordered = sorted(edges.items(), key=lambda item: (item[0][1], item[0][0]))
    return TypedGraph(
        trace_id=trace.trace_id,
        kinds=trace.kinds,
        texts=trace.texts,
        roles=tuple(roles.get(node) for node in range(len(trace.nodes))),
        edges=tuple(TypedEdge(*pair, relation, weight) for pair, (relation, weight) in ordered),
        model=model,
    )


def check_relation_weights(relation_weights: Mapping[str, float]) -> None:
    """Raise `ValueError` for a relation that does not exist or a weight that is no weight."""
    unknown = sorted(set(relation_weights) - set(RELATIONS))
    if unknown:
        raise ValueError(f"unknown relations {unknown}: use {', '.join(RELATIONS)}")
    for relation, weight in relation_weights.items():
        if not (np.isfinite(weight) and weight >= 0):
            raise ValueError(f"the weight of {relation!r} is {weight}: expected 0 or more")
