"""Attention weighted by what it carries: the norm of the transformed value vectors.

A head can look at a token and take next to nothing from it, since the token's value vector is
short; BOS is often such a token. Kobayashi et al. (2020, arXiv 2004.10102) therefore measure

    || a(h, t, s) f(h, s) ||  =  a(h, t, s) || (x_s W_V + b_V) W_O ||    per head h,

where t is the target token, s the source token and W_O the rows of the output projection that
belong to the head. The norm depends on the source token alone. So the sum over a step's tokens is a
product with membership columns scaled by the norm, P (diag(n) C), and no matrix of
tokens x tokens is ever stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import nn

from rg_helpers.graphs.attention import Reduction, attention_graph
from rg_helpers.graphs.batches import masses_of_traces
from rg_helpers.graphs.step_graph import StepGraph
from rg_helpers.step_attention import StepAttentionTap, tap_step_attention
from rg_helpers.step_attention.blockwise import RowPlan
from rg_helpers.step_attention.node_table import WeightedTable
from rg_helpers.step_attention.routes import attend_with_step_mass
from rg_helpers.step_attention.tap import served_model
from rg_helpers.traces import Trace

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# How architectures name the output projection of their attention layer.
OUTPUT_PROJECTIONS = ("o_proj", "c_proj", "out_proj", "dense", "wo")


def value_norm_masses(
    model: PreTrainedModel,
    traces: Sequence[Trace],
    *,
    layers: Sequence[int] | None = None,
    batch_size: int | None = None,
    progress: bool = True,
) -> list[np.ndarray]:
    """Return each trace's value-norm-weighted attention: float32 (layers, heads, nodes, nodes).

    Entry [l, h, i, j] is || a f || as above, summed over the tokens of node j and averaged over
    those of node i; the diagonal holds what a node takes from its own tokens. Unlike attention the
    rows have no common sum, and the scale is that of the layer's hidden states: compare within a
    layer, or normalise rows. Raises `ValueError` for a model whose attention layer has no output
    projection of a known name.
    """
    base = served_model(model).base_model

    def run(input_ids: torch.Tensor, mask: torch.Tensor, node_ids: torch.Tensor) -> torch.Tensor:
        tapped = tap_step_attention(model, node_ids, layers=layers, make_tap=_ValueNormTap)
        with tapped as tap:
            base(input_ids=input_ids, attention_mask=mask, use_cache=False)
        return tap.mass()

    return masses_of_traces(
        model, traces, run, title="value norms", batch_size=batch_size, progress=progress
    )


def value_norms_scores(
    model: PreTrainedModel,
    traces: Sequence[Trace],
    *,
    layers: Sequence[int] | None = None,
    batch_size: int | None = None,
    progress: bool = True,
) -> list[np.ndarray]:
    """Return `value_norm_masses` below the diagonal: what each node takes from earlier ones."""
    masses = value_norm_masses(
        model, traces, layers=layers, batch_size=batch_size, progress=progress
    )
    return [np.tril(mass, k=-1) for mass in masses]


def value_norms_graphs(
    model: PreTrainedModel,
    traces: Sequence[Trace],
    reduction: Reduction = "mean",
    *,
    sink: Literal["keep", "drop"] = "keep",
    min_gap: int = 1,
    batch_size: int | None = None,
    progress: bool = True,
) -> list[StepGraph]:
    """Draw every trace's graph of value-norm-weighted attention.

    The other arguments are those of `attention.attention_graph`. With sink="keep" layers whose
    hidden states are long count more; "drop" lets all heads count alike.
    """
    masses = value_norm_masses(model, traces, batch_size=batch_size, progress=progress)
    return [
        replace(
            attention_graph(trace, mass, reduction, sink=sink, min_gap=min_gap),
            method="value_norms",
        )
        for trace, mass in zip(traces, masses, strict=True)
    ]


def transformed_norms(module: nn.Module, value: torch.Tensor, heads: int) -> torch.Tensor:
    """Return || v W_O || of every head and token: float32 (batch, heads, tokens).

    `value` is (batch, key-value heads, tokens, width), each serving heads / key-value heads
    neighbouring query heads. The squared norm is v G v' with G = W_O W_O' of the head
    (width, width), so no vector of the model's full width is made.
    """
    spread = value.float().repeat_interleave(heads // value.shape[1], dim=1)
    weights = _output_weights(module, heads, value.shape[-1]).to(value.device)
    gram = weights @ weights.transpose(1, 2)
    squared = ((spread @ gram) * spread).sum(-1)
    return squared.clamp(min=0).sqrt()


def _output_weights(module: nn.Module, heads: int, width: int) -> torch.Tensor:
    """Return the output projection of each head as it acts: float32 (heads, width, hidden).

    It is read off by projecting unit vectors, which serves every kind of linear layer (transposed,
    quantised, with adapters); subtracting the image of zero takes the bias away.
    """
    for name in OUTPUT_PROJECTIONS:
        projection = getattr(module, name, None)
        if isinstance(projection, nn.Module):
            break
    else:
        raise ValueError(
            f"{type(module).__name__} has no output projection named "
            f"{', '.join(OUTPUT_PROJECTIONS)}: value norms cannot be computed; use attention "
            "graphs for this model"
        )
    like = next(projection.parameters())
    dtype = like.dtype if like.is_floating_point() else torch.float32
    units = torch.eye(heads * width, dtype=dtype, device=like.device)
    image = projection(units).float() - projection(torch.zeros_like(units[:1])).float()
    return image.view(heads, width, -1)


class _ValueNormTap(StepAttentionTap):
    """Sums attention with every head's source tokens weighted by their transformed norm."""

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
        norms = transformed_norms(module, value, query.shape[1])
        membership = self.table.columns(torch.float32, value.device)
        per_group = query.shape[1] // key.shape[1]
        results: list[tuple[torch.Tensor, Any]] = []
        for head in range(query.shape[1]):
            one, group = slice(head, head + 1), slice(head // per_group, head // per_group + 1)
            weighted = WeightedTable.of(self.table, membership * norms[:, head, :, None])
            inputs = query[:, one], key[:, group], value[:, group]
            results.append(attend_with_step_mass(*inputs, weighted, plan, scaling, softcap))
        outputs, masses = zip(*results, strict=True)
        return torch.cat(outputs, 1), torch.cat(masses, 1)
