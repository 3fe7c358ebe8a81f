"""The exact routes to step masses behind one function, and the choice among them."""

from __future__ import annotations

import torch

from rg_helpers.step_attention.blockwise import RowPlan, blockwise_attention
from rg_helpers.step_attention.columns import column_attention, column_calls
from rg_helpers.step_attention.node_table import NodeTable
from rg_helpers.step_attention.ranges import range_attention, ranges_serve

ROUTES = ("blockwise", "columns", "ranges")
DIFFERENTIABLE_ROUTES = ("blockwise", "columns")


def choose_route(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    nodes: int,
    mask: torch.Tensor | None,
    softcap: float | None,
) -> str:
    """Name the fastest exact route for these inputs.

    Measured with `benchmarks/step_attention.py`: in float32 on a CPU the blockwise pass costs
    little more than the fused kernel. In bfloat16, and on a GPU, only the fused kernels reach the
    matrix units: steps ride along as columns as long as one call holds them all; more steps
    take one more pass in ranges, where no gradient is asked for. No fused kernel knows a softcap.
    """
    if softcap is not None:
        return "blockwise"
    if q.device.type == "cpu" and q.dtype in (torch.float32, torch.float64):
        return "blockwise"
    if len(column_calls(q.shape[-1], v.shape[-1], nodes)) > 1 and ranges_serve(q, k, v, mask):
        return "ranges"
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
    route = route or choose_route(q, k, v, table.nodes, plan.mask, softcap)
    if route not in ROUTES:
        raise ValueError(f"route {route!r} is unknown: choose one of {', '.join(ROUTES)} or None")
    if route != "blockwise" and softcap is not None:
        raise ValueError("the fused kernels know no softcap: use route='blockwise' or None")
    if route == "ranges" and plan.mask is not None:
        raise ValueError(
            "route 'ranges' serves unpadded batches without sliding window: use route='columns' "
            "or None"
        )
    with torch.autocast(kind, enabled=False):
        if route == "ranges":
            return range_attention(q, k, v, table, scaling, token_rows)
        if route == "columns":
            return column_attention(q, k, v, table, plan.mask, scaling, token_rows)
        return blockwise_attention(q, k, v, table, plan, scaling, softcap, token_rows)
