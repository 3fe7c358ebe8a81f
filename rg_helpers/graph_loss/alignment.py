"""Alignment: attention of each step is pulled towards the nodes that the step follows from.

Supervised attention is old in translation (Liu et al. 2016, arXiv 1609.04186; Mi et al. 2016, arXiv
1608.00112) and parsing (Strubell et al. 2018, arXiv 1804.08199: one head attends to the syntactic
parent); Chen et al. (2026, arXiv 2604.15701) distil a teacher's attention between reasoning steps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from rg_helpers.graph_loss.graph_batch import (
    EPS,
    GraphBatch,
    Heads,
    chosen_heads,
    eligible_mass,
    eligible_rows,
    row_mean,
)

Form = Literal["log_mass", "kl", "margin"]
FORMS: tuple[Form, ...] = Form.__args__


def alignment(
    attention: Tensor,
    batch: GraphBatch,
    *,
    heads: Heads,
    form: Form = "log_mass",
    combine: Literal["each", "pooled"] = "each",
    sink: Literal["drop", "keep"] = "drop",
    margin: float = 1.0,
) -> Tensor:
    """Return how far each trace's steps look away from their gold parents: (batch,), in nats.

    With p_ij the share that target i gives to source j, g_ij the gold row, G_i its parents, the
    loss of a row is

        log_mass   -log sum over j in G_i of p_ij
        kl         sum over j of g_ij log(g_ij / p_ij)
        margin     sum over j in G_i of g_ij max(0, margin - log p_ij + log max over k not in G_i
                   of p_ik)

    averaged over the rows that have a gold row and over heads; a trace without any gives 0.
    `log_mass` does not care how the mass is spread over the parents, `kl` does, and `margin` stops
    pulling once every parent gets exp(margin) times as much as the strongest other node.

    attention: (batch, layers, heads, nodes, nodes); batch.gold: (batch, nodes, nodes).
    heads: the (layer, head) pairs that are supervised, by default of a training run those that
    `head_choice.best_aligned_heads` finds, or "all". combine: "each" asks every head for the whole
    row, "pooled" only their average. sink: "drop" takes shares among earlier nodes, so that
    attention on BOS costs nothing; "keep" counts it, and what the node gives to itself, as mass
    that misses the parents. Raises `ValueError` for a batch without gold graphs and for unknown
    choices.

    Failure modes: supervised in a layer that nothing reads from any more, it can change little; a
    row supervised on a whole sentence leaves open which token; a head whose window does not reach
    the parents cannot follow and pays -log(EPS) for ever; and a lower loss only says that attention
    *looks* at the parents. Only a run with shuffled rows shows what the true ones add.
    """
    if form not in _ROW_LOSSES:
        raise ValueError(f"form={form!r}: expected one of {', '.join(FORMS)}")
    if sink not in ("drop", "keep") or combine not in ("each", "pooled"):
        raise ValueError(
            f"sink={sink!r}, combine={combine!r}: expected sink 'drop' or 'keep', combine 'each' "
            "or 'pooled'"
        )
    gold = gold_rows(batch)
    rows = (eligible_rows if sink == "drop" else eligible_mass)(
        chosen_heads(attention, heads), batch
    )
    if combine == "pooled":
        rows = rows.mean(1, keepdim=True)
    gold = gold.to(rows.dtype)[:, None]
    return row_mean(_ROW_LOSSES[form](rows, gold, batch, margin), gold[:, 0].sum(-1) > 0)


def gold_mass(rows: Tensor, gold: Tensor) -> Tensor:
    """Return each row's mass on the parents of its target: (..., nodes).

    rows: (..., nodes, nodes) shares; gold: (..., nodes, nodes), of which only the support counts.
    """
    return torch.where(gold > 0, rows, 0.0).sum(-1)


def gold_rows(batch: GraphBatch) -> Tensor:
    """Return the gold rows (batch, nodes, nodes), or raise `ValueError` if the batch has none."""
    if batch.gold is None:
        raise ValueError(
            f"this loss needs a gold graph for every trace and the batch of {batch.name(0)} has "
            "none: pass graphs to graph_batch (graph_loss.targets draws gold, shuffled and silver "
            "ones), or choose a term that needs none (disorder, error_feedback, koleo, "
            "entropy_only)"
        )
    return batch.gold


def _log_mass(rows: Tensor, gold: Tensor, batch: GraphBatch, margin: float) -> Tensor:
    return -torch.log(gold_mass(rows, gold) + EPS)


def _kl(rows: Tensor, gold: Tensor, batch: GraphBatch, margin: float) -> Tensor:
    return (torch.xlogy(gold, gold) - gold * torch.log(rows + EPS)).sum(-1)


def _margin(rows: Tensor, gold: Tensor, batch: GraphBatch, margin: float) -> Tensor:
    others = batch.eligible[:, None] & (gold <= 0)
    strongest = torch.where(others, rows, -1.0).amax(-1, keepdim=True)
    ahead = torch.log(rows + EPS) - torch.log(strongest.clamp(min=0.0) + EPS)
    missing = torch.where(strongest >= 0, (margin - ahead).clamp(min=0.0), 0.0)
    return (gold * missing).sum(-1)


_ROW_LOSSES: dict[Form, Callable[[Tensor, Tensor, GraphBatch, float], Tensor]] = {
    "log_mass": _log_mass,
    "kl": _kl,
    "margin": _margin,
}
