"""Models that travel: built anew from class, configuration and weights where they arrive.

A model that is pickled whole arrives without what its constructor registers in a process (in
Transformers, which outputs can be recorded), and would silently give no hidden states there.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerFast


@dataclass(frozen=True, eq=False)
class SentModel:
    """A model taken apart, on the CPU; `tensors` are its parameters and buffers by their names."""

    kind: type[PreTrainedModel]
    config: Any
    generation_config: Any
    tensors: Mapping[str, torch.Tensor]
    tokenizer: PreTrainedTokenizerFast


def sent_model(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> SentModel:
    """Take a model apart for the way; the model is left as it was."""
    tensors = dict(model.named_parameters()) | dict(model.named_buffers())
    apart = {name: tensor.detach().cpu() for name, tensor in tensors.items()}
    return SentModel(type(model), model.config, model.generation_config, apart, tokenizer)


def received_model(
    sent: SentModel, device: str = "cpu"
) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """Build the model again, in evaluation mode on `device`, with every number as it was."""
    dtype = next(t.dtype for t in sent.tensors.values() if t.is_floating_point())
    model = sent.kind._from_config(copy.deepcopy(sent.config), dtype=dtype)
    model.config.__dict__.update(copy.deepcopy(sent.config.__dict__))  # building wrote its dtype
    model.generation_config = sent.generation_config
    for own in (dict(model.named_parameters()), dict(model.named_buffers())):
        for name, tensor in own.items():
            tensor.data = sent.tensors[name].clone()
    return model.to(device).eval(), sent.tokenizer
