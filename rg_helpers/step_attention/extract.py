"""Step attention of a batch of traces in one call, with its inputs checked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import psutil
import torch
from torch import nn
from transformers import PreTrainedModel

from rg_helpers.step_attention.layer_kinds import layer_kinds, refuse_layers_without_attention
from rg_helpers.step_attention.tap import (
    checkpoints_activations,
    layer_count,
    layer_indices,
    node_table,
    served_model,
    tap_step_attention,
)

GIB = 2**30


@dataclass(frozen=True, eq=False)
class StepAttention:
    """Attention between the steps of each trace of a batch.

    mass: float32 (batch, layers, heads, nodes, nodes): mean over the target node's tokens of the
        attention summed over the source node's tokens; row = target, column = source. Rows sum
        to at most 1: what is missing went to tokens without node. Nodes without tokens are zero.
    logits: (batch, tokens, vocabulary) in the model's dtype, or None if not asked for.
    layers: the layer index of each entry of the layer dimension.
    kinds: the kind of each of them (see `layer_kinds`): a "sliding_attention" layer gives no mass
        to a step beyond its window; beside a "hybrid" one runs a state-space layer.
    token_mass: float32 (batch, layers, heads, tokens, nodes) if asked for: the same per token.
    """

    mass: torch.Tensor
    logits: torch.Tensor | None
    layers: tuple[int, ...]
    token_mass: torch.Tensor | None = None
    kinds: tuple[str, ...] = ()


def step_attention(
    model: nn.Module,
    input_ids: torch.Tensor,
    attention_mask: torch.Tensor | None,
    node_ids: torch.Tensor,
    nodes: int | None = None,
    layers: Iterable[int] | None = None,
    *,
    token_rows: bool = False,
    keep_logits: bool = True,
    route: str | None = None,
) -> StepAttention:
    """Run `model` once and return the attention mass between steps, for all layers and heads.

    input_ids: integer (batch, tokens). attention_mask: (batch, tokens), 1 = real token, left or
    right padding, None = no padding. node_ids: integer (batch, tokens), -1 = no node (padding
    must be). nodes: width of the mass matrices (default: largest id + 1). layers: which ones
    (default all; negative counts from the end); the others run at full speed. token_rows: return
    token-level rows too. keep_logits: False skips the output head. route: force one of
    `routes.ROUTES`.

    No matrix of tokens x tokens is stored, save the boolean mask that transformers itself makes
    for padded batches and sliding windows. Differentiable unless run under `torch.no_grad()`.
    Raises ValueError for a model or input it cannot serve, and for a batch that cannot fit in
    memory, with the estimate.
    """
    base = served_model(model)
    ids, mask = _checked_tokens(base, input_ids, attention_mask, node_ids)
    if base.training and torch.is_grad_enabled() and checkpoints_activations(base):
        raise ValueError(
            "gradient checkpointing runs the layers again in backward, when step_attention has "
            "already left: use `with tap_step_attention(...)` and call backward inside it, or "
            "call model.gradient_checkpointing_disable()"
        )
    table = node_table(node_ids, nodes)
    wanted = layer_indices(base, range(layer_count(base)) if layers is None else layers)
    refuse_layers_without_attention(base, wanted)
    _check_memory(base, ids, table.nodes, len(wanted), token_rows, keep_logits)
    arguments = {"input_ids": ids, "attention_mask": mask, "use_cache": False}
    if not bool(mask[:, 0].all()):
        # Left padding: positions count real tokens, as they do without padding.
        arguments["position_ids"] = (mask.long().cumsum(-1) - 1).clamp(min=0)
    runner = model if keep_logits else base.base_model
    with tap_step_attention(
        model, node_ids, table.nodes, wanted, token_rows=token_rows, route=route
    ) as tap:
        outputs = runner(**arguments)
    missing = [layer for layer in wanted if layer not in tap.by_layer]
    if missing:
        served = sorted(tap.by_layer)
        raise ValueError(
            f"layers {missing} of {type(base).__name__} have no softmax attention of their own (a "
            "recurrent layer, or one attention block shared between layers, as in Zamba): "
            + (f"pass layers={served}" if served else "use a model with attention layers")
        )
    mass, token_mass = tap.mass(), None
    if token_rows:
        token_mass = mass
        mass = table.means(mass.device)[:, None, None] @ mass
    logits = outputs.logits if keep_logits else None
    kinds = layer_kinds(base)
    return StepAttention(mass, logits, tuple(wanted), token_mass, tuple(kinds[i] for i in wanted))


def _checked_tokens(
    model: PreTrainedModel,
    input_ids: torch.Tensor,
    attention_mask: torch.Tensor | None,
    node_ids: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return input ids and mask on the model's device, or raise ValueError with the cure."""
    if input_ids.ndim != 2 or input_ids.numel() == 0:
        raise ValueError(
            f"input_ids must be (batch, tokens) with at least one token, got shape "
            f"{tuple(input_ids.shape)}: add the batch dimension, and leave empty traces out"
        )
    if attention_mask is None:
        attention_mask = torch.ones_like(input_ids)
    for name, tensor in (("attention_mask", attention_mask), ("node_ids", node_ids)):
        if tuple(tensor.shape) != tuple(input_ids.shape):
            raise ValueError(
                f"{name} is {tuple(tensor.shape)}, but input_ids is {tuple(input_ids.shape)}: "
                "give one value per token, padding included"
            )
    on_padding = (node_ids.cpu() >= 0) & (attention_mask.cpu() == 0)
    if bool(on_padding.any()):
        raise ValueError(
            f"{int(on_padding.sum())} padding tokens carry a node id: pad node_ids with -1 on the "
            "same side as input_ids"
        )
    tokens = input_ids.shape[1]
    for name, module in model.get_decoder().named_modules():  # not those of a vision tower
        learned = isinstance(module, nn.Embedding) and (
            name.endswith("wpe") or "position" in name.rsplit(".", 1)[-1]
        )
        if learned and module.num_embeddings < tokens:
            raise ValueError(
                f"the trace has {tokens} tokens, but {type(model).__name__} has learned only "
                f"{module.num_embeddings} positions: shorten the trace or use a model with "
                "rotary positions"
            )
    return input_ids.to(model.device), attention_mask.to(model.device)


