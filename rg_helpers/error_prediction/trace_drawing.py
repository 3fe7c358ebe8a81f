"""One method's graph of a trace, with the numbers of every node in every layer and head.

Whatever the method fits or chooses is fixed once, on the fit traces alone: heads and layers by
their gold edges where gold is known, else all are averaged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from rg_helpers.error_prediction.step_numbers import ROW_NUMBERS, row_numbers
from rg_helpers.graphs.method import Axes, Given, Method
from rg_helpers.graphs.methods import Part, best_part, describe_part, reduce_scores
from rg_helpers.graphs.step_graph import normalise_rows
from rg_helpers.traces import Trace


@dataclass(frozen=True, eq=False)
class DrawnTrace:
    """What a method says of one trace.

    `weights` float32 (nodes, nodes) are the graph's, normalised. `table` float32 (nodes, parts * 6)
    holds the `ROW_NUMBERS` of the graph itself and of every layer or head, named by `names`.
    `choice` says what was read of the model.
    """

    weights: np.ndarray
    table: np.ndarray
    names: tuple[str, ...]
    choice: str


class TraceDrawer:
    """Draws traces by one method; what has to be fitted is fitted when the first one is drawn.

    `given.fit` is fitted on; `gold` says whether its edges are known, so that heads can be chosen.
    """

    def __init__(self, way: Method, given: Given, gold: bool = False) -> None:
        self.way, self.given, self.gold = way, given, gold
        self._prepared: tuple[Any, Part | None] | None = None

    def draw(self, traces: Sequence[Trace], batch_size: int | None = None) -> list[DrawnTrace]:
        """Return what the method says of every trace, in their order."""
        fitted, part = self._prepare()
        given = replace(self.given, traces=traces, batch_size=batch_size)
        return [
            drawn_trace(trace, scores, self.way.axes, part)
            for trace, scores in zip(traces, self.way.scores(given, fitted), strict=True)
        ]

    def _prepare(self) -> tuple[Any, Part | None]:
        if self._prepared is None:
            fitted, part = self.way.prepare(self.given), None
            if self.way.axes != "none":
                part = "mean"
                if self.gold:
                    fit = self.given.fit
                    scores = self.way.scores(replace(self.given, traces=fit.traces), fitted)
                    part = best_part(fit, scores, self.way.axes)
            self._prepared = fitted, part
        return self._prepared


def drawn_trace(
    trace: Trace, scores: np.ndarray, axes: Axes = "none", part: Part | None = None
) -> DrawnTrace:
    """Return what raw scores (..., nodes, nodes) with these axes say, reduced to a part of them."""
    reduced = reduce_scores(scores, axes, part)
    raw = reduced[None]
    if axes != "none":
        raw = np.concatenate([raw, scores.reshape(-1, *scores.shape[-2:])])
    numbers = row_numbers(raw, trace.kinds)  # (parts, nodes, 6)
    table = numbers.swapaxes(0, 1).reshape(len(trace.nodes), -1)
    return DrawnTrace(
        normalise_rows(reduced),
        np.ascontiguousarray(table),
        table_names(axes, scores.shape),
        describe_part(axes, part, scores.shape),
    )


def table_names(axes: Axes, shape: Sequence[int]) -> tuple[str, ...]:
    """Return the columns of a node table whose scores have this shape: the graph's own first."""
    parts = [""]
    if axes == "layers":
        parts += [f"layer {layer} " for layer in range(shape[0])]
    elif axes == "heads":
        parts += [f"layer {a} head {b} " for a in range(shape[0]) for b in range(shape[1])]
    return tuple(part + name for part in parts for name in ROW_NUMBERS)
