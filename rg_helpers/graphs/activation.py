"""Activation graphs: how alike two nodes are in the model's residual stream, layer by layer.

Two measures, both symmetric, while dependency is not: that two steps look alike does not say that
one follows from the other. An earlier source and a later target are told apart by order alone.

- cosine of pooled step states, after subtracting the mean state of training traces. Without that
  (`centre=None`) all states share one large direction and every cosine is close to one: the
  anisotropy of Ethayarajh 2019 (arXiv 1909.00512);
- centred kernel alignment of the token states of two nodes (Kornblith et al. 2019, arXiv
  1905.00414), which compares whole clouds of tokens instead of their means.

Kornblith et al. compare two representations of the same n examples. Two nodes have different
numbers of tokens but the same width d, so here the d features take the examples' place: with token
states X (tokens, d) of a node, each centred over its features, K = X'X is a (d, d) kernel, and

    CKA(i, j) = <K_i, K_j>_F / (|K_i|_F |K_j|_F) = |X_i X_j'|_F^2 / (|X_i X_i'|_F |X_j X_j'|_F),

between 0 and 1 whatever the numbers of tokens. The right-hand side is block sums of the squared
products between tokens, which is how it is computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from rg_helpers.graphs.step_graph import StepGraph, normalise_rows
from rg_helpers.graphs.step_states import Pooling, pooling_weights, states_of_traces, step_states
from rg_helpers.traces import Trace

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True, eq=False)
class Centre:
    """The mean token state of training traces: float32 (states, width), and of how many tokens."""

    states: np.ndarray
    tokens: int

    def chosen(self, count: int) -> torch.Tensor:
        """Return the states as a tensor, or say that they are those of another model."""
        if len(self.states) != count:
            raise ValueError(
                f"the centre was fitted on {len(self.states)} states, the model has {count}: fit "
                "it with the same model and the same `layers`"
            )
        return torch.from_numpy(self.states)


def fit_centre(
    model: PreTrainedModel,
    fit: Sequence[Trace],
    *,
    layers: Sequence[int] | None = None,
    batch_size: int | None = None,
    progress: bool = True,
) -> Centre:
    """Return the mean over all node tokens of training traces, for each state of `layers`."""
    if not fit:
        raise ValueError("a centre needs training traces, got none")

    def read(states: torch.Tensor, trace: Trace) -> tuple[np.ndarray, int]:
        inside = torch.tensor(trace.node_ids(), device=states.device) >= 0
        return states[:, inside].double().sum(1).cpu().numpy(), int(inside.sum())

    found = states_of_traces(
        model,
        fit,
        read,
        title="mean state",
        layers=layers,
        batch_size=batch_size,
        progress=progress,
    )
    tokens = sum(count for _, count in found)
    total = np.sum([sums for sums, _ in found], axis=0)
    return Centre((total / tokens).astype(np.float32), tokens)


def similarity_scores(
    model: PreTrainedModel,
    traces: Sequence[Trace],
    centre: Centre | None = None,
    *,
    pooling: Pooling = "mean",
    layers: Sequence[int] | None = None,
    batch_size: int | None = None,
    progress: bool = True,
) -> list[np.ndarray]:
    """Return max(0, cosine) of every two nodes' states: float32 (states, nodes, nodes).

    State 0 are the embeddings, so what it compares are words. `centre` is subtracted from all
    states first; without it see the trap above.
    """
    scores = []
    for states in step_states(
        model, traces, pooling, layers, batch_size=batch_size, progress=progress
    ):
        if centre is not None:
            states = states - centre.chosen(len(states)).numpy()[:, None]
        scores.append(np.tril(cosines(states).clip(min=0), k=-1).astype(np.float32))
    return scores


def similarity_graphs(
    model: PreTrainedModel,
    traces: Sequence[Trace],
    centre: Centre | None = None,
    *,
    layer: int = -1,
    pooling: Pooling = "mean",
    min_gap: int = 1,
    batch_size: int | None = None,
    progress: bool = True,
) -> list[StepGraph]:
    """Draw the graph of similar states after `layer` layers (0 = embeddings, -1 = the last).

    `centre` must hold all states, as `fit_centre` returns them.
    """
    options = {"pooling": pooling, "batch_size": batch_size, "progress": progress}
    scores = similarity_scores(model, traces, centre, **options)
    choice = f"{pooling} of state {layer}, {'centred' if centre else 'not centred'}"
    return layer_graphs(traces, scores, layer, "similarity", choice, min_gap)


def cka_scores(
    model: PreTrainedModel,
    traces: Sequence[Trace],
    centre: Centre | None = None,
    *,
    layers: Sequence[int] | None = None,
    batch_size: int | None = None,
    progress: bool = True,
) -> list[np.ndarray]:
    """Return the CKA of every two nodes' token states: float32 (states, nodes, nodes) in [0, 1].

    `centre` is subtracted from all token states first, as in `similarity_scores`.
    """

    def read(states: torch.Tensor, trace: Trace) -> np.ndarray:
        if centre is not None:
            states = states - centre.chosen(len(states)).to(states.device)[:, None]
        member = (pooling_weights(trace, "mean") > 0).float().to(states.device)
        found = [kernel_alignment(layer, member) for layer in states]
        return np.tril(torch.stack(found).cpu().numpy(), k=-1)

    return states_of_traces(
        model,
        traces,
        read,
        title="kernel alignment",
        layers=layers,
        batch_size=batch_size,
        progress=progress,
    )


def cka_graphs(
    model: PreTrainedModel,
    traces: Sequence[Trace],
    centre: Centre | None = None,
    *,
    layer: int = -1,
    min_gap: int = 1,
    batch_size: int | None = None,
    progress: bool = True,
) -> list[StepGraph]:
    """Draw the graph of aligned token states after `layer` layers (0 = embeddings, -1 = last)."""
    scores = cka_scores(model, traces, centre, batch_size=batch_size, progress=progress)
    choice = f"state {layer}, {'centred' if centre else 'not centred'}"
    return layer_graphs(traces, scores, layer, "cka", choice, min_gap)


def cosines(states: np.ndarray) -> np.ndarray:
    """Return the cosine of every two rows: (..., nodes, width) gives (..., nodes, nodes).

    A state of length zero has cosine 0 with everything.
    """
    lengths = np.linalg.norm(states, axis=-1, keepdims=True)
    directions = np.divide(states, lengths, out=np.zeros_like(states), where=lengths > 0)
    return np.clip(directions @ np.swapaxes(directions, -1, -2), -1, 1)


def kernel_alignment(states: torch.Tensor, member: torch.Tensor) -> torch.Tensor:
    """Return the linear CKA (nodes, nodes) of token states (tokens, width), float32.

    `member` (nodes, tokens) is 1 where a token belongs to a node. A node whose centred states are
    all zero has alignment 0 with everything.
    """
    centred = states - states.mean(-1, keepdim=True)
    squared = (centred @ centred.T) ** 2
    blocks = member @ squared @ member.T
    norms = blocks.diagonal().sqrt()
    return (blocks / (norms[:, None] * norms).clamp(min=1e-20)).clamp(0, 1)


def layer_graphs(
    traces: Sequence[Trace],
    scores: Sequence[np.ndarray],
    layer: int,
    method: str,
    choice: str,
    min_gap: int = 1,
) -> list[StepGraph]:
    """Make a graph of one layer of every trace's scores (layers, nodes, nodes)."""
    graphs = []
    for trace, score in zip(traces, scores, strict=True):
        if not -len(score) <= layer < len(score):
            raise ValueError(f"layer {layer} does not exist: the scores hold 0 to {len(score) - 1}")
        weights = normalise_rows(score[layer], min_gap)
        graphs.append(StepGraph(weights, trace.kinds, trace.texts, method, choice, trace.trace_id))
    return graphs
