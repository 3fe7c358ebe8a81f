"""Attention x gradient: which looks of a step matter for what it writes.

Attention says where a step looks. The gradient says what a look is worth: A * dA, with dA the
derivative of the step's log-probability with respect to the attention weight A, is to first order
what the log-probability loses if that weight is taken away. Chefer, Gur & Wolf 2021 (arXiv
2103.15679) keep the positive part and average over heads; Step-Saliency (arXiv 2604.06695) takes
the absolute value.

Row i explains log p_i, the log-probability of the tokens of written node i, and counts the looks of
the positions that write i. Premises and the question are given, not written: their rows are
zero. All rows come out of one forward and one backward pass, exactly; `graded_attention` says why.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from rg_helpers.graphs.batches import masses_of_traces
from rg_helpers.graphs.graded_attention import (
    BackwardBlock,
    Watcher,
    backward_bytes,
    one_hot,
    rows_of_written,
    token_log_probabilities,
    watched_backward,
    written_nodes,
)
from rg_helpers.graphs.step_graph import StepGraph, normalise_rows
from rg_helpers.step_attention.blockwise import RowBlock
from rg_helpers.traces import Trace

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Part = Literal["positive", "absolute"]
PARTS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "positive": lambda worth: worth.clamp(min=0),
    "absolute": torch.abs,
}


def attention_gradient_scores(
    model: PreTrainedModel,
    traces: Sequence[Trace],
    *,
    part: Part = "positive",
    by_head: bool = False,
    batch_size: int | None = None,
    progress: bool = True,
) -> list[np.ndarray]:
    """Return each trace's attention x gradient: float32 (layers, nodes, nodes), row = target.

    Entry [l, i, j] = sum over positions q that write node i and tokens k of node j of
    mean over heads of part(A[q, k] * d log p_i / d A[q, k]) in layer l. `by_head` keeps the heads:
    (layers, heads, nodes, nodes). Unwritten nodes have zero rows. Raises `ValueError` for traces
    without nodes or longer than the model's positions.
    """
    _check_part(part)

    def run(input_ids, attention_mask, node_ids):
        watcher = _Direct(node_ids, part, by_head)
        watched_backward(model, input_ids, attention_mask, node_ids, watcher)
        scores = torch.stack([watcher.scores[layer] for layer in sorted(watcher.scores)], 1)
        return scores if by_head else scores[:, :, 0]

    return _scores(model, traces, run, batch_size, progress)


def relevance_scores(
    model: PreTrainedModel,
    traces: Sequence[Trace],
    *,
    part: Part = "positive",
    per_target: bool = False,
    batch_size: int | None = None,
    progress: bool = True,
) -> list[np.ndarray]:
    """Return relevance carried through all layers: float32 (nodes, nodes), row = target.

    Chefer et al. 2021, equation 6: R = I, then R <- R + E R from the bottom layer to the top, with
    E the head average of part(A * dA). Entry [i, j] sums R - I over the positions that write i and
    the tokens of j, so it also counts what reached i by way of other nodes.

    `per_target=True` is the rule to the letter: E of row i holds the derivatives of log p_i
    everywhere, which takes a backward pass for every written node, `batch_size` of them at a time.
    By default row q of E holds the derivative of what position q itself writes, which one backward
    pass gives for all targets; the two differ in the rows of nodes that i builds on.
    """
    _check_part(part)

    def run(input_ids, attention_mask, node_ids):
        writes = written_nodes(node_ids)
        watcher = _Carried(node_ids, one_hot(writes, int(node_ids.max()) + 1).mT, part, writes)
        watched_backward(model, input_ids, attention_mask, node_ids, watcher)
        return watcher.scores()

    if not per_target:
        return _scores(model, traces, run, batch_size, progress)

    def run_each(input_ids, attention_mask, node_ids):
        del attention_mask  # one trace at a time: no padding
        nodes = int(node_ids.max()) + 1
        scores = torch.zeros(1, nodes, nodes)
        for targets in torch.arange(nodes).split(batch_size or 8):
            ids = node_ids.expand(len(targets), -1)
            rows = written_nodes(ids) == targets[:, None].to(ids.device)
            watcher = _Carried(ids, rows[:, None].float(), part, None)
            tokens = input_ids.expand(len(targets), -1)
            watched_backward(model, tokens, torch.ones_like(tokens), ids, watcher, rows)
            scores[0, targets] = watcher.scores()[:, 0].cpu()
        return scores

    return _scores(model, traces, run_each, 1, progress)


def attention_gradient_graphs(
    model: PreTrainedModel,
    traces: Sequence[Trace],
    *,
    layers: Sequence[int] | None = None,
    rule: Literal["direct", "relevance"] = "direct",
    part: Part = "positive",
    batch_size: int | None = None,
    progress: bool = True,
) -> list[StepGraph]:
    """Draw the attention x gradient graph of every trace.

    `rule="direct"` adds up the chosen `layers` (default: all); "relevance" carries relevance
    through all of them.
    """
    options = {"part": part, "batch_size": batch_size, "progress": progress}
    if rule == "relevance":
        if layers is not None:
            raise ValueError("rule='relevance' goes through every layer: leave `layers` out")
        scores = relevance_scores(model, traces, **options)
        choice = f"{part} part, relevance through all layers"
    elif rule == "direct":
        found = attention_gradient_scores(model, traces, **options)
        scores = [reduce_layers(score, layers) for score in found]
        named = "all layers" if layers is None else "layers " + ", ".join(map(str, layers))
        choice = f"{part} part, sum of {named}"
    else:
        raise ValueError(f"rule={rule!r}: expected 'direct' or 'relevance'")
    return [
        StepGraph(
            normalise_rows(score),
            trace.kinds,
            trace.texts,
            "attention_gradient",
            choice,
            trace.trace_id,
        )
        for trace, score in zip(traces, scores, strict=True)
    ]


def reduce_layers(scores: np.ndarray, layers: Sequence[int] | None = None) -> np.ndarray:
    """Add up the chosen layers of (layers, nodes, nodes): float32 (nodes, nodes)."""
    if layers is None:
        return scores.sum(0)
    if not len(layers) or not all(0 <= layer < len(scores) for layer in layers):
        raise ValueError(
            f"layers={list(layers)}: name at least one of the layers 0 to {len(scores) - 1}"
        )
    return scores[list(layers)].sum(0)


def naive_attention_gradient(
    model: PreTrainedModel, trace: Trace, part: Part = "positive"
) -> np.ndarray:
    """Return the same as `attention_gradient_scores(..., by_head=True)` the long way round.

    One backward pass for every written node, through eager attention with every matrix of tokens x
    tokens kept. The reference of tests and benchmark; slow, and memory grows with tokens squared.
    """
    _check_part(part)
    former = model.config._attn_implementation
    model.set_attn_implementation("eager")
    try:
        ids = torch.tensor([trace.token_ids], device=model.device)
        with torch.enable_grad():
            embedded = model.get_input_embeddings()(ids).detach().requires_grad_()
            output = model(inputs_embeds=embedded, output_attentions=True, use_cache=False)
            chosen = token_log_probabilities(output.logits, ids)[0]
            scores = []
            for node in trace.nodes:
                log_p = chosen[max(node.start - 1, 0) : node.end - 1].sum()
                gradients = torch.autograd.grad(
                    log_p, output.attentions, retain_graph=True, allow_unused=True
                )
                scores.append(_naive_row(trace, node, output.attentions, gradients, part))
    finally:
        model.set_attn_implementation(former)
    return rows_of_written(np.stack(scores, 2), trace)


def _naive_row(trace, node, attentions, gradients, part) -> np.ndarray:
    """(layers, heads, nodes): one target's looks, cut by the spans of the sources."""
    row = np.zeros((len(attentions), attentions[0].shape[1], len(trace.nodes)))
    writing = slice(max(node.start - 1, 0), node.end - 1)
    for layer, (attention, gradient) in enumerate(zip(attentions, gradients, strict=True)):
        if gradient is None:
            continue
        worth = PARTS[part](attention * gradient)[0, :, writing].detach()
        for j, source in enumerate(trace.nodes):
            row[layer, :, j] = worth[:, :, source.start : source.end].sum((1, 2)).cpu()
    return row


