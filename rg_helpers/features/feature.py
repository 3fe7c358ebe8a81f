"""`Feature`: what one number says about a graph, so that no column stands without its meaning."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

GRAPHS = {
    "undirected": "edges kept by top_k or threshold, directions dropped",
    "directed": "edges kept by top_k or threshold, source -> target",
    "weighted": "edges kept by top_k or threshold with their weights, rows normalised again",
    "full": "all weights as drawn, nothing dropped",
    "symmetrised": "all weights as drawn, averaged with their transpose",
    "embeddings": "step embeddings alone, no edges",
    "embeddings on symmetrised": "step embeddings as signals on the symmetrised weights",
}


@dataclass(frozen=True)
class Feature:
    """One named number of a graph.

    `meaning` is one line without a full stop, `set` the group it is computed with, `source` where
    it comes from, `graph` which version of the graph it reads (a key of `GRAPHS`). `note` says what
    a user must know before trusting it: "constant on a DAG", "equals x", what an undefined value
    is replaced by. `constant` marks those that cannot differ between graphs without cycles.
    Raises `ValueError` for a graph version that does not exist.
    """

    name: str
    meaning: str
    set: str
    source: str
    graph: str
    note: str = ""
    constant: bool = False

    def __post_init__(self) -> None:
        if self.graph not in GRAPHS:
            raise ValueError(
                f"feature {self.name}: graph {self.graph!r} is unknown: use {', '.join(GRAPHS)}"
            )


def feature_table(
    set: str, rows: Iterable[tuple[str, str, str, str] | tuple[str, str, str, str, str]]
) -> dict[str, Feature]:
    """Return features by name from rows (name, meaning, graph, source[, note]).

    A note that begins with "constant" marks the feature as constant on every DAG. Raises
    `ValueError` where a name stands twice.
    """
    table: dict[str, Feature] = {}
    for name, meaning, graph, source, *rest in rows:
        if name in table:
            raise ValueError(f"feature {name} is listed twice in the set {set}")
        note = rest[0] if rest else ""
        table[name] = Feature(
            name, meaning, set, source, graph, note, constant=note.startswith("constant")
        )
    return table
