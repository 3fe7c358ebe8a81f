"""Attention whose backward pass can be watched, and cut between steps.

Position q *writes* node i if the token after it, which the model predicts there, belongs to i. The
target of row i is log p_i, the sum of the log-probabilities of the tokens of node i. One backward
pass of the sum over all i mixes the targets, because a later step reads the keys and values of an
earlier one, and its gradient arrives there too. Keys and values are the only doors between
positions. Shut them in the backward pass for every pair of positions that write different nodes,
and what arrives at a position comes from its own target alone.

Nothing that is asked about row i is lost by it. A weight A[q, k] with q writing i acts on log p_i
through positions from q to the end of i only, since attention is causal and a node is one span,
and all of these write i. So d log p_i / d A[q, k] is exact for all i at once: one forward and one
backward pass, as if S passes had been made. The tests compare it with S passes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from rg_helpers.graphs.batches import free_bytes
from rg_helpers.step_attention.blockwise import RowBlock, RowPlan, plan_rows
from rg_helpers.step_attention.tap import StepAttentionTap, tap_step_attention
from rg_helpers.traces import Trace
from rg_helpers.traces.trace import PROMPT_KINDS

if TYPE_CHECKING:
    from transformers import PreTrainedModel


BLOCK_ROWS = 48
MOST_TRACES = 8  # of one batch
Passes = Literal["all", "own", "none"]


class Watcher:
    """What happens in the backward pass of every attention layer; made to be subclassed.

    writes: int64 (batch, tokens), the node that each position writes, -1 = none.
    passes: between which positions keys and values let the gradient through: "all", as in an
        ordinary backward pass, "own" (those that write the same node) or "none".
    """

    def __init__(self, writes: torch.Tensor | None = None, passes: Passes = "all"):
        self.writes, self.passes = writes, passes
        self._first_own: dict[int, int] = {}

    @contextmanager
    def forward_pass(self, model: PreTrainedModel, embedded: torch.Tensor) -> Iterator:
        """Surrounds the forward pass, and yields what the model reads as embeddings."""
        del model
        yield embedded

    def attend(self, layer: int, q, k, v, plan: RowPlan, scaling: float, softcap) -> torch.Tensor:
        """The attention output of one layer in the forward pass."""
        return GradedAttention.apply(q, k, v, self, layer, plan, scaling, softcap)

    def start(self, layer: int, shape: torch.Size) -> None:
        """Before the first block of a layer; `shape` is (batch, heads, tokens, width)."""

    def see(self, layer: int, block: RowBlock, step: BackwardBlock) -> None:
        """One block of rows of a layer; see `BackwardBlock`."""

    def first_own_key(self, block: RowBlock) -> int:
        """Return the first position that writes the same node as some row of the block."""
        if block.start not in self._first_own:
            same = self.writes == self.writes[:, block.start : block.start + 1]
            same[:, block.start] = True
            self._first_own[block.start] = int(same.int().argmax(1).min())
        return self._first_own[block.start]


@dataclass(frozen=True, eq=False)
class BackwardBlock:
    """What the backward pass knows about a block of rows.

    probabilities, gradient: float32 (batch, heads, rows, keys), attention A and dA, the gradient of
        the target with respect to A. score_gradient: the same for the scores before the softmax.
    queries, grad: (batch, heads, rows, width), the rows' queries, `scaling` included, and the
        gradient of the attention output.
    """

    probabilities: torch.Tensor
    gradient: torch.Tensor
    score_gradient: torch.Tensor
    queries: torch.Tensor
    grad: torch.Tensor


class WatchedTap(StepAttentionTap):
    """A tap that sums nothing going forward and hands the backward pass to `watcher`."""

    watcher: Watcher

    def attend(self, module: nn.Module, layer, query, key, value, plan, scaling, softcap):
        del module
        output = self.watcher.attend(layer, query, key, value, plan, scaling, softcap)
        return output, output.new_zeros(())

    def plan(self, tokens: int, mask: torch.Tensor | None) -> RowPlan:
        """Short blocks: less is computed above the diagonal."""
        if id(mask) not in self._plans:
            self._plans[id(mask)] = (mask, plan_rows(tokens, mask, BLOCK_ROWS))
        return self._plans[id(mask)][1]

    def record(self, layer: int, mass: torch.Tensor) -> None:
        """Nothing is summed in the forward pass."""


def watched_tap(watcher: Watcher):
    """Return what `tap_step_attention` takes as `make_tap`."""

    def make(*arguments: Any) -> WatchedTap:
        tap = WatchedTap(*arguments)
        tap.watcher = watcher
        return tap

    return make


def written_nodes(node_ids: torch.Tensor) -> torch.Tensor:
    """Return the node that each position writes: int64 like `node_ids`, (batch, tokens)."""
    writes = torch.full_like(node_ids, -1)
    writes[:, :-1] = node_ids[:, 1:]
    return writes


def token_log_probabilities(logits: torch.Tensor, input_ids: torch.Tensor) -> torch.Tensor:
    """Return float32 (batch, tokens - 1): log-probability of token t + 1, read at position t.

    Computed as -softplus(log-sum-exp of the other tokens' logits - the token's own logit). The
    usual log-softmax has the gradient 1 - p, which is rounded to a few bits, or to zero, where the
    model is sure; here it keeps its precision however near p is to one.
    """
    logits, chosen = widened(logits[:, :-1]), input_ids[:, 1:, None]
    others = logits.scatter(-1, chosen, -torch.inf).logsumexp(-1)
    return -F.softplus(others - logits.gather(-1, chosen)[..., 0])


def one_hot(ids: torch.Tensor, nodes: int) -> torch.Tensor:
    """Return float32 (..., nodes); an id of -1 is a row of zeros."""
    return (ids[..., None] == torch.arange(nodes, device=ids.device)).float()


def watched_backward(
    model: PreTrainedModel,
    input_ids: torch.Tensor,
    attention_mask: torch.Tensor,
    node_ids: torch.Tensor,
    watcher: Watcher,
    rows: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Run one forward and one backward pass under the watcher.

    `rows` bool (batch, tokens): the positions whose predictions are the target (default: those
    that write any node). Returns the embeddings and their gradient, (batch, tokens, width).
    """
    if rows is None:
        rows = written_nodes(node_ids) >= 0
    with torch.enable_grad():
        embedded = model.get_input_embeddings()(input_ids).detach().requires_grad_()
        with (
            tap_step_attention(model, node_ids, make_tap=watched_tap(watcher)),
            watcher.forward_pass(model, embedded) as read,
        ):
            output = model(inputs_embeds=read, attention_mask=attention_mask, use_cache=False)
        chosen = token_log_probabilities(output.logits, input_ids)
        (gradient,) = torch.autograd.grad((chosen * rows[:, :-1]).sum(), embedded)
    return embedded.detach(), gradient


