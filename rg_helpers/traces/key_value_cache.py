"""A key-value cache that doubles its room instead of copying everything at every new token."""

from __future__ import annotations

from typing import Any

import torch
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer


class DoublingLayer(DynamicLayer):
    """transformers' `DynamicLayer` with spare room behind the keys and values.

    `keys` and `values` (batch, heads, tokens, width) are views of the filled part. The parent
    concatenates, so writing n tokens copies n^2 / 2 of them; on a CPU that is most of the time of
    sampling from a small model.
    """

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append the new keys and values and return all of them."""
        if torch.is_grad_enabled():  # writing in place would spoil the backward pass
            return super().update(key_states, value_states, *args, **kwargs)
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        self.keys = self._append("_key_room", self.keys, key_states)
        self.values = self._append("_value_room", self.values, value_states)
        return self.keys, self.values

    def _append(self, name: str, filled: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
        used = filled.shape[-2] if filled.numel() else 0
        total = used + new.shape[-2]
        room = getattr(self, name, None)
        # Whoever reorders or crops a cache replaces `keys`; then the room is no longer theirs.
        if room is None or total > room.shape[-2] or room.data_ptr() != filled.data_ptr():
            room = new.new_empty(*new.shape[:-2], 2 * total, new.shape[-1])
            if used:
                room[..., :used, :] = filled
            setattr(self, name, room)
        room[..., used:total, :] = new
        return room[..., :total, :]


def doubling_cache(model: PreTrainedModel) -> DynamicCache | None:
    """Return an empty cache for `model` with doubling layers, or None where that does not fit.

    Layers of other kinds (sliding windows) stay as transformers makes them.
    """
    cache = DynamicCache(config=model.config)
    if not any(type(layer) is DynamicLayer for layer in cache.layers):
        return None
    cache.layers = [
        DoublingLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers
    ]
    return cache
