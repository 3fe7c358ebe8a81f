"""Export: a plain Hugging Face folder that generates without any of our code."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rg_helpers.artefacts import write_json
from rg_helpers.quantised import is_quantised
from rg_helpers.step_attention.tap import IMPLEMENTATION
from rg_helpers.training.folders import quiet_bars, whole_folder
from rg_helpers.training.lora import is_lora

RECORD = "record.json"


def export_model(
    folder: str | Path,
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    record: Mapping[str, Any] | None = None,
    *,
    dtype: torch.dtype | None = None,
    replace: bool = False,
) -> Path:
    """Write weights (safetensors), configuration, tokenizer and `record.json` into a new folder.

    The folder appears only when it is whole, and works with `AutoModelForCausalLM`, vLLM and
    whatever else reads the format. LoRA matrices are added to the weights they stand beside; the
    given model is left as it was. dtype: of the written weights, by default the model's own.
    Raises `FileExistsError` for a folder that exists, unless `replace`, and `OSError` where the
    disk refuses.
    """
    plain = plain_model(model, dtype)
    with whole_folder(folder, replace) as partial, _generating_config(plain), quiet_bars():
        plain.save_pretrained(partial)
        tokenizer.save_pretrained(partial)
        if record is not None:
            write_json(partial / RECORD, dict(record))
    return Path(folder)


def plain_model(model: nn.Module, dtype: torch.dtype | None = None) -> PreTrainedModel:
    """Return the transformers model inside wrappers, LoRA merged into a copy.

    Raises `ValueError` for something else, such as a model whose weights are sharded, and for one
    that was loaded in few bits.
    """
    while not isinstance(model, PreTrainedModel) and hasattr(model, "module"):
        model = model.module  # (distributed) data parallel
    if is_quantised(model):
        raise ValueError(
            f"{type(model).__name__} was loaded in few bits, so its weights are rounded and only "
            "bitsandbytes could read what was written: load it without bits, then export that"
        )
    if is_lora(model):
        model = copy.deepcopy(model).merge_and_unload()
    if not isinstance(model, PreTrainedModel):
        raise ValueError(
            f"{type(model).__name__} is no transformers model: gather its weights first (FSDP: "
            "load a full-state checkpoint into the plain model), then export that"
        )
    if dtype is not None and any(p.dtype != dtype for p in model.parameters()):
        model = copy.deepcopy(model).to(dtype)
    return model


@contextlib.contextmanager
def _generating_config(model: PreTrainedModel) -> Iterator[None]:
    """Let the saved configuration be one for generating; training switches the cache off."""
    config = model.config
    if config._attn_implementation == IMPLEMENTATION:
        raise RuntimeError("the model is under a tap: leave the `with` block before exporting it")
    former = config.use_cache if hasattr(config, "use_cache") else None
    try:
        if former is not None:
            config.use_cache = True
        yield
    finally:
        if former is not None:
            config.use_cache = former
