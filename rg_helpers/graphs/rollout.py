"""Attention rollout: attention followed through all layers down to the input tokens.

A layer mixes what the layers below it mixed already. Abnar & Zuidema (2020, arXiv 2005.00928)
therefore multiply the layers' attention, averaged over heads, with the residual stream counted as
half of what a token is made of:

    A~_l = (A_l + I) / 2,        rollout_l = A~_l rollout_(l-1),        rollout_0 = I.

What is wanted is R rollout_L C, where R averages over a target node's tokens and C sums over a
source node's. Multiplied from the right, X_l = A~_l X_(l-1) with X_0 = C, this never needs a matrix
wider than tokens x nodes: the exact token-level rollout costs as much as step attention and is
the default (`level="tokens"`). `level="steps"` rolls out the step masses instead, as one would with
step masses alone; it takes all tokens of a step for one, so it is an approximation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import nn

from rg_helpers.graphs.attention import attention_masses
from rg_helpers.graphs.batches import masses_of_traces
from rg_helpers.graphs.step_graph import StepGraph, normalise_rows
from rg_helpers.step_attention import StepAttentionTap, tap_step_attention
from rg_helpers.step_attention.blockwise import RowPlan
from rg_helpers.step_attention.node_table import WeightedTable
from rg_helpers.step_attention.routes import attend_with_step_mass, choose_route
from rg_helpers.step_attention.tap import served_model
from rg_helpers.traces import Trace

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Level = Literal["tokens", "steps"]


def rollout_masses(
    model: PreTrainedModel,
    traces: Sequence[Trace],
    *,
    level: Level = "tokens",
    batch_size: int | None = None,
    progress: bool = True,
) -> list[np.ndarray]:
    """Return each trace's rollout through the layers so far: float32 (layers, nodes, nodes).

    Entry [l, i, j] is the share of node i, after layer l, that is rolled out to the tokens of node
    j; the diagonal holds what stays within a node. Rows sum to at most one, the rest came from
    BOS and separators.
    """
    if level not in ("tokens", "steps"):
        raise ValueError(f"level={level!r}: expected 'tokens' (exact) or 'steps'")
    if level == "steps":
        masses = attention_masses(model, traces, batch_size=batch_size, progress=progress)
        return [roll_out(mass) for mass in masses]
    base = served_model(model).base_model

    def run(input_ids: torch.Tensor, mask: torch.Tensor, node_ids: torch.Tensor) -> torch.Tensor:
        with tap_step_attention(model, node_ids, make_tap=_RolloutTap) as tap:
            base(input_ids=input_ids, attention_mask=mask, use_cache=False)
        return tap.mass()

    return masses_of_traces(
        model, traces, run, title="rollout", batch_size=batch_size, progress=progress
    )


def rollout_scores(
    model: PreTrainedModel,
    traces: Sequence[Trace],
    *,
    level: Level = "tokens",
    batch_size: int | None = None,
    progress: bool = True,
) -> list[np.ndarray]:
    """Return `rollout_masses` below the diagonal, float32 (layers, nodes, nodes); last = whole."""
    masses = rollout_masses(model, traces, level=level, batch_size=batch_size, progress=progress)
    return [np.tril(mass, k=-1) for mass in masses]


def rollout_graphs(
    model: PreTrainedModel,
    traces: Sequence[Trace],
    *,
    level: Level = "tokens",
    layer: int = -1,
    min_gap: int = 1,
    batch_size: int | None = None,
    progress: bool = True,
) -> list[StepGraph]:
    """Draw every trace's rollout graph after `layer` (default: the last, through all layers).

    Sources nearer than `min_gap` nodes are left out. Raises `ValueError` for a layer that the model
    does not have.
    """
    graphs = []
    all_scores = rollout_scores(
        model, traces, level=level, batch_size=batch_size, progress=progress
    )
    for trace, scores in zip(traces, all_scores, strict=True):
        layers = len(scores)
        if not -layers <= layer < layers:
            raise ValueError(f"layer {layer} does not exist: the model has {layers} layers")
        choice = f"{level}, layers 0 to {layer % layers}"
        weights = normalise_rows(scores[layer], min_gap)
        graphs.append(
            StepGraph(weights, trace.kinds, trace.texts, "rollout", choice, trace.trace_id)
        )
    return graphs


def roll_out(mass: np.ndarray) -> np.ndarray:
    """Roll out attention (layers, heads, n, n) over its layers: float32 (layers, n, n).

    Exact for attention between tokens; for step masses an approximation.
    """
    layers = mass.astype(np.float64).mean(axis=1)
    identity = np.eye(mass.shape[-1])
    rolled, found = identity, []
    for layer in layers:
        rolled = (layer + identity) / 2 @ rolled
        found.append(rolled)
    return np.stack(found).astype(np.float32)


def rank_agreement(first: np.ndarray, second: np.ndarray) -> float:
    """Return Spearman's rank correlation of two (nodes, nodes) matrices below the diagonal.

    NaN where there are fewer than three pairs or one of the matrices is constant there.
    """
    below = np.tril_indices(len(first), k=-1)
    one, other = first[below], second[below]
    if len(one) < 3 or np.ptp(one) == 0 or np.ptp(other) == 0:
        return float("nan")
    return float(spearmanr(one, other).statistic)


class _RolloutTap(StepAttentionTap):
    """Carries the rollout X (batch, tokens, nodes) from layer to layer."""

    _rolled: torch.Tensor | None = None
    _next_layer = 0

    def attend(
        self,
        module: nn.Module,
        layer: int,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        plan: RowPlan,
        scaling: float,
        softcap: float | None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if layer != self._next_layer:
            raise ValueError(
                f"layer {layer} ran where layer {self._next_layer} was due: rollout needs softmax "
                "attention in every layer, one after the other; use attention graphs for this model"
            )
        self._next_layer += 1
        below = self._rolled
        if below is None:
            below = self.table.columns(torch.float32, query.device)
        below = below.to(query.device)
        route = choose_route(query, key, value, self.table.nodes, plan.mask, softcap)
        if route == "ranges":  # that route looks sources up by node, but X spreads over nodes
            route = "columns"
        table = WeightedTable.of(self.table, below)
        inputs = query, key, value, table, plan, scaling, softcap
        output, by_token = attend_with_step_mass(*inputs, token_rows=True, route=route)
        self._rolled = (by_token.mean(1) + below) / 2
        return output, self.table.means(query.device) @ self._rolled
