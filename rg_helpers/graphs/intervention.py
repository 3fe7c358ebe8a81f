"""Interventions: what changes in the predictions of later steps when one step cannot be seen.

For a source node j, no later token may attend to the tokens of j, in any layer or head; attention
renormalises over what is left (BOS, separators and all other nodes stay visible). The effect on a
later node i is

    score[i, j] = mean over positions q that write i of KL(p_base(. | q) || p_cut(. | q)),

in nats. This is a cause, where attention is only association: attention suppression of Thought
Anchors (Bogdan et al. 2025, arXiv 2506.19143), without its corrections for position.

Two questions, two effects:

- "total" cuts j for everything that comes later. No node can pass on what it saw of j, so whatever
  changes in i is all that i had of j in this text, by whatever route. It is the default, because
  this is what suppressing a step usually means.
- "direct" cuts j for the positions that write i alone, while everything else runs as before: does i
  itself look at j? What the tokens between took over from j still reaches i.

Both take one row of a batch a source, not one a pair. The trace is read once without a cut; a row
then runs again only what its cut can change, on top of the keys and values of that reading: for
"total" the text after j, for "direct" the positions that write a later node, each node's seeing the
untouched text before it without j, and none those of another node.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from tqdm.auto import tqdm
from transformers import DynamicCache

from rg_helpers.graphs.batches import check_traces, evaluation_mode, free_bytes
from rg_helpers.graphs.cut_attention import cut_attention
from rg_helpers.graphs.step_graph import StepGraph, normalise_rows
from rg_helpers.traces import Trace

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Effect = Literal["total", "direct"]
MOST_ROWS = 8  # more would run more of what lies before a row's own cut


def intervention_scores(
    model: PreTrainedModel,
    traces: Sequence[Trace],
    *,
    effect: Effect = "total",
    batch_size: int | None = None,
    progress: bool = True,
) -> list[np.ndarray]:
    """Return each trace's effects in nats: float32 (nodes, nodes), row = target, column = cut.

    Premises and the question are given, not written: their rows are zero. Sources run as rows of
    one batch, `batch_size` at a time (default: a few, fewer where memory is short). Raises
    `ValueError` for an unknown effect, and for traces without nodes or longer than the model's
    positions.
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


