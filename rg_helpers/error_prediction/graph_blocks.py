"""The graphs of one method on all traces, drawn part by part and kept.

Heads and layers are chosen by gold edges of the fit traces where gold is known, else averaged;
clusters, centres and neurons are fitted on the fit traces. All of this happens before any fold is
made, on other problems than those scored, and reads no label of correctness.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tqdm.auto import tqdm

from rg_helpers.comparison.stages import key_of, model_hash, source_hash
from rg_helpers.error_prediction.fit_traces import FitTraces
from rg_helpers.error_prediction.kept_arrays import Arrays, kept_arrays, traces_hash
from rg_helpers.error_prediction.trace_drawing import DrawnTrace, TraceDrawer
from rg_helpers.graphs.method import Given
from rg_helpers.graphs.methods import find_method
from rg_helpers.graphs.step_graph import StepGraph
from rg_helpers.traces import Trace

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

    from rg_helpers.problems import Problem

PART_TRACES = 100
DRAWING = ("rg_helpers.graphs.methods", "rg_helpers.error_prediction.step_numbers")


@dataclass(frozen=True, eq=False)
class GraphBlock:
    """One method's graphs, one a trace, and the numbers of every node in every layer and head.

    `tables` holds float32 (nodes, parts * 6) a trace, named by `names`; the first six are those of
    the graph itself. `choice` says what was read of the model.
    """

    method: str
    choice: str
    graphs: tuple[StepGraph, ...]
    tables: tuple[np.ndarray, ...]
    names: tuple[str, ...]

    def where(self, chosen: np.ndarray) -> GraphBlock:
        """Return the block of the traces that indices choose."""
        return replace(
            self,
            graphs=tuple(self.graphs[i] for i in chosen),
            tables=tuple(self.tables[i] for i in chosen),
        )


def graph_block(
    traces: Sequence[Trace],
    method: str,
    model: PreTrainedModel | None = None,
    tokenizer: PreTrainedTokenizerFast | None = None,
    fit: FitTraces | None = None,
    *,
    problems: Sequence[Problem] = (),
    folder: Path | None = None,
    model_key: str | None = None,
    progress: bool = True,
) -> GraphBlock:
    """Draw a method's graphs, `PART_TRACES` at a time, or read from `folder` what is there.

    `model_key` is `model_hash(model)` where that is known already. Raises `ValueError` if a problem
    is fitted on and scored, or the method needs what was not given.
    """
    way = find_method(method)
    if fit is not None:
        fit.check_apart(traces)
    known = {problem.problem_id: problem for problem in (*problems, *(fit.problems if fit else ()))}
    given = Given(
        (), model, tokenizer, fit.data if fit else None, known, progress=False
    )  # fmt: skip
    own = (f"rg_helpers.graphs.{way.module}",) if way.module else ()
    if model is not None and "model" in way.needs and model_key is None:
        model_key = model_hash(model)
    shared = {
        "method": method,
        "model": model_key if "model" in way.needs else None,
        "fit": (fit.hash, fit.gold) if fit and (way.fit or way.axes != "none") else None,
        "source": source_hash(*DRAWING, *own),
    }
    drawer = TraceDrawer(way, given, bool(fit and fit.gold))
    parts = []
    bar = tqdm(total=len(traces), desc=f"{method} graphs", disable=None if progress else True)
    with bar:
        for first in range(0, len(traces), PART_TRACES):
            part = traces[first : first + PART_TRACES]
            path = folder / f"{method}-{first:06d}.safetensors" if folder else None
            key = key_of(traces=traces_hash(part), **shared)
            found = kept_arrays(path, key, lambda: _packed(drawer.draw(part)))  # noqa: B023
            parts.append(_unpacked(found, part, method))
            bar.update(len(part))
    return replace(
        parts[0],
        graphs=tuple(graph for part in parts for graph in part.graphs),
        tables=tuple(table for part in parts for table in part.tables),
    )


def _packed(drawn: Sequence[DrawnTrace]) -> Arrays:
    arrays = {
        "weights": np.concatenate([one.weights.ravel() for one in drawn]),
        "tables": np.concatenate([one.table for one in drawn]),
    }
    return Arrays(arrays, {"choice": drawn[0].choice, "names": json.dumps(drawn[-1].names)})


def _unpacked(found: Arrays, traces: Sequence[Trace], method: str) -> GraphBlock:
    sizes = np.array([len(trace.nodes) for trace in traces])
    weights = np.split(found.arrays["weights"], np.cumsum(sizes**2)[:-1])
    tables = np.split(found.arrays["tables"], np.cumsum(sizes)[:-1])
    choice = found.words["choice"]
    graphs = tuple(
        StepGraph(w.reshape(n, n), t.kinds, t.texts, method, choice, t.trace_id)
        for w, n, t in zip(weights, sizes, traces, strict=True)
    )
    return GraphBlock(
        method, choice, graphs, tuple(tables), tuple(json.loads(found.words["names"]))
    )
