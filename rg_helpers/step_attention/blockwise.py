"""Attention and its step masses in one pass over blocks of target rows.

A block of rows sees all its keys at once, so its softmax is finished before the next block starts
and can be multiplied with the values, and summed over target and source steps, while it is still
in the processor's cache. The largest thing ever held is one block of rows, never tokens x tokens.
The backward pass recomputes each block instead of storing it (the idea of FlashAttention, Dao et
al. 2022, with exact rows in place of an online softmax).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from rg_helpers.step_attention.node_table import NodeTable

_softmax_gradient = torch.ops.aten._softmax_backward_data.out

BLOCK_ROWS = 128
BLOCK_BYTES = 32 * 2**20


@dataclass(frozen=True)
class RowBlock:
    """Target rows [start, end) and the half-open range of keys that any of them may see."""

    start: int
    end: int
    first_key: int
    last_key: int


@dataclass(frozen=True, eq=False)
class RowPlan:
    """How the rows of one attention mask are cut into blocks.

    mask: None for plain causal attention, else bool (True = may attend) or additive float,
    (batch or 1, heads or 1, tokens, tokens).
    """

    tokens: int
    mask: torch.Tensor | None
    blocks: tuple[RowBlock, ...]


def plan_rows(tokens: int, mask: torch.Tensor | None, rows: int = BLOCK_ROWS) -> RowPlan:
    """Cut `tokens` rows into blocks and find the keys each block needs (sliding windows: few)."""
    starts = range(0, tokens, rows)
    if mask is None:
        blocks = [RowBlock(i, min(i + rows, tokens), 0, min(i + rows, tokens)) for i in starts]
        return RowPlan(tokens, None, tuple(blocks))
    blocks = []
    for start in starts:
        end = min(start + rows, tokens)
        block = mask[:, :, start:end]
        seen = block if mask.dtype == torch.bool else block > torch.finfo(mask.dtype).min
        keys = seen.flatten(0, 2).any(0).nonzero()
        first, last = (int(keys[0]), int(keys[-1]) + 1) if len(keys) else (0, 0)
        blocks.append(RowBlock(start, end, first, last))
    return RowPlan(tokens, mask, tuple(blocks))


@dataclass(frozen=True)
class _Tile:
    """The part of the (batch, key-value head) grid that is worked on at a time."""

    batch: slice
    groups: slice  # key-value heads
    heads: slice  # their query heads


def _tiles(batch: int, groups: int, per_group: int, bytes_per_group: int) -> Iterator[_Tile]:
    fitting = max(1, BLOCK_BYTES // max(bytes_per_group, 1))
    batch_step = max(1, min(batch, fitting // groups))
    group_step = groups if fitting >= groups else fitting
    for b in range(0, batch, batch_step):
        for g in range(0, groups, group_step):
            g_end = min(g + group_step, groups)
            yield _Tile(
                slice(b, min(b + batch_step, batch)),
                slice(g, g_end),
                slice(g * per_group, g_end * per_group),
            )


class _Work:
    """One tile's view of the inputs and the scratch memory that its blocks share."""

    def __init__(self, q, k, v, plan: RowPlan, scaling: float, softcap: float | None):
        self.q, self.k, self.v, self.plan = q, k, v, plan
        self.scaling, self.softcap = scaling, softcap
        self.batch, self.heads, self.tokens, self.width = q.shape
        self.groups = k.shape[1]
        self.per_group = self.heads // self.groups
        rows = max((b.end - b.start for b in plan.blocks), default=0)
        keys = max((b.last_key - b.first_key for b in plan.blocks), default=0)
        self._bytes_per_group = self.per_group * rows * keys * q.element_size()
        self._scratch: dict[str, torch.Tensor] = {}
        self._rows, self._keys = rows, keys
        corner = torch.full((rows, rows), torch.finfo(q.dtype).min, dtype=q.dtype, device=q.device)
        self._future = corner.triu(1)

    def tiles(self) -> Iterator[_Tile]:
        return _tiles(self.batch, self.groups, self.per_group, self._bytes_per_group)

    def scratch(self, name: str, tile: _Tile, shape: tuple[int, ...]) -> torch.Tensor:
        size = 1
        for length in shape:
            size *= length
        if name not in self._scratch or self._scratch[name].numel() < size:
            streams = (tile.batch.stop - tile.batch.start) * (tile.heads.stop - tile.heads.start)
            self._scratch[name] = self.q.new_empty(max(size, streams * self._rows * self._keys))
        return self._scratch[name][:size].view(shape)

    def rows_of(self, tensor: torch.Tensor, tile: _Tile, block: RowBlock) -> torch.Tensor:
        """(streams, group heads * rows, width) of a (batch, heads, tokens, width) tensor."""
        part = tensor[tile.batch, tile.heads, block.start : block.end]
        streams = part.shape[0] * (tile.groups.stop - tile.groups.start)
        return part.reshape(streams, -1, tensor.shape[-1])

    def keys_of(self, tensor: torch.Tensor, tile: _Tile, block: RowBlock) -> torch.Tensor:
        """(streams, keys, width) of a (batch, key-value heads, tokens, width) tensor."""
        part = tensor[tile.batch, tile.groups, block.first_key : block.last_key]
        return part.reshape(-1, block.last_key - block.first_key, tensor.shape[-1])

    def by_head(self, tensor: torch.Tensor, tile: _Tile, block: RowBlock) -> torch.Tensor:
        """View (streams, group heads * rows, n) as (batch, heads, rows, n) of the tile."""
        batch, heads = tile.batch.stop - tile.batch.start, tile.heads.stop - tile.heads.start
        return tensor.view(batch, heads, block.end - block.start, tensor.shape[-1])

    def probabilities(
        self, tile: _Tile, block: RowBlock
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Softmax rows (streams, group heads * rows, keys) and, under a softcap, its derivative."""
        q, k = self.rows_of(self.q, tile, block), self.keys_of(self.k, tile, block)
        scores = self.scratch("scores", tile, (q.shape[0], q.shape[1], k.shape[1]))
        torch.baddbmm(q.new_zeros(()), q, k.transpose(1, 2), beta=0, alpha=self.scaling, out=scores)
        slope = None
        if self.softcap is not None:
            scores.div_(self.softcap).tanh_()
            slope = 1 - scores.square()
            scores.mul_(self.softcap)
        self._hide(self.by_head(scores, tile, block), tile, block)
        # In place: every row is read completely before it is written.
        return torch.softmax(scores, -1, out=scores), slope

    def _hide(self, scores: torch.Tensor, tile: _Tile, block: RowBlock) -> None:
        """Take away what a row must not see; the lowest finite number, as eager attention does."""
        mask = self.plan.mask
        rows = block.end - block.start
        if mask is None:
            scores[..., block.start : block.end].add_(self._future[:rows, :rows])
            return
        batch = tile.batch if mask.shape[0] > 1 else slice(None)
        heads = tile.heads if mask.shape[1] > 1 else slice(None)
        part = mask[batch, heads, block.start : block.end, block.first_key : block.last_key]
        if mask.dtype == torch.bool:
            scores.masked_fill_(~part, torch.finfo(scores.dtype).min)
        else:
            scores.add_(part).clamp_(min=torch.finfo(scores.dtype).min)


class BlockwiseAttention(torch.autograd.Function):
    """(q, k, v) -> (attention output, step masses); see `blockwise_attention`."""

    @staticmethod
    def forward(ctx, q, k, v, table, plan, scaling, softcap, token_rows):
        work = _Work(q, k, v, plan, scaling, softcap)
        columns, means = table.columns(q.dtype, q.device), table.means(q.device).to(q.dtype)
        output = q.new_zeros(q.shape[:3] + v.shape[-1:])
        mass = q.new_zeros(*q.shape[:2], work.tokens if token_rows else table.nodes, table.nodes)
        for tile in work.tiles():
            for block in plan.blocks:
                if block.last_key == block.first_key:
                    continue
                p, _ = work.probabilities(tile, block)
                rows, keys = slice(block.start, block.end), slice(block.first_key, block.last_key)
                values = torch.bmm(p, work.keys_of(v, tile, block))
                output[tile.batch, tile.heads, rows] = work.by_head(values, tile, block)
                sources = columns[tile.batch, keys]
                by_head = work.by_head(p, tile, block)
                if token_rows:
                    mass[tile.batch, tile.heads, rows] = _from_batch(by_head, sources)
                    continue
                first, last = table.node_range(tile.batch, rows)
                if last > first:
                    # Rows first: a block has few target steps, so the wide product stays small.
                    pooled = _rows_mean(means[tile.batch, first:last, rows], by_head)
                    mass[tile.batch, tile.heads, first:last] += _from_batch(pooled, sources)
        ctx.save_for_backward(q, k, v)
        ctx.settings = (table, plan, scaling, softcap, token_rows)
        ctx.set_materialize_grads(False)
        return output, mass

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad_output, grad_mass):
        q, k, v = ctx.saved_tensors
        with torch.autocast(q.device.type, enabled=False):
            gradients = _gradients(q, k, v, *ctx.settings, grad_output, grad_mass)
        return (*gradients, None, None, None, None, None)


def _gradients(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    table: NodeTable,
    plan: RowPlan,
    scaling: float,
    softcap: float | None,
    token_rows: bool,
    grad_output: torch.Tensor | None,
    grad_mass: torch.Tensor | None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Gradients of q, k and v: every block's probabilities are worked out once more."""
    work = _Work(q, k, v, plan, scaling, softcap)
    grad_q, grad_k, grad_v = torch.zeros_like(q), torch.zeros_like(k), torch.zeros_like(v)
    if grad_output is None and grad_mass is None:
        return grad_q, grad_k, grad_v
    columns, means = table.columns(q.dtype, q.device), table.means(q.device).to(q.dtype)
    for tile in work.tiles():
        for block in plan.blocks:
            if block.last_key == block.first_key:
                continue
            p, slope = work.probabilities(tile, block)
            rows, keys = slice(block.start, block.end), slice(block.first_key, block.last_key)
            grad_p = work.scratch("grad", tile, tuple(p.shape))
            if grad_output is not None:
                from_output = work.rows_of(grad_output, tile, block)
                torch.bmm(from_output, work.keys_of(v, tile, block).transpose(1, 2), out=grad_p)
                added = torch.bmm(p.transpose(1, 2), from_output)
                target = grad_v[tile.batch, tile.groups, keys]
                target += added.view(target.shape)
            else:
                grad_p.zero_()
            first, last = table.node_range(tile.batch, rows)
            if grad_mass is not None and (token_rows or last > first):
                if token_rows:
                    per_row = grad_mass[tile.batch, tile.heads, rows]
                else:
                    weights = means[tile.batch, first:last, rows].transpose(1, 2)
                    per_row = _rows_mean(weights, grad_mass[tile.batch, tile.heads, first:last])
                sources = columns[tile.batch, keys].transpose(1, 2)
                flat = grad_p.view(sources.shape[0], -1, sources.shape[2])
                flat.baddbmm_(per_row.reshape(*flat.shape[:2], -1), sources)
            # d softmax: p * (grad - sum over keys of p * grad); in place, since every row is summed
            # up before it is written.
            _softmax_gradient(grad_p, p, -1, p.dtype, grad_input=grad_p)
            if slope is not None:
                grad_p.mul_(slope)
            grad_rows = torch.bmm(grad_p, work.keys_of(k, tile, block)).mul_(scaling)
            grad_q[tile.batch, tile.heads, rows] = work.by_head(grad_rows, tile, block)
            added = torch.bmm(grad_p.transpose(1, 2), work.rows_of(q, tile, block))
            target = grad_k[tile.batch, tile.groups, keys]
            target += added.view(target.shape).mul_(scaling)
    return grad_q, grad_k, grad_v


def _rows_mean(weights: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """(batch, n, m) weights times (batch, heads, m, width) rows -> (batch, heads, n, width)."""
    batch, heads, m, width = rows.shape
    spread = weights[:, None].expand(batch, heads, -1, m)
    product = torch.bmm(spread.reshape(batch * heads, -1, m), rows.reshape(-1, m, width))
    return product.view(batch, heads, -1, width)


def _from_batch(rows: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
    """(batch, heads, n, m) times one (batch, m, width) matrix for all heads of a batch row."""
    batch, heads, n, m = rows.shape
    product = torch.bmm(rows.reshape(batch, heads * n, m), matrix)
    return product.view(batch, heads, n, -1)


def blockwise_attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    table: NodeTable,
    plan: RowPlan,
    scaling: float,
    softcap: float | None = None,
    token_rows: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attention output and step masses, both differentiable in q, k and v.

    q: (batch, heads, tokens, width); k, v: (batch, key-value heads, tokens, width), where each
    key-value head serves heads / key-value heads neighbouring query heads. Works in float32 for
    half-precision input. Returns the output (batch, heads, tokens, width) in the dtype of q and
    the masses float32 (batch, heads, nodes, nodes), or (batch, heads, tokens, nodes) if
    `token_rows`.
    """
    dtype = q.dtype
    if dtype in (torch.bfloat16, torch.float16):
        q, k, v = q.float(), k.float(), v.float()
    output, mass = BlockwiseAttention.apply(q, k, v, table, plan, scaling, softcap, token_rows)
    return output.to(dtype), mass.float()
