"""Lightweight graphs from the generation itself: no pass over the finished trace at all.

While a model writes, every attention layer holds what its graph needs: the query of each new
token, and the keys of all tokens before it. This keeps them, for the chosen heads alone, and works
the masses between steps out afterwards, when the text is there and can be cut into steps:

    with capture_attention(model, chosen) as capture:
        traces = sample_traces(model, tokenizer, problems, draft=False)
    graphs = capture.graphs(traces)

Traces whose tokens did not pass through the model inside the block (written elsewhere, tokenised
anew, a last token that was never fed back) are drawn by `lightweight_scores`; `capture.missed`
counts them. Either way the numbers are the same.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from rg_helpers.graphs.lightweight import Lightweight, lightweight_scores, mean_of_normalised
from rg_helpers.graphs.step_graph import StepGraph, normalise_rows
from rg_helpers.step_attention.blockwise import plan_rows
from rg_helpers.step_attention.node_table import NodeTable
from rg_helpers.step_attention.routes import attend_with_step_mass
from rg_helpers.step_attention.tap import layer_indices, served_model
from rg_helpers.traces import Trace

if TYPE_CHECKING:
    from transformers import PreTrainedModel

IMPLEMENTATION = "rg_helpers_capture"
ROWS_AT_ONCE = 16  # of a batch, while masses are worked out
START_TOKENS = 12  # by which a trace is looked up before all its tokens are compared

_CAPTURES: weakref.WeakKeyDictionary[nn.Module, AttentionCapture] = weakref.WeakKeyDictionary()


@dataclass(eq=False)
class _Layer:
    """Queries (batch, heads, new, width) of every call, and the keys of all tokens so far.

    While the batch is being written both hold all heads as they come, since choosing at every token
    would cost more than all the rest; `cut` keeps the chosen ones.
    """

    heads: list[int]
    groups: list[int]
    scaling: float
    queries: list[torch.Tensor] = field(default_factory=list)
    keys: torch.Tensor | None = None
    tokens: int = 0
    whole: bool = True  # False once keys were dropped (sliding windows)
    done: bool = False

    def cut(self) -> None:
        """Keep the chosen heads' queries and keys alone, and let go of the model's cache."""
        if not self.done and self.keys is not None:
            self.queries = [torch.cat(self.queries, dim=2)[:, self.heads]]
            self.keys = self.keys[:, self.groups]
            self.done = True


@dataclass(eq=False)
class _Batch:
    """One batch being written: the tokens fed, where each row starts, and the chosen layers."""

    tokens: list[torch.Tensor]
    starts: list[int]
    layers: dict[int, _Layer] = field(default_factory=dict)


class AttentionCapture:
    """What `capture_attention` kept of the chosen heads.

    It holds one query and one key of each chosen head for every token that passed through the
    model, so memory grows with what is written, not with its square.
    """

    def __init__(self, model: PreTrainedModel, chosen: Lightweight):
        self.chosen = chosen
        self.layers = frozenset(layer for layer, _ in chosen.heads)
        self.missed = 0
        self._model = model
        self._batches: list[_Batch] = []
        self._fed: tuple[torch.Tensor, Any] | None = None

    def scores(self, traces: Sequence[Trace], *, progress: bool = True) -> list[np.ndarray]:
        """Return what `lightweight_scores` returns, from what was captured where possible."""
        found: list[np.ndarray | None] = [None] * len(traces)
        places = self._find(traces)
        for number, batch in enumerate(self._batches):
            held = [(index, row) for index, (at, row) in places.items() if at == number]
            for first in range(0, len(held), ROWS_AT_ONCE):
                part = held[first : first + ROWS_AT_ONCE]
                rows = [row for _, row in part]
                masses = _masses(batch, rows, [traces[index] for index, _ in part])
                for (index, _), mass in zip(part, masses, strict=True):
                    nodes = len(traces[index].nodes)
                    found[index] = mass[:nodes, :nodes].copy()
        missing = [index for index, score in enumerate(found) if score is None]
        self.missed = len(missing)
        left = [traces[index] for index in missing]
        drawn = lightweight_scores(self._model, left, self.chosen, progress=progress)
        for index, score in zip(missing, drawn, strict=True):
            found[index] = score
        return [score for score in found if score is not None]

    def graphs(self, traces: Sequence[Trace], *, progress: bool = True) -> list[StepGraph]:
        """Draw the lightweight graph of every trace."""
        method, choice = "lightweight", self.chosen.choice
        return [
            StepGraph(
                normalise_rows(score), trace.kinds, trace.texts, method, choice, trace.trace_id
            )
            for trace, score in zip(traces, self.scores(traces, progress=progress), strict=True)
        ]

    def feed(self, input_ids: torch.Tensor | None, mask: Any) -> None:
        """Remember the tokens of the forward pass that starts now."""
        self._fed = None if input_ids is None else (input_ids, mask)

    def note(self, layer: int, query: torch.Tensor, key: torch.Tensor, scaling: float) -> None:
        """Keep the chosen heads of one call of one layer."""
        if self._fed is not None:
            self._begin_or_go_on(query.shape[2] == key.shape[2])
        if not self._batches:
            return
        kept = self._batches[-1].layers
        entry = kept.get(layer)
        if entry is None:
            heads = [head for at, head in self.chosen.heads if at == layer]
            if max(heads) >= query.shape[1]:
                raise ValueError(
                    f"layer {layer} has heads 0 to {query.shape[1] - 1}, but {heads} were chosen: "
                    "fit the choice on this model"
                )
            per_group = query.shape[1] // key.shape[1]
            entry = kept[layer] = _Layer(heads, [head // per_group for head in heads], scaling)
        entry.queries.append(query)
        entry.keys = key  # holds all earlier ones too: the cache hands them over at every call
        entry.tokens += query.shape[2]
        entry.whole &= key.shape[2] == entry.tokens

    def finish(self) -> None:
        """Cut what the last batch left to the chosen heads."""
        for batch in self._batches[-1:]:
            for entry in batch.layers.values():
                entry.cut()

    def _begin_or_go_on(self, begins: bool) -> None:
        (input_ids, mask), self._fed = self._fed, None
        if not begins:
            if self._batches:
                self._batches[-1].tokens.append(input_ids)
            return
        self.finish()
        starts = [0] * len(input_ids)
        if isinstance(mask, torch.Tensor) and mask.ndim == 2:
            starts = mask.to(torch.int8).argmax(dim=1).tolist()
        self._batches.append(_Batch([input_ids], starts))

    def _find(self, traces: Sequence[Trace]) -> dict[int, tuple[int, int]]:
        """Return the batch and row in which each trace's node tokens passed, where they did."""
        by_start: dict[tuple[int, ...], list[int]] = {}
        for index, trace in enumerate(traces):
            by_start.setdefault(tuple(trace.token_ids[:START_TOKENS]), []).append(index)
        places: dict[int, tuple[int, int]] = {}
        for number, batch in enumerate(self._batches):
            if batch.layers.keys() != self.layers or not all(
                entry.whole for entry in batch.layers.values()
            ):
                continue
            fed = torch.cat(batch.tokens, dim=1).tolist()
            for row, (tokens, start) in enumerate(zip(fed, batch.starts, strict=True)):
                written = tuple(tokens[start:])
                for index in by_start.get(written[:START_TOKENS], ()):
                    needed = traces[index].nodes[-1].end if traces[index].nodes else 0
                    if 0 < needed <= len(written) and (
                        written[:needed] == traces[index].token_ids[:needed]
                    ):
                        places[index] = (number, row)
        return places