def _check_memory(
    model: PreTrainedModel,
    input_ids: torch.Tensor,
    nodes: int,
    layers: int,
    token_rows: bool,
    keep_logits: bool,
) -> None:
    """Raise ValueError if even a low estimate of the memory needed is more than there is."""
    config = model.config.get_text_config(decoder=True)
    batch, tokens = input_ids.shape
    heads = getattr(config, "num_attention_heads", 1)
    rows = nodes + tokens if token_rows else nodes
    parts = {
        "step masses": 4 * batch * layers * heads * rows * nodes,
        "activations": 8 * batch * tokens * config.hidden_size * model.dtype.itemsize,
    }
    if keep_logits:
        parts["logits"] = batch * tokens * config.vocab_size * model.dtype.itemsize
    if torch.is_grad_enabled() and any(p.requires_grad for p in model.parameters()):
        parts["activations"] *= 2 * config.num_hidden_layers
    if model.device.type == "cuda":
        free = torch.cuda.mem_get_info(model.device)[0]
    else:
        free = psutil.virtual_memory().available
    if sum(parts.values()) > free:
        listed = ", ".join(f"{name} {size / GIB:.1f}" for name, size in parts.items())
        raise ValueError(
            f"step attention of {batch} x {tokens} tokens and {nodes} nodes needs at least "
            f"{sum(parts.values()) / GIB:.1f} GiB ({listed}), and {free / GIB:.1f} GiB are free: "
            "use torch.no_grad(), keep_logits=False, fewer layers, token_rows=False or a smaller "
            "batch"
        )
