"""Graphs as columns for classifiers: one row a trace, whatever is scaled is scaled in the fold.

The features of `rg_helpers.features` describe the graph as a whole; the numbers of `step_numbers`,
summed up over the written steps, say where a single step stands out. Features of rewired graphs are
a control: the same sizes, degrees and weights, but nothing that knows what follows from what.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rg_helpers.artefacts import sha256_of
from rg_helpers.comparison.stages import key_of, source_hash
from rg_helpers.error_prediction.graph_blocks import GraphBlock
from rg_helpers.error_prediction.kept_arrays import Arrays, kept_arrays
from rg_helpers.error_prediction.step_numbers import (
    TEXT_NUMBERS,
    over_steps,
    overlap,
    text_numbers,
    written,
)
from rg_helpers.features import DEFAULT_SETS, FEATURES, graph_features
from rg_helpers.graphs.controls import rewired_graph
from rg_helpers.graphs.step_graph import StepGraph
from rg_helpers.traces import Trace

DENSE = 0.5  # share of possible edges above which weights are moved instead of edges swapped


@dataclass(frozen=True, eq=False)
class Columns:
    """Features of all traces: float64 (traces, columns), finite, and the columns' names."""

    values: np.ndarray
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.values.shape[1:] != (len(self.names),):
            raise ValueError(f"{len(self.names)} names for columns {self.values.shape}")

    def where(self, chosen: np.ndarray) -> Columns:
        """Return the rows that indices choose."""
        return Columns(self.values[chosen], self.names)

    def named(self, names: Sequence[str]) -> np.ndarray:
        """Return the named columns: float64 (traces, names)."""
        missing = [name for name in names if name not in self.names]
        if missing:
            raise ValueError(f"no column {missing[0]!r}: there are {', '.join(self.names)}")
        return self.values[:, [self.names.index(name) for name in names]]


def graph_columns(
    block: GraphBlock, folder: Path | None = None, seed: int = 0
) -> dict[str, Columns]:
    """Return a method's columns: `wiring`, `rewired` and `steps`.

    `wiring`: the features of its graphs; `rewired`: the same of rewired graphs; `steps`: numbers of
    single steps in all layers and heads, summed up. Kept in `folder` if there is one.
    """
    key = key_of(
        graphs=sha256_of(*(graph.weights.tobytes() for graph in block.graphs)),
        kinds=[graph.kinds for graph in block.graphs],
        source=source_hash("rg_helpers.features", "rg_helpers.graphs.controls"),
        seed=seed,
    )

    def make() -> Arrays:
        control = [rewired(graph, seed) for graph in block.graphs]
        table = graph_features(block.graphs, DEFAULT_SETS, progress=False)
        null = graph_features(control, DEFAULT_SETS, progress=False)
        names = [name for name in table.columns if not FEATURES[name].constant]
        arrays = {"wiring": table[names].to_numpy(), "rewired": null[names].to_numpy()}
        return Arrays(arrays, {"names": json.dumps(names)})

    path = folder / f"columns_{block.method}.safetensors" if folder else None
    found = kept_arrays(path, key, make)
    names = tuple(json.loads(found.words["names"]))
    columns = {name: Columns(found.arrays[name], names) for name in ("wiring", "rewired")}
    tables = [written(t, g.kinds) for t, g in zip(block.tables, block.graphs, strict=True)]
    values, words = over_steps(tables, block.names)
    return columns | {"steps": Columns(values, tuple(words))}


def rewired(graph: StepGraph, seed: int = 0) -> StepGraph:
    """Return the rewired control: edges swapped in sparse graphs, weight moved in dense ones."""
    possible = len(graph) * (len(graph) - 1) / 2
    dense = possible > 0 and (graph.weights > 0).sum() > DENSE * possible
    return rewired_graph(graph, seed, "strength" if dense else "degree")


def text_columns(traces: Sequence[Trace]) -> Columns:
    """Return the text's own numbers, summed up over steps; no model is asked."""
    values, words = over_steps([text_numbers(trace) for trace in traces], list(TEXT_NUMBERS))
    return Columns(values, tuple(words))


def agreement_tables(blocks: Mapping[str, GraphBlock], text: str = "text") -> list[np.ndarray]:
    """Return, per trace, how far each model graph and the text graph agree on every written step.

    float32 (steps, other methods), in the order of `blocks`: low where a step looks elsewhere than
    its own words point.
    """
    others = [block for name, block in blocks.items() if name != text]
    tables = []
    for index, graph in enumerate(blocks[text].graphs):
        rows = np.stack([overlap(block.graphs[index], graph) for block in others], axis=1)
        tables.append(written(rows, graph.kinds))
    return tables
