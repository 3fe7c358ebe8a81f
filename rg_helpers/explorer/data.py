"""What the explorer shows, as plain JSON: the text, its verdicts, gold and the drawn graphs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rg_helpers.explorer.packing import pack_weights, unpack_weights

if TYPE_CHECKING:
    from rg_helpers.graphs.step_graph import StepGraph
    from rg_helpers.problems import CheckedSolution, Problem
    from rg_helpers.traces import Trace

FORMAT = 1
GOLD = "gold"
WRITTEN = ("step", "answer")
EDGES_PER_LINE = 2  # which the first threshold keeps, on average
SMALLEST_THRESHOLD, THRESHOLD_STEP = 0.005, 0.005


def explorer_data(
    text: Problem | Trace,
    graphs: Mapping[str, StepGraph],
    *,
    heads: Mapping[str, np.ndarray] | None = None,
    gold: Any = None,
    checked: CheckedSolution | None = None,
    title: str = "",
) -> dict[str, Any]:
    """Return all that the explorer needs, ready for `json.dumps`.

    `text` is the problem or trace whose nodes are shown, `graphs` the drawn graphs by the name that
    the reader chooses them by. `heads` gives some of these names scores by layer, (layers, nodes,
    nodes), or by layer and head, (layers, heads, nodes, nodes); their rows are normalised here as
    `attention_graph` does, and every layer's mean over heads is added. `checked` marks wrong steps.
    `gold` is a `StepGraph` or the nodes of a problem; by default a problem's own parents or, for a
    trace, what `checked` says that each written line needs.

    Only edges into steps and the answer are kept: nothing in a prompt follows from anything. Raises
    `ValueError` where graphs, gold or verdicts do not belong to this text.
    """
    kinds, texts = [node.kind for node in text.nodes], [node.text for node in text.nodes]
    if not kinds or not graphs:
        raise ValueError(
            f"{len(kinds)} nodes and {len(graphs)} graphs: the explorer needs a text with nodes "
            "and at least one graph over them"
        )
    heads = dict(heads or {})
    unknown = sorted(set(heads) - set(graphs))
    if unknown or GOLD in graphs or not all(name.strip() for name in graphs):
        raise ValueError(
            f"graphs {list(graphs)} with heads of {list(heads)}: every name of heads must be one "
            f"of graphs, names must not be blank, and {GOLD!r} is given as gold=, not as a graph"
        )
    given = sum(kind not in WRITTEN for kind in kinds)
    steps = _verdicts(checked, len(kinds), given)
    truth = _gold_weights(text, gold, checked, kinds, given)
    methods = [
        _method(name, graph, heads.get(name), kinds, texts, given) for name, graph in graphs.items()
    ]
    frame = truth
    if frame is None:
        first = next(iter(graphs.values()))
        frame = _into_written(first.top_k(EDGES_PER_LINE).weights, given)
    return {
        "format": FORMAT,
        "title": title,
        "kinds": kinds,
        "texts": texts,
        "steps": steps,
        "positions": _positions(kinds, frame),
        "gold": None if truth is None else pack_weights(truth),
        "methods": methods,
    }


def method_named(data: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return the entry of a drawn graph; raises `ValueError` that lists the names there are."""
    for method in data["methods"]:
        if method["name"] == name:
            return method
    names = ", ".join(repr(method["name"]) for method in data["methods"])
    raise ValueError(f"there is no graph {name!r} here: choose among {names}")


def weights_of(
    data: Mapping[str, Any], name: str, layer: int | None = None, head: int | None = None
) -> np.ndarray:
    """Return the float32 (nodes, nodes) of a drawn graph, or of gold, as the explorer shows it.

    Without a layer, the graph as it was given; with a layer and no head, the layer's mean. Raises
    `ValueError` for a name, layer or head that is not there.
    """
    nodes = len(data["kinds"])
    if name == GOLD and data["gold"] is not None:
        return unpack_weights(data["gold"], nodes)
    method = method_named(data, name)
    if layer is None:
        return unpack_weights(method["weights"], nodes)
    layers, heads = method["layers"], method["heads"]
    if not 0 <= layer < layers or (head is not None and not 0 <= head < heads):
        raise ValueError(
            f"{name!r} has no layer {layer} head {head}: it holds {layers} layers of {heads} heads"
        )
    parts = unpack_weights(method["parts"], nodes, layers, heads + 1)
    return parts[layer, heads if head is None else head]


