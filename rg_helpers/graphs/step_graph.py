"""`StepGraph`: a reasoning graph over premises, question, steps and answer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import networkx
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from rg_helpers.artefacts import atomic_path, read_json, write_json
from rg_helpers.traces import KINDS

_TOLERANCE = 1e-3  # half-precision models leave row sums a little off one


@dataclass(frozen=True, eq=False)
class StepGraph:
    """Weighted edges from earlier nodes (columns, sources) to later nodes (rows, targets).

    `weights` is a NumPy float32 array (nodes, nodes), strictly lower-triangular, not negative, and
    every row sums to one or, where a node has no source, to zero: `weights[i, j]` is the share of
    node i's support that comes from node j. `method` says how the graph was drawn ("attention",
    "gold", ...), `choice` which part of the model was read ("layer 2 head 3", "mean of 16 heads").
    Raises `ValueError` where any of this does not hold.
    """

    weights: np.ndarray
    kinds: tuple[str, ...]
    texts: tuple[str, ...]
    method: str
    choice: str = ""
    trace_id: str = ""

    def __post_init__(self) -> None:
        weights = np.array(self.weights, dtype=np.float32)  # a copy of its own, then read-only
        weights.setflags(write=False)
        object.__setattr__(self, "weights", weights)
        object.__setattr__(self, "kinds", tuple(self.kinds))
        object.__setattr__(self, "texts", tuple(self.texts))
        nodes = len(self.kinds)
        where = f"graph of trace {self.trace_id!r} ({self.method})"
        if weights.shape != (nodes, nodes) or len(self.texts) != nodes:
            raise ValueError(
                f"{where}: weights {weights.shape}, {nodes} kinds and {len(self.texts)} texts do "
                "not fit: expected a square matrix with one kind and one text per node"
            )
        unknown = sorted(set(self.kinds) - set(KINDS))
        if unknown:
            raise ValueError(f"{where}: unknown node kinds {unknown}: use {', '.join(KINDS)}")
        if not np.isfinite(weights).all() or (weights < 0).any():
            raise ValueError(
                f"{where}: weights must be finite and not negative; NaN often comes from a "
                "half-precision model, draw the graph in float32"
            )
        if np.triu(weights).any():
            target, source = np.argwhere(np.triu(weights))[0]
            raise ValueError(
                f"{where}: weight from node {source} to node {target} points to itself or "
                "backwards: rows are targets, columns are sources, so only entries below the "
                "diagonal may differ from zero (is the matrix transposed?)"
            )
        sums = weights.sum(axis=1)
        wrong = np.flatnonzero((sums > _TOLERANCE) & (np.abs(sums - 1) > _TOLERANCE))
        if wrong.size:
            raise ValueError(
                f"{where}: row {wrong[0]} sums to {sums[wrong[0]]:.4g}: rows sum to one or to "
                "zero; pass raw weights through normalise_rows first"
            )

    def __len__(self) -> int:
        return len(self.kinds)

    @property
    def edges(self) -> list[tuple[int, int]]:
        """Return (source, target) of every edge with weight above zero, by target, then source."""
        return [(int(source), int(target)) for target, source in np.argwhere(self.weights > 0)]

    def top_k(self, k: int) -> StepGraph:
        """Keep each node's `k` strongest sources (ties: the earlier) and normalise rows again."""
        if k < 1:
            raise ValueError(f"top_k keeps at least one source per node, got k={k}")
        strongest = np.argsort(-self.weights, axis=1, kind="stable")[:, :k]
        kept = np.zeros_like(self.weights)
        np.put_along_axis(kept, strongest, np.take_along_axis(self.weights, strongest, 1), axis=1)
        return replace(self, weights=normalise_rows(kept))

    def threshold(self, least: float) -> StepGraph:
        """Keep edges of at least weight `least` and normalise rows again."""
        kept = np.where(self.weights >= least, self.weights, 0)
        return replace(self, weights=normalise_rows(kept))

    def to_networkx(self) -> networkx.DiGraph:
        """Return a `DiGraph` source -> target; nodes carry kind and text, edges their weight."""
        graph = networkx.DiGraph(method=self.method, choice=self.choice, trace_id=self.trace_id)
        for index, (kind, text) in enumerate(zip(self.kinds, self.texts, strict=True)):
            graph.add_node(index, kind=kind, text=text)
        for source, target in self.edges:
            graph.add_edge(source, target, weight=float(self.weights[target, source]))
        return graph

    def save(self, path: str | Path) -> Path:
        """Write `<path>.safetensors` and `<path>.json`; see `save_graphs`."""
        return save_graphs(path, [self])

    @staticmethod
    def load(path: str | Path) -> StepGraph:
        """Read a graph written by `save`."""
        graphs = load_graphs(path)
        if len(graphs) != 1:
            raise ValueError(f"{path} holds {len(graphs)} graphs: read them with load_graphs")
        return graphs[0]


