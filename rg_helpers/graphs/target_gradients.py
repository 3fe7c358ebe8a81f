"""Derivatives of every written node's log-probability with respect to the embeddings, exactly.

Unlike the looks of a step, the embeddings of earlier tokens act on it by way of everything in
between, so S targets need S vector-Jacobian products. They share what they can:

- one forward pass, which keeps what all targets need;
- one backward pass through the output head and the top layer: there the targets do not meet yet,
  since each reads its own positions, and its keys and values are split by target (`_TopLayer`);
- the layers below in one batched pass for many targets (`is_grads_batched`), which computes the
  attention probabilities once for all;
- tokens after the last target of a batch are left out: no target depends on what follows it.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import nn

from rg_helpers.graphs.batches import free_bytes
from rg_helpers.graphs.graded_attention import (
    BackwardBlock,
    GradedAttention,
    Watcher,
    token_log_probabilities,
    watched_tap,
)
from rg_helpers.step_attention.blockwise import RowBlock
from rg_helpers.step_attention.tap import tap_step_attention

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Span = tuple[int, int]
MOST_TARGETS = 8  # of one batched pass: more would only carry more tokens that nobody needs


def target_gradients(
    model: PreTrainedModel,
    input_ids: torch.Tensor,
    embedded: torch.Tensor,
    spans: Sequence[Span],
    targets_per_pass: int | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return d log p_i / d embedding and log p_i for every span of tokens.

    input_ids: int64 (1, tokens), what the spans' tokens are; embedded: (1, tokens, width), what the
    model reads in their place. Returns (spans, tokens, width) and float64 (spans,) on
    the CPU.
    """
    gradients = embedded.new_zeros(len(spans), *embedded.shape[1:])
    log_p = torch.zeros(len(spans), dtype=torch.float64)
    most = targets_per_pass or _fitting_targets(model, embedded.shape[1])
    by_end = sorted(range(len(spans)), key=lambda index: spans[index][1])
    for first in range(0, len(by_end), most):
        chosen = by_end[first : first + most]
        end = max(spans[index][1] for index in chosen)
        found, values = _batched_gradients(
            model, input_ids[:, :end], embedded[:, :end], [spans[index] for index in chosen]
        )
        gradients[chosen, :end], log_p[chosen] = found, values.double().cpu()
    return gradients, log_p


