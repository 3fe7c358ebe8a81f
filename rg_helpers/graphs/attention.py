"""Attention graphs: how much each step attends to the premises and steps before it.

An edge weight is association, not cause: that a step looks at another one does not say that it
uses it. The notebooks on interventions measure that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from rg_helpers.graphs.batches import masses_of_traces
from rg_helpers.graphs.step_graph import StepGraph, normalise_rows
from rg_helpers.step_attention import step_attention
from rg_helpers.traces import Trace

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Reduction = Literal["mean", "max"] | Sequence[tuple[int, int]]


def attention_masses(
    model: PreTrainedModel,
    traces: Sequence[Trace],
    *,
    layers: Sequence[int] | None = None,
    batch_size: int | None = None,
    progress: bool = True,
) -> list[np.ndarray]:
    """Return each trace's attention between nodes: float32 (layers, heads, nodes, nodes).

    Entry [l, h, i, j] is the attention that a token of node i pays, in layer l and head h, to all
    tokens of node j, averaged over the tokens of i. Rows sum to at most one; what is missing
    went to BOS and separators. Nothing is normalised and nothing dropped yet.

    Traces are batched by length; without a `batch_size` a batch is as large as a quarter of the
    free memory allows. Raises `ValueError` for traces without nodes or longer than the model's
    positions.
    """

    def run(*batch: torch.Tensor) -> torch.Tensor:
        return step_attention(model, *batch, layers=layers, keep_logits=False).mass

    return masses_of_traces(
        model, traces, run, title="attention graphs", batch_size=batch_size, progress=progress
    )


def attention_scores(
    model: PreTrainedModel,
    traces: Sequence[Trace],
    *,
    layers: Sequence[int] | None = None,
    batch_size: int | None = None,
    progress: bool = True,
) -> list[np.ndarray]:
    """Return `attention_masses` below the diagonal: what each node pays to earlier ones."""
    masses = attention_masses(
        model, traces, layers=layers, batch_size=batch_size, progress=progress
    )
    return [np.tril(mass, k=-1) for mass in masses]


def attention_graphs(
    model: PreTrainedModel,
    traces: Sequence[Trace],
    reduction: Reduction = "mean",
    *,
    sink: Literal["keep", "drop"] = "keep",
    min_gap: int = 1,
    batch_size: int | None = None,
    progress: bool = True,
) -> list[StepGraph]:
    """Draw the attention graph of every trace; the arguments are those of `attention_graph`."""
    masses = attention_masses(model, traces, batch_size=batch_size, progress=progress)
    return [
        attention_graph(trace, mass, reduction, sink=sink, min_gap=min_gap)
        for trace, mass in zip(traces, masses, strict=True)
    ]


def attention_graph(
    trace: Trace,
    mass: np.ndarray,
    reduction: Reduction = "mean",
    *,
    sink: Literal["keep", "drop"] = "keep",
    min_gap: int = 1,
) -> StepGraph:
    """Reduce one trace's masses (layers, heads, nodes, nodes) to one `StepGraph`.

    `reduction`: "mean" or "max" over all layers and heads, or a list of (layer, head) pairs that
    are averaged. `sink` decides about heads that rest on BOS, which belongs to no node: "keep"
    lets them count little, since little of their mass is on nodes; "drop" scales each head's row
    to one first, so that all heads count alike. Sources nearer than `min_gap` nodes are left out.
    """
    scaled = reduce_masses(mass, reduction, sink=sink, min_gap=min_gap)
    if isinstance(reduction, str):
        choice = f"{reduction} of {mass.shape[0]} layers x {mass.shape[1]} heads"
    else:
        choice = ", ".join(f"layer {layer} head {head}" for layer, head in reduction)
    return StepGraph(scaled, trace.kinds, trace.texts, "attention", choice, trace.trace_id)


def reduce_masses(
    mass: np.ndarray,
    reduction: Reduction,
    *,
    sink: Literal["keep", "drop"] = "keep",
    min_gap: int = 1,
) -> np.ndarray:
    """Reduce (layers, heads, nodes, nodes) to normalised float32 (nodes, nodes)."""
    if sink not in ("keep", "drop"):
        raise ValueError(f"sink={sink!r}: expected 'keep' or 'drop'")
    if sink == "drop":
        mass = normalise_rows(mass, min_gap)
    if reduction == "mean":
        reduced = mass.mean(axis=(0, 1))
    elif reduction == "max":
        reduced = mass.max(axis=(0, 1))
    elif isinstance(reduction, str) or not len(reduction):
        raise ValueError(
            f"reduction={reduction!r}: expected 'mean', 'max' or a list of (layer, head) pairs"
        )
    else:
        layers, heads = mass.shape[:2]
        for layer, head in reduction:
            if not (0 <= layer < layers and 0 <= head < heads):
                raise ValueError(
                    f"there is no layer {layer} head {head}: the masses hold {layers} layers "
                    f"(0 to {layers - 1}) of {heads} heads (0 to {heads - 1})"
                )
        reduced = np.mean([mass[layer, head] for layer, head in reduction], axis=0)
    return normalise_rows(reduced, min_gap)
