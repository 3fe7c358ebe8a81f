"""Cut attention: run a model while some tokens may not look at some others.

The cut is joined to the model's own mask, made by transformers for this architecture, so causality,
sliding windows and padding stay as they are; the softmax then renormalises over what is left. It
is the attention knockout of Geva et al. 2023 (arXiv 2304.14767), in all layers and heads at once.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from rg_helpers.step_attention.tap import (
    UNSERVED,
    attention_implementations,
    no_hook,
    served_model,
)

IMPLEMENTATION = "rg_helpers_cut_attention"


@dataclass(frozen=True, eq=False)
class _Cut:
    allowed: torch.Tensor
    places: torch.Tensor | None


_CUTS: weakref.WeakKeyDictionary[nn.Module, _Cut] = weakref.WeakKeyDictionary()
_MASKS: list[_Cut] = []  # the mask function is not told which model asks: the innermost cut


@contextlib.contextmanager
def cut_attention(
    model: nn.Module, allowed: torch.Tensor, places: torch.Tensor | None = None
) -> Iterator[None]:
    """Let query q of row b see key k only where `allowed[b, q, k]` and the model's own mask agree.

    allowed: bool (batch, queries, keys), True = may attend; what it says about later tokens or
    padding does not matter. Without `places` there are as many queries as keys: the tokens.

    places: int64 (keys,), where the keys stand in the text, from 0; the queries are the last of
    them. With it the keys before the queries may come from a key-value cache, and a token of the
    text may stand among the keys twice: the own mask (causal, sliding window) follows the places,
    `allowed` tells the copies apart. The caller passes `position_ids` and rows without padding; the
    cache must keep all keys (`DynamicCache()` without a configuration).

    The model gets its former attention implementation back on leaving. Raises `ValueError` for a
    model without transformers' attention interface or an input of another shape.
    """
    keys = None if places is None else len(places)
    if (
        allowed.dtype != torch.bool
        or allowed.ndim != 3
        or allowed.shape[2] != (allowed.shape[1] if keys is None else keys)
    ):
        raise ValueError(
            f"allowed must be bool (batch, queries, keys), as many keys as queries or places, got "
            f"{allowed.dtype} {tuple(allowed.shape)} with {keys} places: True where a query (row) "
            "may attend to a key (column)"
        )
    base = served_model(model)
    modules = list(base.modules())
    if any(module in _CUTS for module in modules):
        raise RuntimeError("this model's attention is already cut: leave that `with` block first")
    former = attention_implementations(modules)
    cut = _Cut(allowed, places)
    try:
        base.set_attn_implementation(IMPLEMENTATION)
        if base.config._attn_implementation != IMPLEMENTATION:
            raise ValueError(no_hook(base))
        _CUTS.update(dict.fromkeys(modules, cut))
        _MASKS.append(cut)
        yield
    finally:
        if cut in _MASKS:
            _MASKS.remove(cut)
        for module in modules:
            _CUTS.pop(module, None)
        for config, implementation in former:
            config._attn_implementation_internal = implementation


def _mask(
    batch_size: int,
    q_length: int,
    kv_length: int,
    q_offset: int = 0,
    kv_offset: int = 0,
    mask_function: Callable | None = None,
    attention_mask: torch.Tensor | None = None,
    device: torch.device | str = "cpu",
    **kwargs: Any,
) -> torch.Tensor:
    """The model's own mask joined with the cut: bool (batch, 1, tokens, tokens)."""
    del kwargs, q_offset, kv_offset
    if not _MASKS:
        raise RuntimeError(
            f"the attention implementation {IMPLEMENTATION!r} works only inside `cut_attention`: "
            "use model.set_attn_implementation('sdpa')"
        )
    cut = _MASKS[-1]
    if (batch_size, q_length, kv_length) != tuple(cut.allowed.shape):
        raise ValueError(
            f"allowed is {tuple(cut.allowed.shape)}, but the model runs on (batch, queries, keys) "
            f"= ({batch_size}, {q_length}, {kv_length}): give one entry per token, padding "
            "included, and pass use_cache=False unless `places` counts the cached keys"
        )
    tokens = q_length if cut.places is None else int(cut.places.max()) + 1
    own = sdpa_mask(
        batch_size=1 if cut.places is not None else batch_size,
        q_length=tokens,
        kv_length=tokens,
        mask_function=mask_function,
        attention_mask=attention_mask if cut.places is None else None,
        allow_is_causal_skip=False,
        device=device,
    )
    if cut.places is not None:
        places = cut.places.to(device)
        own = own[:, :, places[-q_length:, None], places]
    return own & cut.allowed[:, None].to(device)


def _attention(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    softcap: float | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """What transformers calls in every attention layer; shapes as in `sdpa_attention_forward`."""
    name = type(module).__name__
    if module not in _CUTS or attention_mask is None:
        raise RuntimeError(
            f"{name} got no mask to cut: use model.set_attn_implementation('sdpa') outside "
            "`cut_attention`, and a causal decoder inside it"
        )
    for argument, meaning in UNSERVED.items():
        if kwargs.get(argument) is not None:
            raise ValueError(
                f"{name} uses {meaning} ({argument}), which is not computed here: use another model"
            )
    if softcap is None:
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout, scaling, is_causal=False
        )
    groups = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    scores = query @ key.mT * (query.shape[-1] ** -0.5 if scaling is None else scaling)
    scores = (softcap * torch.tanh(scores / softcap)).masked_fill(~attention_mask, -torch.inf)
    weights = torch.softmax(scores.float(), dim=-1).nan_to_num().to(value.dtype)
    return (weights @ value).transpose(1, 2).contiguous(), None


AttentionInterface.register(IMPLEMENTATION, _attention)
AttentionMaskInterface.register(IMPLEMENTATION, _mask)
