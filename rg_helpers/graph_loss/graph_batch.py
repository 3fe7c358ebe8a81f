"""`GraphBatch`: what a graph term must know about a batch of traces beside their attention.

Row = target (later), column = source (earlier), as everywhere. Nodes stand at the front and padding
at the end, so that a trace's numbers are the same alone and in any batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from rg_helpers.graphs.step_graph import StepGraph
from rg_helpers.traces import KINDS, Trace

KIND_CODES = {kind: code for code, kind in enumerate(KINDS)}
PADDING = -1
WRITTEN_KINDS = ("step", "answer")
EPS = 1e-8  # added to a probability before its logarithm: no term exceeds -log(EPS) nats a row
LEAST_MASS = 1e-6  # a row with less attention than this on earlier nodes looks nowhere

Heads = Sequence[tuple[int, int]] | Literal["all"]


@dataclass(frozen=True, eq=False)
class GraphBatch:
    """The nodes of a batch of traces and, where known, the rows their attention should have.

    kinds: int8 (batch, nodes), `KIND_CODES` of each node, -1 for padding.
    gold: float32 (batch, nodes, nodes) or None: each row a distribution over its target's parents,
        all zero where nothing is asked of a row (premises, the question, padding, unread steps).
    trace_ids, problem_ids: one a trace; errors name the first, the second keep problems apart.
    """

    kinds: Tensor
    gold: Tensor | None = None
    trace_ids: tuple[str, ...] = ()
    problem_ids: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.kinds)

    @property
    def nodes(self) -> int:
        """Return the padded number of nodes."""
        return self.kinds.shape[1]

    @cached_property
    def is_node(self) -> Tensor:
        """Return bool (batch, nodes): False for padding."""
        return self.kinds != PADDING

    @cached_property
    def is_target(self) -> Tensor:
        """Return bool (batch, nodes): steps and answers that have an earlier node to follow from.

        A node at place 0 has none, whatever its kind.
        """
        target = self.of_kind(*WRITTEN_KINDS)
        return target & (torch.arange(self.nodes, device=target.device) > 0)

    @cached_property
    def eligible(self) -> Tensor:
        """Return bool (batch, nodes, nodes): both nodes real, the source earlier than the target.

        All rows count, also those of premises; `is_target` says which rows a term reads.
        """
        both = self.is_node[:, :, None] & self.is_node[:, None, :]
        return both.tril(diagonal=-1)

    def of_kind(self, *names: str) -> Tensor:
        """Return bool (batch, nodes): True for nodes of the kinds named."""
        found = torch.zeros_like(self.kinds, dtype=torch.bool)
        for name in names:
            found |= self.kinds == KIND_CODES[name]
        return found

    def to(self, device: torch.device | str, non_blocking: bool = False) -> GraphBatch:
        """Return the batch with its tensors on `device`."""
        gold = None if self.gold is None else self.gold.to(device, non_blocking=non_blocking)
        return replace(self, kinds=self.kinds.to(device, non_blocking=non_blocking), gold=gold)

    def name(self, row: int) -> str:
        """Return how an error calls a trace."""
        return f"trace {self.trace_ids[row]!r}" if self.trace_ids else f"trace {row} of the batch"


def graph_batch(
    traces: Sequence[Trace],
    graphs: Sequence[StepGraph] | None = None,
    *,
    nodes: int | None = None,
) -> GraphBatch:
    """Lay out traces and, one to one, the graphs they should show; tensors are on the CPU.

    Of a graph only the rows of steps and answers are kept. `nodes` pads to more than the longest
    trace needs. Raises `ValueError` for no traces, a trace without nodes, more nodes than `nodes`,
    and a graph that does not fit its trace (count, kinds or texts of the nodes), naming the trace.
    """
    if not traces:
        raise ValueError("a batch needs at least one trace, got none")
    for trace in traces:
        if not trace.nodes:
            raise ValueError(
                f"trace {trace.trace_id!r} has no nodes, so no graph can be asked of it: "
                "leave it out"
            )
    longest = max(traces, key=lambda trace: len(trace.nodes))
    width = len(longest.nodes) if nodes is None else nodes
    if len(longest.nodes) > width:
        raise ValueError(
            f"trace {longest.trace_id!r} has {len(longest.nodes)} nodes, more than nodes={width}: "
            "raise it, or leave it out"
        )
    kinds = torch.full((len(traces), width), PADDING, dtype=torch.int8)
    for row, trace in enumerate(traces):
        codes = [KIND_CODES[kind] for kind in trace.kinds]
        kinds[row, : len(codes)] = torch.tensor(codes, dtype=torch.int8)
    batch = GraphBatch(
        kinds,
        None,
        tuple(trace.trace_id for trace in traces),
        tuple(trace.problem_id for trace in traces),
    )
    if graphs is None:
        return batch
    if len(graphs) != len(traces):
        raise ValueError(
            f"{len(traces)} traces but {len(graphs)} graphs: give one graph for each trace, in the "
            "same order"
        )
    gold = torch.zeros(len(traces), width, width)
    for row, (trace, graph) in enumerate(zip(traces, graphs, strict=True)):
        check_fit(trace, graph)
        gold[row, : len(graph), : len(graph)] = torch.from_numpy(graph.weights.copy())
    gold = gold * batch.is_target[:, :, None]
    sums = gold.sum(-1, keepdim=True)
    return replace(batch, gold=torch.where(sums > 0, gold / sums.clamp(min=LEAST_MASS), 0.0))


def check_fit(trace: Trace, graph: StepGraph) -> None:
    """Raise `ValueError` naming the trace where a graph is not one over its nodes."""
    where = f"the {graph.method} graph given for trace {trace.trace_id!r}"
    cure = "draw it from this very trace, and give traces and graphs in the same order"
    if len(graph) != len(trace.nodes):
        raise ValueError(
            f"{where} has {len(graph)} nodes, the trace has {len(trace.nodes)}: {cure}"
        )
    for number, (ours, theirs) in enumerate(zip(trace.kinds, graph.kinds, strict=True)):
        if ours != theirs:
            raise ValueError(
                f"{where} has a {theirs} as node {number}, the trace has a {ours}: {cure}"
            )
    for number, (ours, theirs) in enumerate(zip(trace.texts, graph.texts, strict=True)):
        if ours.split() != theirs.split():
            raise ValueError(
                f"{where} says {theirs!r} at node {number}, the trace says {ours!r}: {cure}"
            )


def eligible_rows(attention: Tensor, batch: GraphBatch) -> Tensor:
    """Return attention as shares of what each node gives to earlier nodes.

        p_ij = a_ij / sum over eligible k of a_ik

    What went to BOS, to separators and to the node itself is left out of the sum, as in a
    `StepGraph`. attention: (batch, ..., nodes, nodes) with any dimensions (layers, heads, both or
    none) in between; returned in float32, or float64 if it was. Rows sum to one or, where nothing
    is eligible, to zero; a row with less than `LEAST_MASS` on earlier nodes keeps a sum below one
    instead of being blown up. Raises `ValueError` where the shapes do not fit.

    Failure mode: a head that rests on BOS looks as decided as one that does not, since only the
    shares are seen; `alignment(..., sink="keep")` is the way to pull it off.
    """
    kept = eligible_mass(attention, batch)
    return kept / kept.sum(-1, keepdim=True).clamp(min=LEAST_MASS)


def eligible_mass(attention: Tensor, batch: GraphBatch) -> Tensor:
    """Return attention (batch, ..., nodes, nodes) with all but earlier nodes set to zero.

    Rows keep their sums, so that what is missing to one went to BOS, separators and the node
    itself. Numbers below zero are rounding errors of sums by difference and become zero.
    """
    if attention.ndim < 3 or attention.shape[0] != len(batch):
        raise ValueError(
            f"attention is {tuple(attention.shape)} but the batch has {len(batch)} traces: give "
            "(batch, layers, heads, nodes, nodes) of the same traces"
        )
    if attention.shape[-2:] != (batch.nodes, batch.nodes):
        raise ValueError(
            f"attention is {tuple(attention.shape)} but the batch has {batch.nodes} nodes: call "
            f"tap_step_attention(..., nodes={batch.nodes}), or graph_batch(..., nodes="
            f"{attention.shape[-1]})"
        )
    if attention.dtype not in (torch.float32, torch.float64):
        attention = attention.float()
    between = (1,) * (attention.ndim - 3)
    eligible = batch.eligible.view(len(batch), *between, batch.nodes, batch.nodes)
    return torch.where(eligible, attention, 0.0).clamp(min=0.0)


def chosen_heads(attention: Tensor, heads: Heads) -> Tensor:
    """Pick heads: (batch, layers, heads, nodes, nodes) -> (batch, chosen, nodes, nodes).

    heads: (layer, head) pairs, where a layer is a place in the attention's own layer dimension
    (with `tap_step_attention(layers=...)` not the model's number), or "all", layer by layer.
    Raises `ValueError` for attention of another shape and for heads that it does not have.
    """
    if attention.ndim != 5:
        raise ValueError(
            f"attention is {tuple(attention.shape)}: expected (batch, layers, heads, nodes, nodes)"
        )
    layers, width = attention.shape[1:3]
    if isinstance(heads, str):
        if heads != "all":
            raise ValueError(f"heads={heads!r}: expected (layer, head) pairs or 'all'")
        return attention.flatten(1, 2)
    if not heads:
        raise ValueError("heads is empty: name at least one (layer, head) pair, or 'all'")
    for layer, head in heads:
        if not (0 <= layer < layers and 0 <= head < width):
            raise ValueError(
                f"layer {layer} head {head} does not exist: the attention has {layers} layers "
                f"(0 to {layers - 1}) of {width} heads (0 to {width - 1}); with tapped layers "
                "alone, a layer is its place among them"
            )
    return torch.stack([attention[:, layer, head] for layer, head in heads], dim=1)


def row_mean(values: Tensor, rows: Tensor) -> Tensor:
    """Average (batch, chosen, nodes) over the rows (batch, nodes) and the chosen heads: (batch,).

    A trace without any such row has the value 0, with a gradient of 0.
    """
    kept = torch.where(rows[:, None], values, 0.0).sum((1, 2))
    return kept / (rows.sum(1).clamp(min=1) * values.shape[1])
