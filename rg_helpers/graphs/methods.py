"""Every way to draw a reasoning graph by its name: one argument chooses.

    graphs = draw_graphs(traces, "rollout", model)
    graphs = draw_graphs(traces, "attention", model, fit=FitData(fit_traces, fit_gold))

`METHODS` says of every method what it measures, where it comes from, whether it has layers or
heads, and what it needs. The methods themselves live in a file each; they are imported when used.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from rg_helpers.edge_recovery import GraphSet, best_heads
from rg_helpers.graphs.method import NEEDS, Axes, FitData, Given, Method
from rg_helpers.graphs.method_table import METHODS
from rg_helpers.graphs.step_graph import StepGraph, normalise_rows
from rg_helpers.traces import Trace

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

    from rg_helpers.problems import Problem

__all__ = [
    "METHODS",
    "NEEDS",
    "FitData",
    "Given",
    "Method",
    "best_part",
    "describe_part",
    "draw_graphs",
    "find_method",
    "reduce_scores",
]

Part = Literal["mean", "max"] | Sequence[int] | Sequence[tuple[int, int]]
MOST_HEADS = 4  # averaged when heads are chosen on fit traces


def find_method(name: str) -> Method:
    """Return the method called `name`; an unknown name is answered with the nearest ones."""
    if name in METHODS:
        return METHODS[name]
    near = difflib.get_close_matches(name.lower().replace(" ", "_"), METHODS, n=2, cutoff=0.5)
    hint = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
    raise ValueError(f"unknown method {name!r}: {hint}there are {', '.join(METHODS)}")


def draw_graphs(
    traces: Sequence[Trace],
    method: str = "attention",
    model: PreTrainedModel | None = None,
    tokenizer: PreTrainedTokenizerFast | None = None,
    fit: FitData | tuple[Sequence[Trace], Sequence[StepGraph]] | None = None,
    *,
    problems: Sequence[Problem] = (),
    judge: Mapping[str, Any] | None = None,
    part: Part | None = None,
    batch_size: int | None = None,
    progress: bool = True,
    **options: Any,
) -> list[StepGraph]:
    """Draw the graph of every trace by the method named.

    `part` says which layers or heads of methods that have them: "mean", "max", a list of layers, or
    a list of (layer, head) pairs, which are averaged. Without it they are chosen on `fit` (the best
    layer, or up to four heads, by AUROC against `fit`'s gold graphs); without `fit` it is the mean.
    `options` go to the method's own scoring function. Raises `ValueError` for an unknown method and
    for whatever the method needs and was not given.
    """
    chosen = find_method(method)
    if fit is not None and not isinstance(fit, FitData):
        fit = FitData(*fit)
    by_id = {problem.problem_id: problem for problem in problems}
    given = Given(traces, model, tokenizer, fit, by_id, judge, batch_size, progress, options)
    fitted = chosen.prepare(given)
    if part is None and chosen.axes != "none":
        part = "mean" if fit is None else _best_part(chosen, given, fitted)
    elif part is not None and chosen.axes == "none":
        raise ValueError(
            f"method {method!r} has no layers or heads, so part={part!r} means nothing"
        )
    graphs = []
    for trace, scores in zip(traces, chosen.scores(given, fitted), strict=True):
        weights = normalise_rows(reduce_scores(scores, chosen.axes, part))
        choice = describe_part(chosen.axes, part, scores.shape)
        graphs.append(
            StepGraph(weights, trace.kinds, trace.texts, chosen.name, choice, trace.trace_id)
        )
    return graphs


def reduce_scores(scores: np.ndarray, axes: Axes, part: Part | None) -> np.ndarray:
    """Reduce raw scores (..., nodes, nodes) over layers and heads to (nodes, nodes).

    "mean" and "max" take the raw scores, so that what is strong counts more; chosen layers or heads
    are scaled to rows of one first, so that all of them count alike.
    """
    if axes == "none":
        return scores
    if part in ("mean", "max"):
        over = tuple(range(scores.ndim - 2))
        return scores.mean(axis=over) if part == "mean" else scores.max(axis=over)
    wanted = 1 if axes == "layers" else 2
    indices = [np.atleast_1d(index) for index in part or ()] if not isinstance(part, str) else []
    if not indices or any(len(index) != wanted for index in indices):
        form = "a list of layers" if axes == "layers" else "a list of (layer, head) pairs"
        raise ValueError(f"part={part!r}: expected 'mean', 'max' or {form}")
    for index in indices:
        if any(not 0 <= i < size for i, size in zip(index, scores.shape, strict=False)):
            raise ValueError(
                f"part {tuple(index.tolist())} does not exist: scores have {_sizes(scores.shape)}"
            )
    return np.mean([normalise_rows(scores[tuple(index)]) for index in indices], axis=0)


def describe_part(axes: Axes, part: Part | None, shape: Sequence[int]) -> str:
    """Say in words which part of the model was read."""
    if axes == "none":
        return ""
    if isinstance(part, str):
        return f"{part} of {_sizes(shape)}"
    names = ("layer", "head")
    return ", ".join(
        " ".join(f"{name} {i}" for name, i in zip(names, np.atleast_1d(index), strict=False))
        for index in part or ()
    )


def best_part(
    fit: FitData, scores: Sequence[np.ndarray], axes: Axes, most: int = MOST_HEADS
) -> list[int] | list[tuple[int, int]]:
    """Return the layer, or the up to `most` heads, whose graphs recover fit's gold best (AUROC).

    `scores` are the raw scores of `fit.traces`.
    """
    stacked = [score[:, None] if axes == "layers" else score for score in scores]
    data = GraphSet(fit.gold, stacked, [trace.problem_id for trace in fit.traces])
    chosen = best_heads(data, most if axes == "heads" else 1)
    return [layer for layer, _ in chosen] if axes == "layers" else chosen


def _best_part(method: Method, given: Given, fitted: Any) -> Part:
    fit = given.fit
    on_fit = replace(given, traces=fit.traces)
    return best_part(fit, method.scores(on_fit, fitted), method.axes)


def _sizes(shape: Sequence[int]) -> str:
    layers = f"{shape[0]} layers"
    return layers if len(shape) == 3 else f"{layers} x {shape[1]} heads"
