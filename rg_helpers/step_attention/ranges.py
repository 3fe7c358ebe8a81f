"""Step masses of many steps at the price of one more attention pass, without gradient.

The keys are cut into ranges that hold as many nodes as a head is wide. Each range is attended to
on its own with one-hot columns as values, and its softmax, normalised within the range, is scaled
back by the ratio of the normalisers: exp(log-sum-exp of the range - log-sum-exp of the row), as
blockwise attention joins partial results (FlashAttention, Dao et al. 2022). However many steps
there are, every key is scored twice in all, always by the fused kernel.
"""

from __future__ import annotations

import torch

from rg_helpers.step_attention.node_table import NodeTable

WIDEST_FLASH = 256


def ranges_serve(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor | None
) -> bool:
    """Whether these inputs are within what the kernels that return a log-sum-exp can do."""
    if mask is not None or q.shape[-1] != v.shape[-1]:
        return False
    if torch.is_grad_enabled() and (q.requires_grad or k.requires_grad or v.requires_grad):
        return False  # those kernels give no gradient for the log-sum-exp
    if q.device.type == "cpu":
        return True
    half = q.dtype in (torch.bfloat16, torch.float16)
    width = q.shape[-1]
    return q.device.type == "cuda" and half and width % 8 == 0 and width <= WIDEST_FLASH


def range_attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    table: NodeTable,
    scaling: float,
    token_rows: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Causal attention output and step masses; shapes as in `column_attention`, no gradient.

    Raises ValueError where `ranges_serve` is False.
    """
    if not ranges_serve(q, k, v, None):
        raise ValueError(
            "route 'ranges' gives no gradient and serves only CPU tensors and half-precision "
            "CUDA tensors of head width up to 256: use torch.no_grad(), or route=None"
        )
    groups, tokens, width = q.shape[1] // k.shape[1], q.shape[2], q.shape[3]
    if groups > 1:
        k, v = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
    output, whole = _flash(q, k, v, scaling, causal=True)
    membership, means = table.columns(q.dtype, q.device), table.means(q.device)
    rows = tokens if token_rows else table.nodes
    mass = q.new_zeros(q.shape[0], q.shape[1], rows, table.nodes, dtype=torch.float32)
    for first in range(0, table.nodes, width):
        last = min(first + width, table.nodes)
        start, end = table.key_range(first, last)
        if end == start:
            continue
        columns = torch.nn.functional.pad(
            membership[:, None, start:end, first:last], (0, width - (last - first))
        ).expand(-1, q.shape[1], -1, -1)
        keys = k[:, :, start:end]
        # Rows inside the range see a causal triangle of it, later rows all of it, earlier nothing.
        parts = [(start, end, True)] + ([(end, tokens, False)] if end < tokens else [])
        for top, bottom, causal in parts:
            part, normaliser = _flash(q[:, :, top:bottom], keys, columns, scaling, causal)
            share = (normaliser - whole[:, :, top:bottom]).exp().unsqueeze(-1)
            by_token = part[..., : last - first].float() * share
            if token_rows:
                mass[:, :, top:bottom, first:last] = by_token
            else:
                mass[..., first:last] += means[:, None, :, top:bottom] @ by_token
    return output, mass


def _flash(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scaling: float, causal: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Fused attention with the float32 log-sum-exp (batch, heads, rows) of its scores."""
    if q.device.type == "cpu":
        return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
            q, k, v, 0.0, causal, scale=scaling
        )
    result = torch.ops.aten._scaled_dot_product_flash_attention(
        q, k, v, 0.0, causal, False, scale=scaling
    )
    return result[0], result[1][..., : q.shape[2]]
