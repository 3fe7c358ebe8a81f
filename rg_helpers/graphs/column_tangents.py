"""What each token's embedding does within its own column, in one forward-mode pass.

A token's column is its position through all layers. Move the embedding of token t in the direction
u_t, hold the keys and values of all other positions fixed, and follow the change up column t: it
arrives at the keys and values that t offers in every layer. Since nothing leaves a column, all
tokens can be moved at once without disturbing each other: one forward-mode pass for all
(forward-mode differentiation: Wengert 1964; `torch.autograd.forward_ad`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.autograd.forward_ad as forward_ad

from rg_helpers.graphs.graded_attention import (
    Watcher,
    all_heads,
    plain_attention,
    probabilities,
    watched_tap,
    widened,
)
from rg_helpers.step_attention.tap import tap_step_attention

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Tangents = dict[int, tuple[torch.Tensor, torch.Tensor]]


def column_tangents(
    model: PreTrainedModel,
    embedded: torch.Tensor,
    direction: torch.Tensor,
    attention_mask: torch.Tensor,
    node_ids: torch.Tensor,
) -> Tangents:
    """Return per layer the change of every token's own key and value along `direction`.

    embedded, direction: (batch, tokens, width). Each entry is a pair (batch, key heads, tokens,
    head width).
    """
    watcher = _Columns()
    with torch.no_grad(), forward_ad.dual_level():
        moved = forward_ad.make_dual(embedded, direction)
        with tap_step_attention(model, node_ids, make_tap=watched_tap(watcher)):
            model.base_model(inputs_embeds=moved, attention_mask=attention_mask, use_cache=False)
    return watcher.tangents


class _Columns(Watcher):
    """Attention whose tangent at a position sees the change of that position alone."""

    def __init__(self):
        super().__init__()
        self.tangents: Tangents = {}

    def attend(self, layer, q, k, v, plan, scaling, softcap):
        (q, dq), (k, dk), (v, dv) = (forward_ad.unpack_dual(part) for part in (q, k, v))
        self.tangents[layer] = (dk, dv)
        keys, values = all_heads(k, q), all_heads(v, q)
        own_keys, own_values = all_heads(dk, q), all_heads(dv, q)
        change = torch.zeros_like(q)
        for block in plan.blocks:
            if block.last_key == block.first_key:
                continue
            rows, seen = slice(block.start, block.end), slice(block.first_key, block.last_key)
            p, slope = probabilities(q, keys, block, plan, scaling, softcap)
            scores = widened(dq[:, :, rows] @ keys[:, :, seen].mT)
            itself = torch.arange(block.start, block.end, device=q.device) - block.first_key
            index = itself[:, None].expand(*scores.shape[:3], 1)
            by_key = (q[:, :, rows] * own_keys[:, :, rows]).sum(-1, keepdim=True)
            scores.scatter_add_(-1, index, widened(by_key))
            scores *= scaling
            if slope is not None:
                scores *= slope
            moved = p * (scores - (p * scores).sum(-1, keepdim=True))
            change[:, :, rows] = moved.to(q.dtype) @ values[:, :, seen]
            change[:, :, rows] += p.gather(-1, index).to(q.dtype) * own_values[:, :, rows]
        return forward_ad.make_dual(plain_attention(q, k, v, plan, scaling, softcap), change)
