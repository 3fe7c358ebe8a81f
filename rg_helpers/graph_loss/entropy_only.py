"""Entropy only: the control that sharpens attention without saying where it should go."""

from __future__ import annotations

from torch import Tensor

from rg_helpers.graph_loss.graph_batch import (
    GraphBatch,
    Heads,
    chosen_heads,
    eligible_rows,
    row_mean,
)
from rg_helpers.graph_loss.soft_features import normalised_entropy


def entropy_only(attention: Tensor, batch: GraphBatch, *, heads: Heads) -> Tensor:
    """Return the mean entropy of the steps' attention over earlier nodes: (batch,), in [0, 1].

        loss = mean over steps i and heads of  -sum_j p_ij log p_ij / log(sources of i)

    attention: (batch, layers, heads, nodes, nodes); heads: those that the alignment it stands
    beside supervises, or "all". Entropy minimisation after Grandvalet & Bengio 2004.

    An alignment to one or two parents of many candidates also makes rows sharp. If this control
    helps as much, sharpness was the cause and the graph was not.

    Failure mode: the lowest entropy is one source for all steps, whichever is nearest to winning
    at the start; entropy that collapses makes training unstable (Zhai et al. 2023, arXiv
    2303.06296).
    """
    rows = eligible_rows(chosen_heads(attention, heads), batch)
    return row_mean(normalised_entropy(rows, batch), batch.is_target)