class _Direct(Watcher):
    """Pools A * dA to (writing node, source node) in every layer."""

    def __init__(self, node_ids: torch.Tensor, part: str, by_head: bool):
        super().__init__(written_nodes(node_ids), "own")
        self.scores: dict[int, torch.Tensor] = {}
        nodes = int(node_ids.max()) + 1
        self._part, self._by_head = PARTS[part], by_head
        self._rows, self._columns = one_hot(self.writes, nodes).mT, one_hot(node_ids, nodes)

    def start(self, layer: int, shape: torch.Size) -> None:
        batch, nodes = self._rows.shape[:2]
        heads = shape[1] if self._by_head else 1
        self.scores[layer] = self._rows.new_zeros(batch, heads, nodes, nodes)

    def see(self, layer: int, block: RowBlock, step: BackwardBlock) -> None:
        worth = self._part(step.probabilities * step.gradient).float()
        if not self._by_head:
            worth = worth.mean(1, keepdim=True)
        rows = self._rows[:, None, :, block.start : block.end]
        columns = self._columns[:, None, block.first_key : block.last_key]
        self.scores[layer] += rows @ worth @ columns


class _Carried(Watcher):
    """Carries relevance down the layers in the order in which the backward pass meets them.

    rows R of the last product are (1 + E_top) ... (1 + E_bottom): from the left, top layer first.
    """

    def __init__(self, node_ids, rows: torch.Tensor, part: str, writes: torch.Tensor | None):
        super().__init__(writes, "all" if writes is None else "own")
        self._part = PARTS[part]
        self._first, self._below, self._above = rows, rows.clone(), rows
        self._columns = one_hot(node_ids, int(node_ids.max()) + 1)

    def start(self, layer: int, shape: torch.Size) -> None:
        self._above = self._below.clone()

    def see(self, layer: int, block: RowBlock, step: BackwardBlock) -> None:
        worth = self._part(step.probabilities * step.gradient).mean(1).float()
        rows = self._above[:, :, block.start : block.end]
        self._below[:, :, block.first_key : block.last_key] += rows @ worth

    def scores(self) -> torch.Tensor:
        """Relevance of every node for every row, without what a position is to itself."""
        return (self._below - self._first) @ self._columns


def _scores(model, traces, run, batch_size, progress) -> list[np.ndarray]:
    found = masses_of_traces(
        model,
        traces,
        run,
        title="attention x gradient",
        batch_size=batch_size,
        bytes_needed=backward_bytes,
        progress=progress,
    )
    return [rows_of_written(score, trace) for score, trace in zip(found, traces, strict=True)]


def _check_part(part: str) -> None:
    if part not in PARTS:
        raise ValueError(f"part={part!r}: expected one of {', '.join(map(repr, PARTS))}")
