"""Lightweight graphs: almost the graph of all heads for a small part of a forward pass.

Drawing all layers and heads costs a forward pass over every trace. What deployment needs is a few
heads, and these need not sit in the last layers. Three savings, each exact for what it keeps:

- few heads: chosen greedily on training traces with gold edges (`edge_recovery.best_heads`);
- early exit: the pass stops inside the attention of the highest chosen layer. Its values, its MLP,
  all layers above and the output head never run;
- sampled rows: only the last few tokens of each target node ask what they attend to.

`fit_lightweight` takes the fewest layers, then the fewest heads, that keep a wanted share of the
recovery above chance; `lightweight_curve` lists what every depth and number of heads would give.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from rg_helpers.edge_recovery import GraphSet, auroc, best_heads
from rg_helpers.graphs.attention import attention_masses
from rg_helpers.graphs.batches import masses_of_traces
from rg_helpers.graphs.step_graph import StepGraph, normalise_rows
from rg_helpers.step_attention import StepAttentionTap, tap_step_attention
from rg_helpers.step_attention.blockwise import RowPlan
from rg_helpers.step_attention.routes import attend_with_step_mass
from rg_helpers.step_attention.tap import served_model
from rg_helpers.traces import Trace

if TYPE_CHECKING:
    from transformers import PreTrainedModel

MOST_HEADS = 4
KEEP = 0.98  # of the recovery above chance, on the fit traces; the bar on others is 0.95


@dataclass(frozen=True)
class Lightweight:
    """Which part of the model is read, fitted on training traces.

    heads: (layer, head) pairs, averaged after scaling each one's rows to one. fit_auroc: their
    AUROC on the fit traces. rows: how many tokens of each target node are asked, its last ones;
    None asks all.
    """

    heads: tuple[tuple[int, int], ...]
    fit_auroc: float
    rows: int | None = None

    def __post_init__(self) -> None:
        if not self.heads or (self.rows is not None and self.rows < 1):
            raise ValueError(
                f"heads={self.heads}, rows={self.rows}: name at least one (layer, head) pair, and "
                "ask at least one token of a node (None: all)"
            )

    @property
    def depth(self) -> int:
        """How many layers run, the last of them only as far as its attention scores."""
        return 1 + max(layer for layer, _ in self.heads)

    @property
    def choice(self) -> str:
        """The heads, and the rows if sampled, in words."""
        heads = ", ".join(f"layer {layer} head {head}" for layer, head in self.heads)
        return heads if self.rows is None else f"{heads}; last {self.rows} tokens of a node"


def lightweight_curve(fit: GraphSet, most_heads: int = MOST_HEADS) -> list[Lightweight]:
    """Return the greedy choice of heads for every depth and number of heads, cheapest first.

    Depth d chooses among the first d layers. Only choices that really use layer d - 1 are listed,
    since others cost less than their depth says.
    """
    found = []
    for depth in range(1, len(fit.heads) + 1):
        below = GraphSet(fit.gold, [mass[:depth] for mass in fit.masses], fit.problem_ids)
        heads = best_heads(below, most_heads)
        for count in range(1, len(heads) + 1):
            scores = np.mean([below.heads[pair] for pair in heads[:count]], axis=0)
            reached = auroc(scores, fit.candidates.labels)
            option = Lightweight(tuple(heads[:count]), reached)
            if option.depth == depth:
                found.append(option)
    return found


def fit_lightweight(
    model: PreTrainedModel,
    fit: Sequence[Trace],
    gold: Sequence[StepGraph],
    *,
    most_heads: int = MOST_HEADS,
    keep: float = KEEP,
    rows: int | None = None,
    batch_size: int | None = None,
    progress: bool = True,
) -> Lightweight:
    """Choose what to read on training traces `fit` with their `gold` graphs.

    Takes the fewest layers, then the fewest heads, whose AUROC above one half is at least `keep` of
    the best of all depths. `rows` is passed on.
    """
    if not 0 < keep <= 1:
        raise ValueError(f"keep={keep}: expected a share of the recovery, above 0 and at most 1")
    masses = attention_masses(model, fit, batch_size=batch_size, progress=progress)
    data = GraphSet(gold, masses, [trace.problem_id for trace in fit])
    chosen = choose_lightweight(lightweight_curve(data, most_heads), keep)
    return Lightweight(chosen.heads, chosen.fit_auroc, rows)


def choose_lightweight(curve: Sequence[Lightweight], keep: float = KEEP) -> Lightweight:
    """Return the cheapest option of a curve whose AUROC above chance is `keep` of the best."""
    best = max(option.fit_auroc for option in curve)
    enough = [option for option in curve if option.fit_auroc - 0.5 >= keep * (best - 0.5)]
    return min(enough or curve, key=lambda option: (option.depth, len(option.heads)))


def lightweight_scores(
    model: PreTrainedModel,
    traces: Sequence[Trace],
    chosen: Lightweight,
    *,
    batch_size: int | None = None,
    progress: bool = True,
) -> list[np.ndarray]:
    """Return the mean of the chosen heads' attention, rows of one each: float32 (nodes, nodes).

    With `rows=None` these are exactly the scores of `attention.attention_graph` with the same heads
    and sink="drop".
    """

    def run(input_ids: torch.Tensor, mask: torch.Tensor, node_ids: torch.Tensor) -> torch.Tensor:
        layers = {layer for layer, _ in chosen.heads}
        make = partial(_LightweightTap, chosen=chosen)
        tapped = tap_step_attention(model, node_ids, layers=layers, make_tap=make)
        with tapped as tap, contextlib.suppress(_EnoughLayers):
            base(input_ids=input_ids, attention_mask=mask, use_cache=False)
        return mean_of_normalised([mass for _, mass in sorted(tap.by_layer.items())])

    base = served_model(model).base_model
    return masses_of_traces(
        model, traces, run, title="lightweight", batch_size=batch_size, progress=progress
    )


def lightweight_graphs(
    model: PreTrainedModel,
    traces: Sequence[Trace],
    chosen: Lightweight,
    *,
    batch_size: int | None = None,
    progress: bool = True,
) -> list[StepGraph]:
    """Draw the lightweight graph of every trace."""
    scores = lightweight_scores(model, traces, chosen, batch_size=batch_size, progress=progress)
    return [
        StepGraph(
            normalise_rows(score),
            trace.kinds,
            trace.texts,
            "lightweight",
            chosen.choice,
            trace.trace_id,
        )
        for trace, score in zip(traces, scores, strict=True)
    ]


def sampled_rows(node_ids: torch.Tensor, rows: int) -> torch.Tensor:
    """Return the positions of the last `rows` tokens of every node: int64 (batch, most rows).

    `node_ids` is (batch, tokens), nodes contiguous, -1 = no node. Shorter lists are filled with -1.
    """
    following = torch.nn.functional.pad(node_ids, (0, rows), value=-1)[:, rows:]
    last = (node_ids >= 0) & (following != node_ids)
    most = max(1, int(last.sum(1).max()))
    order = torch.argsort((~last).to(torch.int8), dim=1, stable=True)[:, :most]
    return order.masked_fill(~last.gather(1, order), -1)


class _EnoughLayers(Exception):  # noqa: N818 - a signal, no error
    """Raised inside the highest layer needed: everything that was wanted is known."""


class _LightweightTap(StepAttentionTap):
    """Records the chosen heads of each layer and ends the forward pass after the last of them."""

    def __init__(self, *arguments: Any, chosen: Lightweight):
        super().__init__(*arguments)
        self._chosen = chosen

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
        heads = [head for at, head in self._chosen.heads if at == layer]
        per_group = query.shape[1] // key.shape[1]
        groups = [head // per_group for head in heads]
        last = layer == self._chosen.depth - 1
        everything = query, key, value, plan, scaling, softcap
        if heads and not 0 <= min(heads) <= max(heads) < query.shape[1]:
            raise ValueError(
                f"layer {layer} has heads 0 to {query.shape[1] - 1}, but {heads} were chosen: fit "
                "the choice on this model"
            )
        if not heads:  # a layer between that has to go through this function for its softcap
            return super().attend(module, layer, *everything)
        if self._chosen.rows is not None:
            mass = self._ask_rows(query[:, heads], key[:, groups], plan, scaling, softcap)
            if not last:
                return super().attend(module, layer, *everything)[0], mass
        elif last:
            inputs = query[:, heads], key[:, groups], value[:, groups]
            mass = attend_with_step_mass(*inputs, self.table, plan, scaling, softcap)[1]
        else:
            output, masses = super().attend(module, layer, *everything)
            return output, masses[:, heads]
        self.record(layer, mass)
        raise _EnoughLayers

    def _ask_rows(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        plan: RowPlan,
        scaling: float,
        softcap: float | None,
    ) -> torch.Tensor:
        """Masses of the sampled rows alone: float32 (batch, heads, nodes, nodes)."""
        asked = sampled_rows(self.table.ids.to(query.device), self._chosen.rows or 1)
        at = asked.clamp(min=0)
        wide = at[:, None, :, None].expand(-1, query.shape[1], -1, query.shape[-1])
        scores = query.gather(2, wide).float() @ key.float().transpose(2, 3) * scaling
        if softcap is not None:
            scores = softcap * torch.tanh(scores / softcap)
        scores = _hide(scores, at, plan.mask)
        rows = scores.softmax(-1) @ self.table.columns(torch.float32, query.device)[:, None]
        targets = self.table.ids.to(query.device).gather(1, at).masked_fill(asked < 0, -1)
        nodes = torch.arange(self.table.nodes, device=query.device)
        member = (targets[:, None] == nodes[:, None]).float()
        means = member / member.sum(-1, keepdim=True).clamp(min=1)
        return means[:, None] @ rows


def _hide(scores: torch.Tensor, at: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """Take away what the rows at positions `at` (batch, rows) must not see."""
    tokens = scores.shape[-1]
    least = torch.finfo(scores.dtype).min
    if mask is None:
        future = torch.arange(tokens, device=scores.device) > at[:, :, None]
        return scores.masked_fill(future[:, None], least)
    wanted = at[:, None, :, None].expand(-1, mask.shape[1], -1, tokens)
    part = mask.expand(at.shape[0], -1, -1, -1).gather(2, wanted)
    if mask.dtype == torch.bool:
        return scores.masked_fill(~part, least)
    return (scores + part).clamp(min=least)


def mean_of_normalised(masses: Sequence[torch.Tensor]) -> torch.Tensor:
    """Average heads, each with its rows below the diagonal scaled to one: (batch, nodes, nodes).

    `masses` are (batch, heads, nodes, nodes), one entry a layer; every head counts alike.
    """
    device = masses[0].device
    below = torch.cat([mass.float().to(device) for mass in masses], dim=1).clamp(min=0).tril(-1)
    sums = below.sum(-1, keepdim=True)
    return torch.where(sums > 0, below / sums.clamp(min=1e-30), 0.0).mean(1)