@contextlib.contextmanager
def capture_attention(model: PreTrainedModel, chosen: Lightweight) -> Iterator[AttentionCapture]:
    """Keep queries and keys of the chosen heads while the model runs inside the block.

    What the model writes stays the same; it runs SDPA attention inside the block and gets its own
    back afterwards. Raises `ValueError` for sampled rows (`chosen.rows`), which save nothing here,
    and for models that step attention does not serve.
    """
    if chosen.rows is not None:
        raise ValueError(
            f"rows={chosen.rows}: generation asks every token anyway; capture with rows=None"
        )
    base = served_model(model)
    layer_indices(base, {layer for layer, _ in chosen.heads})
    modules = list(base.modules())
    if any(module in _CAPTURES for module in modules):
        raise RuntimeError("this model is being captured already: leave that `with` block first")
    capture = AttentionCapture(model, chosen)
    former = base.config._attn_implementation

    def fed(module: nn.Module, arguments: tuple, named: dict[str, Any]) -> None:
        ids = arguments[0] if arguments else named.get("input_ids")
        capture.feed(ids, named.get("attention_mask"))

    hook = base.base_model.register_forward_pre_hook(fed, with_kwargs=True)
    try:
        base.set_attn_implementation(IMPLEMENTATION)
        _CAPTURES.update(dict.fromkeys(modules, capture))
        yield capture
    finally:
        hook.remove()
        for module in modules:
            _CAPTURES.pop(module, None)
        base.set_attn_implementation(former)
        capture.finish()


def _masses(batch: _Batch, rows: Sequence[int], traces: Sequence[Trace]) -> np.ndarray:
    """Return the mean of the chosen heads for some rows: float32 (rows, nodes, nodes)."""
    tokens = sum(part.shape[1] for part in batch.tokens)
    starts = torch.tensor([batch.starts[row] for row in rows])
    ids = torch.full((len(rows), tokens), -1)
    for number, (row, trace) in enumerate(zip(rows, traces, strict=True)):
        start, end = batch.starts[row], trace.nodes[-1].end
        ids[number, start : start + end] = torch.tensor(trace.node_ids()[:end])
    table = NodeTable(ids, max(len(trace.nodes) for trace in traces))
    recorded = []
    for _, entry in sorted(batch.layers.items()):
        query, key = entry.queries[0][rows], entry.keys[rows]
        at = torch.arange(tokens, device=query.device)
        mask = None
        if bool(starts.any()):
            real = at >= starts.to(query.device)[:, None]
            mask = ((at <= at[:, None]) & real[:, None])[:, None]
        plan = plan_rows(tokens, mask)
        inputs = query, key, key, table, plan, entry.scaling
        recorded.append(attend_with_step_mass(*inputs)[1])
    return mean_of_normalised(recorded).cpu().numpy()


def _attention(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **named: Any,
) -> tuple[torch.Tensor, None]:
    """What transformers calls in every attention layer; shapes as in `sdpa_attention_forward`."""
    capture = _CAPTURES.get(module)
    layer = getattr(module, "layer_idx", None)
    if capture is None or layer is None or named.get("softcap") is not None:
        raise ValueError(
            f"{type(module).__name__} cannot be captured (outside `capture_attention`, without a "
            "layer index, or with soft-capped scores): use lightweight_graphs on finished traces"
        )
    if layer in capture.layers:
        capture.note(layer, query, key, query.shape[-1] ** -0.5 if scaling is None else scaling)
    return sdpa_attention_forward(
        module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **named
    )


AttentionInterface.register(IMPLEMENTATION, _attention)
AttentionMaskInterface.register(IMPLEMENTATION, sdpa_mask)
