"""What graph terms carry with them: KoLeo buffers from step to step, predictors to the device."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from rg_helpers.graph_loss import GraphBatch
from rg_helpers.graph_loss.koleo import KoLeoBuffer, graph_embeddings
from rg_helpers.training.loss import WeightedTerm


def koleo_buffers(terms: Sequence[WeightedTerm]) -> dict[str, KoLeoBuffer]:
    """Return the buffers that terms were given, by the name of the term."""
    buffers = {term.name: getattr(term.term, "choices", {}).get("buffer") for term in terms}
    return {name: buffer for name, buffer in buffers.items() if isinstance(buffer, KoLeoBuffer)}


def pushed(
    buffer: KoLeoBuffer, term: WeightedTerm, attention: Tensor, graph: GraphBatch
) -> KoLeoBuffer:
    """Return the buffer with this batch's embeddings added, without gradient.

    attention: (batch, layers, heads, nodes, nodes). Each process keeps a buffer of its own traces.
    """
    heads = getattr(term.term, "choices", {}).get("heads", "all")
    with torch.no_grad(), torch.autocast(attention.device.type, enabled=False):
        embeddings = graph_embeddings(attention.detach(), graph, heads)
    return buffer.pushed(embeddings, graph.problem_ids)


def move_choices(terms: Sequence[WeightedTerm], device: torch.device) -> None:
    """Move the frozen predictors that terms read to the device of the attention."""
    for term in terms:
        for choice in getattr(term.term, "choices", {}).values():
            if isinstance(choice, nn.Module):
                choice.to(device)
