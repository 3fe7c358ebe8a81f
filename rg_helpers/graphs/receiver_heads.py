"""Receiver heads: heads in which a few steps receive most of the attention of all later steps.

Bogdan et al. (2025, "Thought Anchors", arXiv 2506.19143) average, per head, the attention that
every sentence receives from later ones, leave near pairs out, and call heads with the highest
kurtosis of these averages receiver heads: a few sentences are looked at from everywhere. That
alone is also what a sink looks like, or a head that always looks at the question. The position
control therefore divides what a node receives by what nodes at its place receive on average over
the training traces; what is left is that *this* step is looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from rg_helpers.graphs.attention import attention_graph, attention_masses
from rg_helpers.graphs.controls import places
from rg_helpers.graphs.step_graph import StepGraph, normalise_rows
from rg_helpers.traces import Trace

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Control = Literal["position", "none"]
LEAST_NODES = 4  # the kurtosis of fewer numbers says nothing
PRIOR_TRACES = 2.0


@dataclass(frozen=True, eq=False)
class ReceiverHeads:
    """Which heads receive, fitted on training traces.

    heads: (layer, head) pairs, the highest kurtosis first. kurtosis: float64 (layers, heads), mean
    over the traces. min_gap: sources nearer than this were left out. control: see `kurtosis_table`.
    """

    heads: tuple[tuple[int, int], ...]
    kurtosis: np.ndarray
    min_gap: int
    control: Control
    traces: int


def received_attention(mass: np.ndarray, min_gap: int = 2) -> np.ndarray:
    """Return what each node receives from later ones on average: float64 (..., nodes).

    `mass` is (..., nodes, nodes), row = target. Targets nearer than `min_gap` nodes do not count;
    nodes without a target left are NaN.
    """
    if min_gap < 1:
        raise ValueError(f"min_gap must be at least 1 (no self-loops), got {min_gap}")
    kept = np.tril(np.asarray(mass, dtype=np.float64), k=-min_gap)
    targets = np.maximum(0, mass.shape[-1] - min_gap - np.arange(mass.shape[-1]))
    sums = kept.sum(axis=-2)
    return np.divide(sums, targets, out=np.full(sums.shape, np.nan), where=targets > 0)


def kurtosis_table(
    traces: Sequence[Trace],
    masses: Sequence[np.ndarray],
    *,
    min_gap: int = 2,
    control: Control = "position",
) -> np.ndarray:
    """Return every head's mean excess kurtosis of received attention: float64 (layers, heads).

    `control="position"` divides what a node receives by the mean over these traces at its place
    (kind, and position within prompt or solution), drawn towards one mean for all places where
    few traces have that place; "none" is the original. Traces with fewer than four receiving nodes
    are left out.
    """
    if control not in ("position", "none"):
        raise ValueError(f"control={control!r}: expected 'position' or 'none'")
    received = [received_attention(mass, min_gap) for mass in masses]
    if control == "position":
        received = _without_position(traces, received)
    found = [
        _excess_kurtosis(values[..., ~np.isnan(values).any(axis=(0, 1))])
        for values in received
        if (~np.isnan(values).any(axis=(0, 1))).sum() >= LEAST_NODES
    ]
    if not found:
        raise ValueError(
            f"no training trace has {LEAST_NODES} nodes with targets at least {min_gap} later: "
            "fit on longer traces or with a smaller min_gap"
        )
    return np.mean(found, axis=0)


def fit_receiver_heads(
    model: PreTrainedModel,
    fit: Sequence[Trace],
    most: int = 3,
    *,
    min_gap: int = 2,
    control: Control = "position",
    batch_size: int | None = None,
    progress: bool = True,
) -> ReceiverHeads:
    """Choose the `most` heads of highest kurtosis on the training traces `fit`."""
    if most < 1:
        raise ValueError(f"most must be at least 1 head, got {most}")
    if not fit:
        raise ValueError("receiver heads are chosen on training traces: give at least one")
    masses = attention_masses(model, fit, batch_size=batch_size, progress=progress)
    table = kurtosis_table(fit, masses, min_gap=min_gap, control=control)
    order = np.argsort(-table, axis=None, kind="stable")[:most]
    heads = tuple(divmod(int(index), table.shape[1]) for index in order)
    return ReceiverHeads(heads, table, min_gap, control, len(fit))


def receiver_heads_scores(
    model: PreTrainedModel,
    traces: Sequence[Trace],
    receivers: ReceiverHeads,
    *,
    batch_size: int | None = None,
    progress: bool = True,
) -> list[np.ndarray]:
    """Return the mean over the receiver heads of attention to earlier nodes, (nodes, nodes).

    Every head's rows are scaled to one first, so that a head that rests on BOS counts as much.
    """
    masses = attention_masses(model, traces, batch_size=batch_size, progress=progress)
    return [
        np.mean([normalise_rows(mass[pair]) for pair in receivers.heads], axis=0) for mass in masses
    ]


def receiver_heads_graphs(
    model: PreTrainedModel,
    traces: Sequence[Trace],
    receivers: ReceiverHeads,
    *,
    min_gap: int = 1,
    batch_size: int | None = None,
    progress: bool = True,
) -> list[StepGraph]:
    """Draw the graph of the receiver heads; near sources are drawn too unless `min_gap` says no."""
    masses = attention_masses(model, traces, batch_size=batch_size, progress=progress)
    return [
        replace(
            attention_graph(trace, mass, receivers.heads, sink="drop", min_gap=min_gap),
            method="receiver_heads",
        )
        for trace, mass in zip(traces, masses, strict=True)
    ]


def _without_position(traces: Sequence[Trace], received: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Divide what each node receives by the mean at its place."""
    keys = [list(zip(trace.kinds, places(trace.kinds), strict=True)) for trace in traces]
    sums: dict[tuple[str, int], np.ndarray] = {}
    counts: dict[tuple[str, int], int] = {}
    for names, values in zip(keys, received, strict=True):
        for node, name in enumerate(names):
            if not np.isnan(values[..., node]).any():
                sums[name] = sums.get(name, 0) + values[..., node]
                counts[name] = counts.get(name, 0) + 1
    if not sums:
        return list(received)
    overall = sum(sums.values()) / sum(counts.values())
    expected = {
        name: (total + PRIOR_TRACES * overall) / (counts[name] + PRIOR_TRACES)
        for name, total in sums.items()
    }
    divided = []
    for names, values in zip(keys, received, strict=True):
        usual = np.stack([expected.get(name, overall) for name in names], axis=-1)
        divided.append(np.divide(values, usual, out=np.zeros_like(values), where=usual > 0))
    return divided


def _excess_kurtosis(values: np.ndarray) -> np.ndarray:
    """Fourth central moment over squared variance, minus 3, along the last axis; constant: -3."""
    centred = values - values.mean(axis=-1, keepdims=True)
    variance = (centred**2).mean(axis=-1)
    fourth = (centred**4).mean(axis=-1)
    tiny = variance <= 1e-12 * np.maximum((values**2).mean(axis=-1), 1e-30)
    return np.divide(fourth, variance**2, out=np.zeros_like(fourth), where=~tiny) - 3