def normalise_rows(weights: np.ndarray, min_gap: int = 1) -> np.ndarray:
    """Keep entries at least `min_gap` below the diagonal and scale each row to sum to one.

    `weights` is (..., nodes, nodes), row = target; returned as float32. Rows with nothing eligible
    stay zero. `min_gap` 1 drops what a node gives to itself and to later nodes; 2 drops the node
    just before it as well, which looks past the recency that attention shows anyway.
    """
    if min_gap < 1:
        raise ValueError(f"min_gap must be at least 1 (no self-loops), got {min_gap}")
    kept = np.tril(np.asarray(weights, dtype=np.float64), k=-min_gap)
    sums = kept.sum(axis=-1, keepdims=True)
    return np.divide(kept, sums, out=np.zeros_like(kept), where=sums > 0).astype(np.float32)


def save_graphs(path: str | Path, graphs: Sequence[StepGraph]) -> Path:
    """Write many graphs: weights to `<path>.safetensors`, names and texts to `<path>.json`.

    Both are written atomically, the JSON last and with the other's hash, so that an interrupted
    write is seen on reading. Returns the path of the JSON file.
    """
    stem = _stem(path)
    tensors = {str(index): np.array(graph.weights) for index, graph in enumerate(graphs)}
    blob = save_tensors(tensors)
    with atomic_path(stem.with_name(stem.name + ".safetensors")) as temporary:
        temporary.write_bytes(blob)
    rows = [
        {
            "trace_id": graph.trace_id,
            "method": graph.method,
            "choice": graph.choice,
            "kinds": list(graph.kinds),
            "texts": list(graph.texts),
        }
        for graph in graphs
    ]
    description = {"weights_sha256": hashlib.sha256(blob).hexdigest(), "graphs": rows}
    return write_json(stem.with_name(stem.name + ".json"), description)


def load_graphs(path: str | Path) -> list[StepGraph]:
    """Read graphs written by `save_graphs`; every fault names the file and the cure."""
    stem = _stem(path)
    described = stem.with_name(stem.name + ".json")
    weights = stem.with_name(stem.name + ".safetensors")
    description = read_json(described)
    cure = "delete both files and draw the graphs again"
    if not weights.is_file():
        raise FileNotFoundError(f"{weights} is missing beside {described}: {cure}")
    blob = weights.read_bytes()
    try:
        if hashlib.sha256(blob).hexdigest() != description["weights_sha256"]:
            raise ValueError(
                f"{weights} and {described} do not belong together (an interrupted write?): {cure}"
            )
        tensors = load_tensors(blob)
        return [
            StepGraph(weights=tensors[str(index)], **row)
            for index, row in enumerate(description["graphs"])
        ]
    except (KeyError, TypeError, SafetensorError, json.JSONDecodeError) as error:
        raise ValueError(f"{described} is not a file of graphs ({error}): {cure}") from error


def _stem(path: str | Path) -> Path:
    path = Path(path)
    return path.with_suffix("") if path.suffix in (".json", ".safetensors") else path
