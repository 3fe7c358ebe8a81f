"""Graphs as numbers: `graph_features` makes a table of step graphs, `FEATURES` says what it means.

    table = graph_features(graphs, sets=("networkx", "dag"))     # one row a graph
    print(FEATURES["dead_end_share"].meaning)

A drawn graph is dense: everything that counts or follows edges reads those that `top_k` (or
`threshold`) leaves, everything that adds up weights reads all of them; `Feature.graph` says which.
No value is ever NaN: where a metric is undefined (a single node, no edges, a graph in pieces) it
has the value that its module's docstring states, most often 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from rg_helpers.features.dag_metrics import DAG_FEATURES, dag_metrics
from rg_helpers.features.feature import GRAPHS, Feature
from rg_helpers.features.networkx_metrics import NETWORKX_FEATURES, networkx_metrics
from rg_helpers.features.spectra import SIGNAL_FEATURES, SPECTRA_FEATURES, signal_spectra, spectra
from rg_helpers.features.stacks import GraphStack, graph_stacks
from rg_helpers.features.topology import TOPOLOGY_FEATURES, topology_features
from rg_helpers.features.weisfeiler_lehman import WEISFEILER_LEHMAN_FEATURES, weisfeiler_lehman
from rg_helpers.graphs.step_graph import StepGraph

__all__ = ["DEFAULT_SETS", "FEATURES", "GRAPHS", "SETS", "Feature", "graph_features",
           "topology_features"]  # fmt: skip

_OF_STACKS: Mapping[str, Callable[[GraphStack], dict[str, np.ndarray]]] = {
    "networkx": networkx_metrics,
    "dag": dag_metrics,
    "spectra": spectra,
    "weisfeiler_lehman": weisfeiler_lehman,
}
_TABLES = {
    "networkx": NETWORKX_FEATURES,
    "dag": DAG_FEATURES,
    "spectra": SPECTRA_FEATURES,
    "signal": SIGNAL_FEATURES,
    "topology": TOPOLOGY_FEATURES,
    "weisfeiler_lehman": WEISFEILER_LEHMAN_FEATURES,
}
SETS = tuple(_TABLES)
DEFAULT_SETS = ("networkx", "dag", "spectra")
FEATURES: Mapping[str, Feature] = MappingProxyType(
    {name: feature for table in _TABLES.values() for name, feature in table.items()}
)


def graph_features(
    graphs: Sequence[StepGraph],
    sets: Sequence[str] = DEFAULT_SETS,
    embeddings: Sequence[np.ndarray] | None = None,
    top_k: int | None = 3,
    threshold: float | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """Return one row a graph (index `trace_id`, in the order given), one float64 column a feature.

    `sets` names the groups of features (see `SETS`). "signal" and "topology" need `embeddings`, one
    array (nodes, width) per graph; "topology" also needs gudhi. `top_k` and `threshold` choose the
    edges as in `StepGraph`; with both None every weight above zero is an edge. Nothing is fitted:
    a row depends on its own graph alone. Raises `ValueError` for unknown sets and for embeddings
    that are missing or do not fit.
    """
    sets = tuple(dict.fromkeys([sets] if isinstance(sets, str) else sets))
    unknown = [name for name in sets if name not in SETS]
    if unknown or not sets:
        raise ValueError(f"sets {unknown or 'empty'}: choose among {', '.join(SETS)}")
    signals = _checked_embeddings(graphs, sets, embeddings)
    names = [name for chosen in sets if chosen != "topology" for name in _TABLES[chosen]]
    table = np.zeros((len(graphs), len(names)))
    column = {name: number for number, name in enumerate(names)}
    silent = None if progress else True
    with tqdm(total=len(graphs), desc="features", unit="graph", disable=silent) as bar:
        for stack in graph_stacks(graphs, top_k, threshold):
            values: dict[str, np.ndarray] = {}
            for chosen in sets:
                if chosen in _OF_STACKS:
                    values |= _OF_STACKS[chosen](stack)
                elif chosen == "signal":
                    values |= signal_spectra(stack, [signals[row] for row in stack.positions])
            for name, value in values.items():
                table[stack.positions, column[name]] = value
            bar.update(len(stack))
    index = pd.Index([graph.trace_id for graph in graphs], name="trace_id")
    frame = pd.DataFrame(table, index=index, columns=names)
    if "topology" in sets:
        persistence = topology_features(signals, list(index), progress=progress)
        frame = pd.concat(
            [frame.reset_index(drop=True), persistence.reset_index(drop=True)], axis=1
        )
        frame.index = index
    return frame[[name for chosen in sets for name in _TABLES[chosen]]]


def _checked_embeddings(
    graphs: Sequence[StepGraph], sets: Sequence[str], embeddings: Sequence[np.ndarray] | None
) -> list[np.ndarray]:
    """Return the embeddings, one a graph, or none where no set asks for them."""
    asking = [name for name in sets if name in ("signal", "topology")]
    if not asking:
        return []
    if embeddings is None or len(embeddings) != len(graphs):
        given = "none were given" if embeddings is None else f"{len(embeddings)} were given"
        raise ValueError(
            f"{' and '.join(asking)} read step embeddings, one array (nodes, width) for each of "
            f"the {len(graphs)} graphs, but {given}: pass embeddings=..."
        )
    signals = [np.asarray(signal, dtype=np.float64) for signal in embeddings]
    for graph, signal in zip(graphs, signals, strict=True):
        if signal.ndim != 2 or len(signal) != len(graph) or not np.isfinite(signal).all():
            raise ValueError(
                f"embeddings of trace {graph.trace_id!r} have shape {signal.shape}: expected "
                f"finite numbers ({len(graph)}, width), one row a node"
            )
    return signals