def first_threshold(weights: np.ndarray) -> float:
    """Return the threshold that keeps about two edges for every line that has any."""
    lines = int(weights.any(axis=1).sum())
    ranked = np.sort(weights[weights > 0])[::-1]
    if not lines:
        return SMALLEST_THRESHOLD
    last = float(ranked[min(EDGES_PER_LINE * lines, len(ranked)) - 1])
    steps = max(1, math.floor(last / THRESHOLD_STEP + 1e-6))  # rounded down, which keeps the last
    return round(min(1.0, steps * THRESHOLD_STEP), 3)


def _method(
    name: str,
    graph: StepGraph,
    scores: np.ndarray | None,
    kinds: Sequence[str],
    texts: Sequence[str],
    given: int,
) -> dict[str, Any]:
    if list(graph.kinds) != list(kinds) or list(graph.texts) != list(texts):
        raise ValueError(
            f"the graph {name!r} has {len(graph)} nodes, the text {len(kinds)}, or they are not "
            "the same: draw it over the very problem or trace that is shown"
        )
    weights = _into_written(graph.weights, given)
    method = {
        "name": name,
        "choice": graph.choice,
        "weights": pack_weights(weights),
        "threshold": first_threshold(weights),
        "layers": 0,
        "heads": 0,
        "parts": "",
    }
    if scores is not None:
        parts = _parts(name, np.asarray(scores), len(kinds))
        method |= {
            "layers": parts.shape[0],
            "heads": parts.shape[1] - 1,
            "parts": pack_weights(_into_written(parts, given)),
        }
    return method


def _parts(name: str, scores: np.ndarray, nodes: int) -> np.ndarray:
    """Return (layers, heads + 1, nodes, nodes), rows normalised; last in each layer its mean."""
    from rg_helpers.graphs.step_graph import normalise_rows

    if scores.ndim not in (3, 4) or scores.shape[-2:] != (nodes, nodes) or not scores.size:
        raise ValueError(
            f"heads of {name!r} have the shape {scores.shape}: expected (layers, {nodes}, {nodes}) "
            f"or (layers, heads, {nodes}, {nodes})"
        )
    if not np.isfinite(scores).all() or (np.tril(scores, -1) < 0).any():
        raise ValueError(f"heads of {name!r} must be finite and not negative below the diagonal")
    if scores.ndim == 3:
        return normalise_rows(scores[:, None])
    return normalise_rows(np.concatenate([scores, scores.mean(axis=1, keepdims=True)], axis=1))


def _gold_weights(
    text: Any, gold: Any, checked: Any, kinds: Sequence[str], given: int
) -> np.ndarray | None:
    if gold is None and hasattr(text.nodes[0], "parents"):
        gold = text.nodes
    if gold is None and checked is not None:
        parents = [()] * given + [step.needed for step in checked.steps]
    elif gold is None:
        return None
    elif hasattr(gold, "weights"):
        _same_kinds(gold.kinds, kinds)
        return _into_written(gold.weights, given)
    else:
        nodes = list(getattr(gold, "nodes", gold))
        _same_kinds([node.kind for node in nodes], kinds)
        parents = [node.parents for node in nodes]
    weights = np.zeros((len(kinds), len(kinds)), dtype=np.float32)
    for target, sources in enumerate(parents):
        if any(not 0 <= source < target for source in sources):
            raise ValueError(
                f"gold gives node {target} the parents {tuple(sources)}: a parent stands before it"
            )
        weights[target, list(sources)] = 1 / max(len(sources), 1)
    return _into_written(weights, given)


def _same_kinds(found: Sequence[str], kinds: Sequence[str]) -> None:
    if list(found) != list(kinds):
        raise ValueError(
            f"gold has {len(found)} nodes, the text {len(kinds)}, or of other kinds: give the gold "
            "graph of this very problem or trace"
        )


def _verdicts(checked: Any, nodes: int, given: int) -> list[dict[str, Any] | None]:
    if checked is None:
        return [None] * nodes
    if len(checked.steps) != nodes - given:
        raise ValueError(
            f"{len(checked.steps)} checked steps for {nodes - given} written nodes: check this "
            "text's own solution with check_solution"
        )
    return [None] * given + [
        {
            "verdict": step.verdict,
            "detail": step.detail,
            "ignored": step.ignored,
            "used": step.used,
        }
        for step in checked.steps
    ]


def _into_written(weights: np.ndarray, given: int) -> np.ndarray:
    """Drop edges into the prompt, the first `given` nodes; weights (..., nodes, nodes)."""
    kept = np.array(weights, dtype=np.float32)
    kept[..., :given, :] = 0
    return kept


def _positions(kinds: Sequence[str], weights: np.ndarray) -> list[list[float]]:
    from rg_helpers.plots.layers import layered_positions

    parents = [np.flatnonzero(row > 0).tolist() for row in weights]
    return [[round(x, 3), round(y, 3)] for x, y in layered_positions(kinds, parents)]