def naive_target_gradients(
    model: PreTrainedModel,
    input_ids: torch.Tensor,
    embedded: torch.Tensor,
    spans: Sequence[Span],
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the same by one backward pass for every span, in plain autograd: the reference."""
    with torch.enable_grad():
        embedded = embedded.detach().requires_grad_()
        chosen = token_log_probabilities(
            model(inputs_embeds=embedded, use_cache=False).logits, input_ids
        )
        log_p = [chosen[0, max(start - 1, 0) : end - 1].sum() for start, end in spans]
        gradients = [torch.autograd.grad(p, embedded, retain_graph=True)[0][0] for p in log_p]
    return torch.stack(gradients), torch.stack(log_p).detach().double().cpu()


class _TopLayer(Watcher):
    """Splits the gradient of the top layer's keys and values by target; lets none of it pass."""

    def __init__(self, top: int, spans: Sequence[Span]):
        super().__init__(None, "all")
        self.top, self.spans = top, spans
        self.keys = self.values = None  # the live tensors (1, key heads, tokens, width)
        self.key_gradients = self.value_gradients = None  # (targets, 1, key heads, tokens, width)

    def attend(self, layer, q, k, v, plan, scaling, softcap):
        if layer != self.top:
            return super().attend(layer, q, k, v, plan, scaling, softcap)
        self.keys, self.values = k, v
        self.key_gradients = k.new_zeros(len(self.spans), *k.shape)
        self.value_gradients = torch.zeros_like(self.key_gradients)
        stop = _Stop(self)
        return GradedAttention.apply(q, k, v, stop, layer, plan, scaling, softcap)

    def split(self, block: RowBlock, step: BackwardBlock) -> None:
        """Add what one block of rows gives to the keys and values, target by target."""
        seen, heads = slice(block.first_key, block.last_key), self.keys.shape[1]
        for target, (start, end) in enumerate(self.spans):
            rows = slice(max(start - 1, block.start, 0), min(end - 1, block.end))
            if rows.stop <= rows.start:
                continue
            rows = slice(rows.start - block.start, rows.stop - block.start)
            queries, grad = step.queries[:, :, rows], step.grad[:, :, rows]
            to_keys = step.score_gradient[:, :, rows].to(queries.dtype).mT @ queries
            to_values = step.probabilities[:, :, rows].to(grad.dtype).mT @ grad
            self.key_gradients[target, :, :, seen] += to_keys.unflatten(1, (heads, -1)).sum(2)
            self.value_gradients[target, :, :, seen] += to_values.unflatten(1, (heads, -1)).sum(2)


class _Stop(Watcher):
    """The watcher of the top layer alone."""

    def __init__(self, owner: _TopLayer):
        super().__init__(None, "none")
        self._owner = owner

    def see(self, layer: int, block: RowBlock, step: BackwardBlock) -> None:
        self._owner.split(block, step)


def _batched_gradients(
    model: PreTrainedModel, input_ids: torch.Tensor, embedded: torch.Tensor, spans: Sequence[Span]
) -> tuple[torch.Tensor, torch.Tensor]:
    """`target_gradients` of the spans of one pass."""
    top, block = top_layer(model)
    watcher = _TopLayer(top, spans)
    tokens = embedded.shape[1]
    rows = torch.zeros(len(spans), tokens, device=embedded.device)
    for target, (start, end) in enumerate(spans):
        rows[target, max(start - 1, 0) : end - 1] = 1
    with torch.enable_grad():
        embedded = embedded.detach().requires_grad_()
        with (
            tap_step_attention(model, torch.zeros_like(input_ids), make_tap=watched_tap(watcher)),
            _input_of(block) as inputs,
        ):
            output = model(inputs_embeds=embedded, use_cache=False)
        chosen = token_log_probabilities(output.logits, input_ids)[0]
        log_p = rows[:, :-1].to(chosen.dtype) @ chosen.detach()
        stream = inputs[0]
        (into,) = torch.autograd.grad((chosen * rows.sum(0)[:-1]).sum(), stream, retain_graph=True)
        (gradients,) = torch.autograd.grad(
            [stream, watcher.keys, watcher.values],
            embedded,
            [
                into * rows[:, None, :, None].to(into.dtype),
                watcher.key_gradients,
                watcher.value_gradients,
            ],
            is_grads_batched=True,
        )
    # The graph holds the watcher, and the watcher holds the graph: let go of it.
    watcher.keys = watcher.values = None
    return gradients[:, 0], log_p


def top_layer(model: PreTrainedModel) -> tuple[int, nn.Module]:
    """Return the index of the top decoder layer, and the layer itself."""
    found: tuple[int, nn.Module] | None = None
    for module in model.modules():
        if not isinstance(module, nn.ModuleList):
            continue
        for layer in module:
            indices = [
                part.layer_idx
                for part in layer.modules()
                if getattr(part, "layer_idx", None) is not None
            ]
            if indices and (found is None or max(indices) > found[0]):
                found = max(indices), layer
    if found is None:
        raise ValueError(
            f"{type(model).__name__} keeps its decoder layers in no nn.ModuleList: use a model "
            "such as Llama, Qwen, Gemma, Mistral, GPT-2 or GPT-NeoX"
        )
    return found


@contextmanager
def _input_of(layer: nn.Module):
    """Collect the hidden states (1, tokens, width) that go into `layer`."""
    inputs: list[torch.Tensor] = []

    def keep(module, positional, named):
        inputs.append(positional[0] if positional else named["hidden_states"])

    handle = layer.register_forward_pre_hook(keep, with_kwargs=True)
    try:
        yield inputs
    finally:
        handle.remove()


def _fitting_targets(model: PreTrainedModel, tokens: int) -> int:
    """Return how many targets one batched pass may carry in a share of the free memory."""
    config = model.config.get_text_config()
    width = 8 * config.hidden_size + 4 * (
        getattr(config, "intermediate_size", None) or 4 * config.hidden_size
    )
    scores = 5 * config.num_attention_heads * min(tokens, 128) * tokens
    return max(1, min(MOST_TARGETS, free_bytes(model) // (4 * (tokens * width + scores))))
