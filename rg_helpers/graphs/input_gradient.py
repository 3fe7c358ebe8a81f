"""Input x gradient and integrated gradients: which earlier tokens act on what a step writes.

The target of row i is log p_i, the sum of the log-probabilities of the tokens of written node i,
as in `gradient.py`; premises and the question are given, not written, and have zero rows. The
relevance of token t is <e_t, d log p_i / d e_t>, with e_t its embedding: to first order, what
log p_i loses when the embedding is scaled down (Shrikumar et al. 2017, arXiv 1704.02685). The sum
over the embedding comes first, then the absolute value, then the sum over a node's tokens.

Integrated gradients (Sundararajan, Taly & Yan 2017, arXiv 1703.01365) average the gradient along
the straight path from a baseline to the embeddings, so that relevance adds up to
log p_i(embeddings) - log p_i(baseline): the completeness axiom.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from tqdm.auto import tqdm

from rg_helpers.graphs.batches import check_traces, evaluation_mode, masses_of_traces
from rg_helpers.graphs.column_tangents import ColumnTangents
from rg_helpers.graphs.graded_attention import (
    BackwardBlock,
    all_heads,
    backward_bytes,
    one_hot,
    rows_of_written,
    same_node,
    token_log_probabilities,
    watched_backward,
    widened,
    written_nodes,
)
from rg_helpers.graphs.step_graph import StepGraph, normalise_rows
from rg_helpers.graphs.target_gradients import naive_target_gradients, target_gradients
from rg_helpers.step_attention.blockwise import RowBlock
from rg_helpers.traces import Trace
from rg_helpers.traces.trace import PROMPT_KINDS

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Rule = Literal["exact", "direct"]
Baseline = Literal["mean", "zero"]
POINTS = 32  # notebook 04 shows the completeness error by number of points


def input_gradient_scores(
    model: PreTrainedModel,
    traces: Sequence[Trace],
    *,
    rule: Rule = "exact",
    batch_size: int | None = None,
    progress: bool = True,
) -> list[np.ndarray]:
    """Return each trace's input x gradient: float32 (nodes, nodes), row = target.

    `rule="exact"`: the derivative by all paths, which takes a vector-Jacobian product for every
    written node; `batch_size` is the number of them in one pass.

    `rule="direct"`: the derivative by the paths that go from a source to the target without a stop
    in between, for all targets at once: up the source token's own column, over one attention weight
    into the positions that write i, and on from there to the end of i. Costs one forward pass with
    its derivatives and one backward pass whatever the number of targets; `batch_size` is the number
    of traces in one pass. What a step gets by way of another step is not counted; as an edge of a
    graph, that is two edges.
    """
    if rule == "exact":
        found = [
            np.abs(signed) for signed, _ in _tokens(model, traces, None, None, batch_size, progress)
        ]
        return [_pooled(tokens, trace) for tokens, trace in zip(found, traces, strict=True)]
    if rule != "direct":
        raise ValueError(f"rule={rule!r}: expected 'exact' or 'direct'")
    found = masses_of_traces(
        model,
        traces,
        lambda *batch: _direct(model, *batch),
        title="input x gradient",
        batch_size=batch_size,
        bytes_needed=lambda model, trace: 2 * backward_bytes(model, trace),
        progress=progress,
    )
    return [rows_of_written(score, trace) for score, trace in zip(found, traces, strict=True)]


def integrated_gradients_scores(
    model: PreTrainedModel,
    traces: Sequence[Trace],
    *,
    points: int = POINTS,
    baseline: Baseline = "mean",
    batch_size: int | None = None,
    progress: bool = True,
) -> list[np.ndarray]:
    """Return each trace's integrated gradients: float32 (nodes, nodes), row = target.

    Costs `points` times the exact input x gradient. The other arguments are those of
    `integrated_gradients`.
    """
    found = _tokens(model, traces, points, baseline, batch_size, progress)
    return [
        _pooled(np.abs(signed), trace) for (signed, _), trace in zip(found, traces, strict=True)
    ]


def integrated_gradients(
    model: PreTrainedModel,
    trace: Trace,
    *,
    points: int = POINTS,
    baseline: Baseline = "mean",
    targets_per_pass: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return signed relevance (written nodes, tokens) and what each row should add up to.

    The path starts at `baseline`: every embedding replaced by the mean of the vocabulary, or by
    zero. `points` of a Gauss-Legendre rule approximate the integral; the difference between a row's
    sum and log p_i(embeddings) - log p_i(baseline), the second array (written nodes,), is the error
    left. A start at zero needs many points in models that scale their input to unit length: all of
    the change happens near the start.
    """
    ((signed, change),) = _tokens(model, [trace], points, baseline, targets_per_pass, False)
    return signed, change


