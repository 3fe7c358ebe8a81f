"""The exact routes to step masses behind one function, and the choice among them."""

from __future__ import annotations

import torch

from rg_helpers.step_attention.blockwise import RowPlan, blockwise_attention
from rg_helpers.step_attention.columns import column_attention
from rg_helpers.step_attention.node_table import NodeTable

ROUTES = ("blockwise", "columns")


def choose_route(q: torch.Tensor, softcap: float | None) -> str:
    """Name the faster exact route for this device and dtype.

    Measured with `benchmarks/step_attention.py`: in float32 on a CPU the blockwise pass costs
    little more than the fused kernel; in bfloat16, and on a GPU, only the fused kernels reach the
    matrix units, so the columns ride along there. A softcap is outside what the fused kernels do.
    """
    if softcap is not None:
        return "blockwise"
    if q.device.type == "cpu" and q.dtype in (torch.float32, torch.float64):
        return "blockwise"
    return "columns"


def attend_with_step_mass(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    table: NodeTable,
    plan: RowPlan,
    scaling: float,
    softcap: float | None = None,
    token_rows: bool = False,
    route: str | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Causal attention output (batch, heads, tokens, width) and float32 step masses.

    Masses are (batch, heads, nodes, nodes), row = target, or (batch, heads, tokens, nodes) if
    `token_rows`. `route` forces one of `ROUTES`; None picks by device and dtype.
    """
    kind = q.device.type
    if torch.is_autocast_enabled(kind) and q.dtype != torch.float64:
        # What scaled_dot_product_attention does itself; the pooling below must stay float32.
        q, k, v = (tensor.to(torch.get_autocast_dtype(kind)) for tensor in (q, k, v))
    route = route or choose_route(q, softcap)
    if route not in ROUTES:
        raise ValueError(f"route {route!r} is unknown: choose one of {', '.join(ROUTES)} or None")
    if route == "columns" and softcap is not None:
        raise ValueError("the fused kernels know no softcap: use route='blockwise' or None")
    with torch.autocast(kind, enabled=False):
        if route == "columns":
            return column_attention(q, k, v, table, plan.mask, scaling, token_rows)
        return blockwise_attention(q, k, v, table, plan, scaling, softcap, token_rows)
