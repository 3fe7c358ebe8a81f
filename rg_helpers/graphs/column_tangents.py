"""What each token's embedding does within its own column, by forward-mode differentiation.

A token's column is its position through all layers. Move the embedding of token t in some
direction, hold the keys and values of all other positions fixed, and follow the change up column
t: it arrives at the keys and values that t offers in every layer. Since nothing leaves a column,
all tokens are moved at once without disturbing each other, in the same forward pass that the
backward pass needs anyway (forward-mode differentiation: Wengert 1964; here
`torch.autograd.forward_ad`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
import torch.autograd.forward_ad as forward_ad

from rg_helpers.graphs.graded_attention import Watcher, all_heads, probabilities, widened
from rg_helpers.graphs.target_gradients import top_layer
from rg_helpers.step_attention.blockwise import RowPlan

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class ColumnTangents(Watcher):
    """Watches a forward pass in which every embedding moves along itself.

    tangents: layer -> the change of every token's own key and value, each
        (batch, key heads, tokens, head width), there when the backward pass begins.
    """

    def __init__(self, writes: torch.Tensor | None = None, passes="all"):
        super().__init__(writes, passes)
        self.tangents: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    @contextmanager
    def forward_pass(self, model: PreTrainedModel, embedded: torch.Tensor) -> Iterator:
        """Give the embeddings a tangent, and take it away after the top layer's keys and values."""
        self._top, block = top_layer(model)

        def strip(module, inputs):
            if self._top not in self.tangents:
                return None
            return tuple(
                forward_ad.unpack_dual(part).primal if isinstance(part, torch.Tensor) else part
                for part in inputs
            )

        modules = [*block.modules(), model.get_output_embeddings()]
        handles = [module.register_forward_pre_hook(strip) for module in modules]
        try:
            # The tangents end with this level, so that the backward pass is an ordinary one.
            with forward_ad.dual_level():
                yield forward_ad.make_dual(embedded, embedded.detach())
        finally:
            for handle in handles:
                handle.remove()

    def attend(self, layer, q, k, v, plan, scaling, softcap):
        (q, dq), (k, dk), (v, dv) = (forward_ad.unpack_dual(part) for part in (q, k, v))
        moved = dq.detach(), dk.detach(), dv.detach()
        self.tangents[layer] = moved[1:]
        output = super().attend(layer, q, k, v, plan, scaling, softcap)
        if layer == self._top:
            return output
        with torch.no_grad():
            change = _own_change((q, k, v), moved, plan, scaling, softcap)
        return forward_ad.make_dual(output, change)


def _own_change(
    inputs: tuple[torch.Tensor, ...],
    moved: tuple[torch.Tensor, ...],
    plan: RowPlan,
    scaling: float,
    softcap: float | None,
) -> torch.Tensor:
    """Change of the attention output (batch, heads, tokens, width) by each position's own change.

    A position's query meets all keys anew; of the keys and values only its own one moves.
    """
    q, dq = inputs[0], moved[0]
    keys, values, own_keys, own_values = (all_heads(part, q) for part in (*inputs[1:], *moved[1:]))
    own_scores = (q * own_keys).sum(-1, keepdim=True)
    change = torch.empty_like(q)
    for block in plan.blocks:
        rows, seen = slice(block.start, block.end), slice(block.first_key, block.last_key)
        if block.last_key == block.first_key:
            change[:, :, rows] = 0
            continue
        p, slope = probabilities(q, keys, block, plan, scaling, softcap)
        scores = widened(dq[:, :, rows] @ keys[:, :, seen].mT)
        # The entries at which a row meets its own key.
        own = slice(block.start - block.first_key, block.end - block.first_key)
        scores[..., own].diagonal(dim1=-2, dim2=-1).add_(own_scores[:, :, rows, 0])
        if slope is not None:
            scores.mul_(slope)
        spent = (p * scores).sum(-1, keepdim=True)
        moved_p = scores.sub_(spent).mul_(p).mul_(scaling)
        change[:, :, rows] = moved_p.to(q.dtype) @ values[:, :, seen]
        at_own = p[..., own].diagonal(dim1=-2, dim2=-1)[..., None]
        change[:, :, rows] += at_own.to(q.dtype) * own_values[:, :, rows]
    return change