def input_gradient_graphs(
    model: PreTrainedModel,
    traces: Sequence[Trace],
    *,
    rule: Rule = "exact",
    batch_size: int | None = None,
    progress: bool = True,
) -> list[StepGraph]:
    """Draw the input x gradient graph of every trace."""
    scores = input_gradient_scores(
        model, traces, rule=rule, batch_size=batch_size, progress=progress
    )
    choice = "all paths" if rule == "exact" else "direct paths"
    return _graphs(traces, scores, "input_gradient", choice)


def integrated_gradients_graphs(
    model: PreTrainedModel,
    traces: Sequence[Trace],
    *,
    points: int = POINTS,
    baseline: Baseline = "mean",
    batch_size: int | None = None,
    progress: bool = True,
) -> list[StepGraph]:
    """Draw the integrated-gradients graph of every trace."""
    scores = integrated_gradients_scores(
        model, traces, points=points, baseline=baseline, batch_size=batch_size, progress=progress
    )
    return _graphs(
        traces, scores, "integrated_gradients", f"{points} points from the {baseline} embedding"
    )


def naive_input_gradient(model: PreTrainedModel, trace: Trace) -> np.ndarray:
    """Return `input_gradient_scores` of one trace by one plain backward pass for every target."""
    ids = torch.tensor([trace.token_ids], device=model.device)
    embedded = model.get_input_embeddings()(ids).detach()
    gradients, _ = naive_target_gradients(model, ids, embedded, _spans(trace))
    return _pooled((gradients * embedded).sum(-1).abs().float().cpu().numpy(), trace)