def _effects(
    model: PreTrainedModel, trace: Trace, effect: Effect, batch_size: int | None
) -> np.ndarray:
    """Effects of one trace, a few sources at a time; rows of a batch lie near each other."""
    nodes = len(trace.nodes)
    scores = torch.zeros(nodes, nodes)
    written = torch.tensor(writing_positions(trace), dtype=torch.int64).reshape(-1, 2)
    if not len(written):
        return scores.numpy()
    positions, targets = written.unbind(1)
    counts = torch.bincount(targets, minlength=nodes).clamp(min=1)
    base, cache = _base_run(model, trace, positions)
    most = max(1, min(MOST_ROWS, free_bytes(model) // _row_bytes(model, trace)))
    for sources in torch.arange(int(targets.max())).split(batch_size or most):
        changed = positions >= trace.nodes[int(sources[0])].end
        if not bool(changed.any()):
            break
        slots = _Slots.of(trace, effect, sources.tolist(), positions[changed], targets[changed])
        log_p = _cut_run(model, trace, slots, cache)
        before = base[changed]
        divergence = (before.exp() * (before - log_p)).sum(-1).clamp(min=0).cpu()
        sums = torch.zeros(len(sources), nodes).index_add_(1, targets[changed], divergence)
        scores[:, sources] = (sums / counts).T
    return np.tril(scores.numpy(), k=-1)


@dataclass(frozen=True, eq=False)
class _Slots:
    """What is run again for some sources.

    places (slots,): position of every slot in the trace. kept: how many tokens of the reading
    without a cut are there as keys. read: the slots whose predictions count. allowed: bool
    (sources, slots, kept + slots).
    """

    places: torch.Tensor
    kept: int
    read: torch.Tensor
    allowed: torch.Tensor

    @staticmethod
    def of(
        trace: Trace,
        effect: Effect,
        sources: Sequence[int],
        positions: torch.Tensor,
        targets: torch.Tensor,
    ) -> _Slots:
        """Lay the slots out; no position lies before the end of the first source."""
        if effect == "total":
            kept = trace.nodes[sources[0]].end
            places = torch.arange(kept, int(positions.max()) + 1)
            read = positions - kept
            seen = torch.ones(len(places), kept + len(places), dtype=torch.bool)
        else:
            kept, places, read = int(positions.max()) + 1, positions, torch.arange(len(positions))
            first = torch.full((len(trace.nodes),), kept)
            first.scatter_reduce_(0, targets, positions, "amin")
            before = torch.arange(kept) < first[targets][:, None]
            seen = torch.cat([before, targets[:, None] == targets], dim=1)
        keys = torch.cat([torch.arange(kept), places])
        node_of = torch.tensor(trace.node_ids())[keys]
        rows = []
        for source in sources:
            later = places >= trace.nodes[source].end  # a node's own tokens go on seeing it
            rows.append(seen & ~(later[:, None] & (node_of == source)))
        return _Slots(places, kept, read, torch.stack(rows))


def _base_run(
    model: PreTrainedModel, trace: Trace, positions: torch.Tensor
) -> tuple[torch.Tensor, DynamicCache]:
    """Predictions without a cut, float32 (positions, vocabulary), and all keys and values."""
    tokens, device = int(positions.max()) + 1, model.device
    ids = torch.tensor([trace.token_ids[:tokens]], device=device)
    cache = DynamicCache()  # without a configuration: sliding windows are masked, not dropped
    with cut_attention(model, torch.ones(1, tokens, tokens, dtype=torch.bool)):
        logits = model(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=positions.to(device),
        ).logits
    return torch.log_softmax(logits[0].float(), dim=-1), cache


def _cut_run(
    model: PreTrainedModel, trace: Trace, slots: _Slots, cache: DynamicCache
) -> torch.Tensor:
    """Predictions at the slots read, float32 (sources, read, vocabulary)."""
    rows, device = len(slots.allowed), model.device
    places = slots.places.to(device)
    ids = torch.tensor(trace.token_ids, device=device)[places].expand(rows, -1)
    keys = torch.cat([torch.arange(slots.kept, device=device), places])
    with cut_attention(model, slots.allowed.to(device), keys):
        logits = model(
            input_ids=ids,
            attention_mask=torch.ones(rows, len(keys), dtype=torch.int64, device=device),
            position_ids=places.expand(rows, -1),
            past_key_values=_first_tokens(cache, slots.kept, rows),
            use_cache=True,
            logits_to_keep=slots.read.to(device),
        ).logits
    return torch.log_softmax(logits.float(), dim=-1)


def _first_tokens(cache: DynamicCache, tokens: int, rows: int) -> DynamicCache:
    """Return a cache of the first tokens alone, the same in every row."""
    copy = DynamicCache()
    for number, layer in enumerate(cache.layers):
        keys, values = (
            kept[:, :, :tokens].expand(rows, -1, -1, -1) for kept in (layer.keys, layer.values)
        )
        copy.update(keys, values, number)
    return copy


def _row_bytes(model: PreTrainedModel, trace: Trace) -> int:
    """Estimate, on the high side, what one row of a batch takes."""
    config = model.config.get_text_config()
    tokens, width = len(trace), config.hidden_size
    widest = getattr(config, "intermediate_size", None) or 4 * width
    states = tokens * (12 * width + 3 * widest + 4 * config.num_hidden_layers * width)
    scores = (config.num_attention_heads * 2 + 2) * 2 * tokens * tokens
    return 4 * (states + scores + 4 * tokens * config.vocab_size)