def backward_bytes(model: PreTrainedModel, trace: Trace) -> int:
    """Estimate, on the high side, what one trace takes in a forward and a backward pass.

    At least an eighth of what a batch may take: wider batches cost memory and gain little.
    """
    config = model.config.get_text_config()
    tokens, heads, width = len(trace), config.num_attention_heads, config.hidden_size
    per_layer = 20 * width + 5 * (getattr(config, "intermediate_size", None) or 4 * width)
    scores = 8 * heads * min(tokens, 128) * tokens
    logits = 6 * config.vocab_size
    needed = 4 * (tokens * (config.num_hidden_layers * per_layer + logits) + scores)
    return max(needed, free_bytes(model) // MOST_TRACES)


def rows_of_written(scores: np.ndarray, trace: Trace) -> np.ndarray:
    """Keep what lies below the diagonal in the rows of written nodes; float32."""
    written = np.array([kind not in PROMPT_KINDS for kind in trace.kinds])
    return np.tril(scores * written[:, None], k=-1).astype(np.float32)


class GradedAttention(torch.autograd.Function):
    """(q, k, v) -> attention output; the backward pass recomputes A in blocks of rows.

    No matrix of tokens x tokens is stored. Serves `is_grads_batched`: A is then computed once for
    all targets.
    """

    @staticmethod
    def forward(ctx, q, k, v, watcher, layer, plan, scaling, softcap):
        output = plain_attention(q, k, v, plan, scaling, softcap)
        ctx.save_for_backward(q, k, v, output)
        ctx.settings = (watcher, layer, plan, scaling, softcap)
        return output

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):
        q, k, v, output = ctx.saved_tensors
        watcher, layer, plan, scaling, softcap = ctx.settings
        keys, values = all_heads(k, q), all_heads(v, q)
        dq, dk, dv = grad.new_zeros(q.shape), grad.new_zeros(q.shape), grad.new_zeros(q.shape)
        scaled = q * scaling
        # The sum over keys of A * dA (FlashAttention, Dao et al. 2022, appendix B.2).
        spent = (widened(grad) * widened(output)).sum(-1, keepdim=True)
        watcher.start(layer, q.shape)
        for block in plan.blocks:
            if block.last_key == block.first_key:
                continue
            # narrow, not slices: a slice of everything is an alias, which has no batching rule.
            across = (2, block.start, block.end - block.start)
            p, slope = probabilities(q, keys, block, plan, scaling, softcap)
            seen_keys = keys[:, :, block.first_key : block.last_key]
            seen_values = values[:, :, block.first_key : block.last_key]
            q_rows, grad_rows = scaled.narrow(*across), grad.narrow(*across)
            gradient = widened(grad_rows @ seen_values.mT)
            scores = (gradient - spent.narrow(*across)).mul_(p)
            if slope is not None:
                scores.mul_(slope)
            watcher.see(layer, block, BackwardBlock(p, gradient, scores, q_rows, grad_rows))
            dq.narrow(*across).add_(scores.to(q.dtype) @ seen_keys)
            if watcher.passes == "none":
                continue
            first = block.first_key
            if watcher.passes == "own":
                first = max(first, watcher.first_own_key(block))
                own = same_node(
                    watcher.writes, slice(block.start, block.end), slice(first, block.last_key)
                )
                p = p[..., first - block.first_key :] * own
                scores = scores[..., first - block.first_key :] * own
            across = (2, first, block.last_key - first)
            dk.narrow(*across).add_(scores.to(q.dtype).mT @ q_rows)
            dv.narrow(*across).add_(p.to(q.dtype).mT @ grad_rows)
        dq, rest = dq * scaling, (None,) * 5
        if watcher.passes == "none":
            return dq, None, None, *rest
        return dq, _shared_heads(dk, k), _shared_heads(dv, v), *rest