def _tokens(
    model: PreTrainedModel,
    traces: Sequence[Trace],
    points: int | None,
    baseline: Baseline | None,
    targets_per_pass: int | None,
    progress: bool,
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Signed token relevance (written nodes, tokens) and total change (written nodes,)."""
    if points is not None and points < 1:
        raise ValueError(f"points must be at least 1, got {points}")
    if targets_per_pass is not None and targets_per_pass < 1:
        raise ValueError(f"batch_size must be at least 1, got {targets_per_pass}")
    check_traces(model, traces)
    title = "input x gradient" if points is None else "integrated gradients"
    found = []
    with evaluation_mode(model):
        for trace in tqdm(traces, desc=title, disable=None if progress else True):
            ids = torch.tensor([trace.token_ids], device=model.device)
            embedded = model.get_input_embeddings()(ids).detach()
            spans = _spans(trace)
            start = torch.zeros_like(embedded)
            if points is None:
                places, weights = [1.0], [1.0]
            else:
                start = start + _baseline(model, baseline)
                roots, weights = np.polynomial.legendre.leggauss(points)
                places, weights = (roots + 1) / 2, weights / 2
            signed = torch.zeros(len(spans), ids.shape[1], dtype=torch.float64)
            for place, weight in zip(places, weights, strict=True):
                between = start + float(place) * (embedded - start)
                gradients, _ = target_gradients(model, ids, between, spans, targets_per_pass)
                signed += float(weight) * (gradients * (embedded - start)).sum(-1).double().cpu()
            change = torch.zeros(len(spans), dtype=torch.float64)
            if points is not None:
                change = _log_p(model, ids, embedded, spans) - _log_p(model, ids, start, spans)
            found.append((signed.numpy(), change.numpy()))
    return found


def _baseline(model: PreTrainedModel, baseline: Baseline | None) -> torch.Tensor:
    """The embedding (width,) at which the path of integrated gradients starts."""
    table = model.get_input_embeddings()
    if baseline == "zero":
        return table.weight.new_zeros(table.weight.shape[1])
    if baseline != "mean":
        raise ValueError(f"baseline={baseline!r}: expected 'mean' or 'zero'")
    everything = torch.arange(table.weight.shape[0], device=table.weight.device)
    return table(everything).detach().mean(0)


@torch.no_grad()
def _log_p(model, ids, embedded, spans) -> torch.Tensor:
    """log p of every span (spans,) with `embedded` in place of the embeddings."""
    logits = model(inputs_embeds=embedded, use_cache=False).logits
    chosen = token_log_probabilities(logits, ids)[0].double().cpu()
    return torch.stack([chosen[max(start - 1, 0) : end - 1].sum() for start, end in spans])


class _DirectPaths(ColumnTangents):
    """Meets the tangents of the source columns with the gradients of the target positions."""

    def __init__(self, node_ids: torch.Tensor):
        super().__init__(written_nodes(node_ids), "own")
        nodes = int(node_ids.max()) + 1
        self.rows = one_hot(self.writes, nodes).mT  # (batch, nodes, tokens)
        self.tokens = torch.zeros_like(self.rows)  # signed relevance, (batch, nodes, tokens)

    def see(self, layer: int, block: RowBlock, step: BackwardBlock) -> None:
        rows, seen = slice(block.start, block.end), slice(block.first_key, block.last_key)
        keys, values = (all_heads(part, step.queries)[:, :, seen] for part in self.tangents[layer])
        by_keys = step.score_gradient * widened(step.queries @ keys.mT)
        by_values = step.probabilities * widened(step.grad @ values.mT)
        worth = (by_keys + by_values).sum(1)
        # Within the target's own positions the backward pass follows every path by itself.
        worth = worth * (1 - same_node(self.writes, rows, seen)[:, 0])
        self.tokens[:, :, seen] += self.rows[:, :, rows] @ worth.float()


def _direct(
    model: PreTrainedModel,
    input_ids: torch.Tensor,
    attention_mask: torch.Tensor,
    node_ids: torch.Tensor,
) -> torch.Tensor:
    """Direct input x gradient of a padded batch: (batch, nodes, nodes)."""
    watcher = _DirectPaths(node_ids)
    embedded, gradient = watched_backward(model, input_ids, attention_mask, node_ids, watcher)
    within = (embedded * gradient).sum(-1).float()
    tokens = watcher.tokens + watcher.rows * within[:, None]
    return tokens.abs() @ one_hot(node_ids, watcher.rows.shape[1])


def _spans(trace: Trace) -> list[tuple[int, int]]:
    return [(node.start, node.end) for node in trace.nodes if node.kind not in PROMPT_KINDS]


def _pooled(tokens: np.ndarray, trace: Trace) -> np.ndarray:
    """Sum (written nodes, tokens) over the tokens of every source: (nodes, nodes)."""
    scores = np.zeros((len(trace.nodes), len(trace.nodes)), dtype=np.float32)
    given = len(trace.nodes) - len(tokens)
    for source, node in enumerate(trace.nodes):
        scores[given:, source] = tokens[:, node.start : node.end].sum(1)
    return rows_of_written(scores, trace)


def _graphs(
    traces: Sequence[Trace], scores: Sequence[np.ndarray], method: str, choice: str
) -> list[StepGraph]:
    return [
        StepGraph(normalise_rows(score), trace.kinds, trace.texts, method, choice, trace.trace_id)
        for trace, score in zip(traces, scores, strict=True)
    ]
