"""Interventions: what changes in the predictions of later steps when one step cannot be seen.

For a source node j, no later token may attend to the tokens of j, in any layer or head; attention
renormalises over what is left (BOS, separators and all other nodes stay visible). The effect on a
later node i is

    score[i, j] = mean over positions q that write i of KL(p_base(. | q) || p_cut(. | q)),

in nats. This is a cause, where attention is only association: attention suppression of Thought
Anchors (Bogdan et al. 2025, arXiv 2506.19143), without its corrections for position.

Two questions, two effects:

- "total" cuts j for everything that comes later. No node can pass on what it saw of j, so whatever
  changes in i is all that i had of j in this text, by whatever route. It is the default: this is
  the effect that suppression usually means, and it costs half of the other.
- "direct" cuts j for the positions that write i alone, while everything else runs as before: does i
  itself look at j? What the tokens between took over from j still reaches i.

Both take one row of a batch a source, not one a pair. For "direct" the writing positions are put a
second time behind the trace, where each node's copies see the untouched trace but not j, and nobody
sees the copies of another node.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from tqdm.auto import tqdm

from rg_helpers.graphs.batches import check_traces, evaluation_mode, free_bytes
from rg_helpers.graphs.cut_attention import cut_attention
from rg_helpers.graphs.step_graph import StepGraph, normalise_rows
from rg_helpers.traces import Trace

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Effect = Literal["total", "direct"]
MOST_ROWS = 32


def intervention_scores(
    model: PreTrainedModel,
    traces: Sequence[Trace],
    *,
    effect: Effect = "total",
    batch_size: int | None = None,
    progress: bool = True,
) -> list[np.ndarray]:
    """Return each trace's effects in nats: float32 (nodes, nodes), row = target, column = cut.

    Premises and the question are given, not written: their rows are zero. All sources of a trace
    run as rows of one batch, split into `batch_size` rows (default: what a quarter of the free
    memory allows). Raises `ValueError` for an unknown effect, and for traces without nodes or
    longer than the model's positions.
    """
    if effect not in ("total", "direct"):
        raise ValueError(f"effect={effect!r}: expected 'total' or 'direct'")
    if batch_size is not None and batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    check_traces(model, traces)
    bar = tqdm(traces, desc=f"{effect} effects", disable=None if progress else True)
    with evaluation_mode(model), torch.no_grad():
        return [_effects(model, trace, effect, batch_size) for trace in bar]


def intervention_graphs(
    model: PreTrainedModel,
    traces: Sequence[Trace],
    *,
    effect: Effect = "total",
    batch_size: int | None = None,
    progress: bool = True,
) -> list[StepGraph]:
    """Draw the intervention graph of every trace: shares of the effects on each written node."""
    scores = intervention_scores(
        model, traces, effect=effect, batch_size=batch_size, progress=progress
    )
    choice = f"{effect} effect, all layers and heads"
    return [
        StepGraph(
            normalise_rows(score), trace.kinds, trace.texts, "intervention", choice, trace.trace_id
        )
        for trace, score in zip(traces, scores, strict=True)
    ]


def writing_positions(trace: Trace) -> list[tuple[int, int]]:
    """Return (position, node) of every prediction of a token of a written node, in order.

    The token at t is predicted at position t - 1; a token without one before it is not predicted.
    """
    return [
        (token - 1, number)
        for number, node in enumerate(trace.nodes)
        if node.kind in ("step", "answer")
        for token in range(max(node.start, 1), node.end)
    ]


@dataclass(frozen=True, eq=False)
class _Layout:
    """The sequence that is run: the trace and, for direct effects, copies of writing positions.

    places (slots,): position in the trace. owners (slots,): the node a copy helps to write, -1 for
    the trace itself. read, targets (written,): slots whose predictions count, and for which node.
    """

    places: torch.Tensor
    owners: torch.Tensor
    read: torch.Tensor
    targets: torch.Tensor

    @staticmethod
    def of(trace: Trace, effect: Effect) -> _Layout:
        written = torch.tensor(writing_positions(trace), dtype=torch.int64).reshape(-1, 2)
        places, owners = torch.arange(len(trace)), torch.full((len(trace),), -1)
        positions, targets = written.unbind(1)
        if effect == "total":
            return _Layout(places, owners, positions, targets)
        read = len(trace) + torch.arange(len(written))
        return _Layout(torch.cat([places, positions]), torch.cat([owners, targets]), read, targets)

    def allowed(self, trace: Trace, sources: Sequence[int]) -> torch.Tensor:
        """Return bool (sources, slots, slots): which slot may see which, source by source cut.

        A source of -1 cuts nothing. What a node's own tokens see of it is never cut.
        """
        node_of = torch.tensor(trace.node_ids())[self.places]
        copy = self.owners >= 0
        own_copies = self.owners[:, None] == self.owners
        if bool(copy.any()):
            first = torch.full((len(trace.nodes),), len(trace))
            first.scatter_reduce_(0, self.targets, self.places[self.read], "amin")
            before = self.places < first[self.owners.clamp(min=0)][:, None]
            seen = torch.where(copy[:, None], torch.where(copy, own_copies, before), ~copy)
        else:
            seen = torch.ones_like(own_copies)
        rows = []
        for source in sources:
            end = trace.nodes[source].end if source >= 0 else len(trace)
            later = (self.places >= end) & (copy if bool(copy.any()) else True)
            hidden = (node_of == source) & (source >= 0)
            rows.append(seen & ~(later[:, None] & hidden))
        return torch.stack(rows)


def _effects(
    model: PreTrainedModel, trace: Trace, effect: Effect, batch_size: int | None
) -> np.ndarray:
    """Effects of one trace, a batch of sources at a time."""
    nodes = len(trace.nodes)
    scores = torch.zeros(nodes, nodes)
    layout = _Layout.of(trace, effect)
    if not len(layout.read):
        return scores.numpy()
    counts = torch.bincount(layout.targets, minlength=nodes).clamp(min=1)
    last = int(layout.targets.max())
    rows = batch_size or max(1, min(MOST_ROWS, free_bytes(model) // _row_bytes(model, layout)))
    base = None
    for sources in torch.arange(-1, last).split(rows):
        sources = sources.tolist()
        log_p = _log_probabilities(model, trace, layout, sources)
        if sources[0] == -1:
            base, log_p, sources = log_p[:1], log_p[1:], sources[1:]
        divergence = (base.exp() * (base - log_p)).sum(-1).clamp(min=0).cpu()
        sums = torch.zeros(len(sources), nodes).index_add_(1, layout.targets, divergence)
        scores[:, sources] = (sums / counts).T
    return np.tril(scores.numpy(), k=-1)


def _log_probabilities(
    model: PreTrainedModel, trace: Trace, layout: _Layout, sources: Sequence[int]
) -> torch.Tensor:
    """Predictions at the slots read, float32 (sources, written, vocabulary)."""
    device = model.device
    ids = torch.tensor(trace.token_ids, device=device)[layout.places.to(device)]
    shape = (len(sources), -1)
    places = layout.places.to(device)
    with cut_attention(model, layout.allowed(trace, sources).to(device), places):
        logits = model(
            input_ids=ids.expand(shape),
            attention_mask=torch.ones_like(ids).expand(shape),
            position_ids=places.expand(shape),
            use_cache=False,
            logits_to_keep=layout.read.to(device),
        ).logits
    return torch.log_softmax(logits.float(), dim=-1)


def _row_bytes(model: PreTrainedModel, layout: _Layout) -> int:
    """Estimate, on the high side, what one row of a batch takes."""
    config = model.config.get_text_config()
    slots, read = len(layout.places), len(layout.read)
    widest = getattr(config, "intermediate_size", None) or 4 * config.hidden_size
    scores = (config.num_attention_heads * 2 + 2) * slots * slots
    states = slots * (12 * config.hidden_size + 3 * widest)
    return 4 * (states + scores + 4 * read * config.vocab_size)
