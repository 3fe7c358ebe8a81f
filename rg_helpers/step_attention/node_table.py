"""Which token belongs to which node, as the matrices that the attention routes multiply with."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch


@dataclass(frozen=True, eq=False)
class NodeTable:
    """Step membership of a padded batch.

    ids: int64 (batch, tokens), the node of each token, -1 for none (BOS, separators, padding).
    nodes: number of nodes, the width of every step-mass matrix.
    """

    ids: torch.Tensor
    nodes: int
    _cache: dict = field(default_factory=dict, repr=False)

    def columns(self, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
        """One-hot membership C, `dtype` (batch, tokens, nodes); a token without node is all zero.

        `P @ C` of an attention matrix P is the mass each target token puts on each source node.
        """
        key = ("columns", dtype, device)
        if key not in self._cache:
            ids = self.ids.to(device)
            nodes = torch.arange(self.nodes, device=device)
            self._cache[key] = (ids[:, :, None] == nodes).to(dtype)
        return self._cache[key]

    def means(self, device: torch.device) -> torch.Tensor:
        """Row weights R, float32 (batch, nodes, tokens): 1 / (tokens of the node) on its tokens.

        `R @ (P @ C)` averages over the target node's tokens; a node without tokens has a zero row.
        """
        key = ("means", torch.float32, device)
        if key not in self._cache:
            rows = self.columns(torch.float32, device).transpose(1, 2)
            weights = rows / rows.sum(-1, keepdim=True).clamp(min=1.0)
            self._cache[key] = weights.contiguous()
        return self._cache[key]

    def node_range(self, batch: slice, rows: slice) -> tuple[int, int]:
        """Smallest half-open range of node ids that holds every node met in these target rows."""
        key = ("range", batch.start, batch.stop, rows.start, rows.stop)
        if key not in self._cache:  # every layer asks for the same blocks
            block = self._ids_on_host()[batch, rows]
            block = block[block >= 0]
            found = (int(block.min()), int(block.max()) + 1) if block.numel() else (0, 0)
            self._cache[key] = found
        return self._cache[key]

    def key_range(self, first: int, last: int) -> tuple[int, int]:
        """Smallest half-open range of tokens that holds every token of nodes first to last - 1."""
        ids = self._ids_on_host()
        tokens = ((ids >= first) & (ids < last)).any(0).nonzero()
        return (int(tokens[0]), int(tokens[-1]) + 1) if len(tokens) else (0, 0)

    def _ids_on_host(self) -> torch.Tensor:
        if "ids" not in self._cache:
            self._cache["ids"] = self.ids.cpu()
        return self._cache["ids"]


@dataclass(frozen=True, eq=False)
class WeightedTable(NodeTable):
    """A `NodeTable` whose membership is any matrix instead of one-hot columns.

    weights: (batch, tokens, nodes), what `columns` returns: membership scaled per source token, or
    spread over several nodes. Targets are pooled by `ids` as before. The route "ranges" looks for
    the tokens of a node by `ids` and is exact only where `weights` is zero for other nodes.
    """

    weights: torch.Tensor = field(kw_only=True, repr=False)

    def columns(self, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
        """The weights as `dtype` (batch, tokens, nodes)."""
        return self.weights.to(device=device, dtype=dtype)

    def means(self, device: torch.device) -> torch.Tensor:
        """Row weights as those of a plain table: every target token counts alike."""
        return NodeTable(self.ids, self.nodes, self._cache).means(device)

    @staticmethod
    def of(table: NodeTable, weights: torch.Tensor) -> WeightedTable:
        """The table with other weights; what was worked out about its targets is shared."""
        return WeightedTable(table.ids, table.nodes, table._cache, weights=weights)
