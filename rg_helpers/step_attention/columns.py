"""Step masses from the fused attention kernels: one-hot step columns appended to the values.

`softmax(Q K^T) [V | C]` returns the attention output and the mass per step in one ordinary
scaled-dot-product call. The fused kernels want queries, keys and values of equal width, so Q and K
are padded with zero columns, which leaves every score as it was. Steps that do not fit the widest
fused kernel go into further calls.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from rg_helpers.step_attention.node_table import NodeTable

WIDEST_FUSED = 256


def column_calls(query_width: int, value_width: int, nodes: int) -> list[tuple[int, int, int]]:
    """Plan the calls: (first node, last node, total width); the first call carries the values.

    Widths are multiples of 8 and at most `WIDEST_FUSED` (or the head's own width if wider).
    """
    widest = max(WIDEST_FUSED, _round_up(max(query_width, value_width)))
    first, last = 0, min(nodes, widest - value_width)
    calls = [(first, last, _round_up(max(query_width, value_width + last)))]
    while last < nodes:
        first, last = last, min(nodes, last + widest)
        # Queries and keys still need their own width, however few columns are left.
        calls.append((first, last, _round_up(max(query_width, last - first))))
    return calls


def column_attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    table: NodeTable,
    mask: torch.Tensor | None,
    scaling: float,
    token_rows: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attention output and step masses through `scaled_dot_product_attention`, differentiable.

    q: (batch, heads, tokens, width); k, v: (batch, key-value heads, tokens, width); mask: None for
    plain causal attention, else bool or additive (batch or 1, heads or 1, tokens, tokens). Returns
    the output in the dtype of q and float32 masses (batch, heads, nodes, nodes), or
    (batch, heads, tokens, nodes) if `token_rows`.
    """
    groups = q.shape[1] // k.shape[1]
    native = groups == 1 or mask is None  # masked grouped heads fall off the fused kernels
    if not native:
        k, v = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
    membership = table.columns(q.dtype, q.device)[:, None]
    width = v.shape[-1]
    output, masses = None, []
    for first, last, total in column_calls(q.shape[-1], width, table.nodes):
        part = membership[..., first:last].expand(-1, k.shape[1], -1, -1)
        values = part if output is not None else torch.cat([v, part], -1)
        result = F.scaled_dot_product_attention(
            _widen(q, total),
            _widen(k, total),
            _widen(values, total),
            attn_mask=mask,
            is_causal=mask is None,
            scale=scaling,
            enable_gqa=native and groups > 1,
        )
        if output is None:
            output, result = result[..., :width], result[..., width:]
        rows = result[..., : last - first]
        masses.append(rows if token_rows else _pool(rows, table))
    mass = masses[0] if len(masses) == 1 else torch.cat(masses, -1)
    return output, mass.float()


def _pool(rows: torch.Tensor, table: NodeTable) -> torch.Tensor:
    """Average over target nodes: (batch, heads, tokens, n) -> (batch, heads, nodes, n)."""
    means = table.means(rows.device)[:, None]
    return means @ rows.float()


def _widen(tensor: torch.Tensor, width: int) -> torch.Tensor:
    return F.pad(tensor, (0, width - tensor.shape[-1]))


def _round_up(width: int, multiple: int = 8) -> int:
    return -(-width // multiple) * multiple