def plain_attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    plan: RowPlan,
    scaling: float,
    softcap: float | None = None,
) -> torch.Tensor:
    """Causal attention output (batch, heads, tokens, width), by the fused kernel where it fits."""
    keys, values = all_heads(k, q), all_heads(v, q)
    if softcap is None:
        return F.scaled_dot_product_attention(
            q, keys, values, plan.mask, is_causal=plan.mask is None, scale=scaling
        )
    output = torch.zeros_like(q)
    for block in plan.blocks:
        seen = slice(block.first_key, block.last_key)
        p, _ = probabilities(q, keys, block, plan, scaling, softcap)
        output[:, :, block.start : block.end] = p.to(q.dtype) @ values[:, :, seen]
    return output


def same_node(writes: torch.Tensor, rows: slice, keys: slice) -> torch.Tensor:
    """Float32 (batch, 1, rows, keys): one where both positions write the same node."""
    targets, sources = writes[:, rows, None], writes[:, None, keys]
    return ((targets == sources) & (targets >= 0)).float()[:, None]


def all_heads(shared: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
    """Give every query head its own copy of the keys or values it shares with others."""
    repeats = q.shape[1] // shared.shape[1]
    return shared if repeats == 1 else shared.repeat_interleave(repeats, 1)


def _shared_heads(gradient: torch.Tensor, shared: torch.Tensor) -> torch.Tensor:
    """Add up the gradients of query heads that share keys or values."""
    if gradient.shape[1] == shared.shape[1]:
        return gradient
    return gradient.reshape(_grouped(gradient, shared.shape[1])).sum(2)


def _grouped(gradient: torch.Tensor, groups: int) -> tuple[int, ...]:
    """Shape with the query heads that share a key head side by side."""
    batch, heads, tokens, width = gradient.shape
    return batch, groups, heads // groups, tokens, width


def widened(tensor: torch.Tensor) -> torch.Tensor:
    """Return float32 for half precision; float64 stays what it is."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def probabilities(
    q: torch.Tensor,
    keys: torch.Tensor,
    block: RowBlock,
    plan: RowPlan,
    scaling: float,
    softcap: float | None,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return float32 softmax rows (batch, heads, rows, keys) and the slope of a softcap."""
    seen = slice(block.first_key, block.last_key)
    scores = widened(q[:, :, block.start : block.end] @ keys[:, :, seen].mT) * scaling
    slope, lowest = None, torch.finfo(scores.dtype).min
    if softcap is not None:
        bent = torch.tanh(scores / softcap)
        scores, slope = bent * softcap, 1 - bent.square()
    if plan.mask is None:
        rows = torch.arange(block.start, block.end, device=q.device)
        columns = torch.arange(block.first_key, block.last_key, device=q.device)
        scores = scores.masked_fill(columns > rows[:, None], lowest)
    else:
        part = plan.mask[:, :, block.start : block.end, seen]
        if part.dtype == torch.bool:
            scores = scores.masked_fill(~part, lowest)
        else:
            scores = (scores + part).clamp(min=lowest)
    return scores.softmax(-1), slope
