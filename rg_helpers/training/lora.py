"""LoRA: small trained matrices beside frozen weights (Hu et al. 2021, arXiv 2106.09685)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from transformers import PreTrainedModel

MISSING = "LoRA needs the package peft: pip install peft (or rg_helpers[lora])"


def add_lora(
    model: PreTrainedModel,
    rank: int = 8,
    alpha: float = 16.0,
    targets: Sequence[str] | str = "all-linear",
    dropout: float = 0.0,
    seed: int = 0,
) -> nn.Module:
    """Wrap a model so that only W + (alpha / rank) B A of the targeted layers is trained.

    A: (rank, in), random by `seed`; B: (out, rank), zero, so that the wrapped model begins as the
    given one. targets: names of linear layers ("q_proj", "k_proj"), or "all-linear": all but the
    output head. A graph term moves attention, so queries and keys should be among them. The given
    model is changed in place (peft hangs the matrices into it). Raises `ImportError` without peft
    and `ValueError` for a rank below one or targets that the model does not have.
    """
    try:
        import peft
    except ImportError as error:
        raise ImportError(MISSING) from error
    if rank < 1:
        raise ValueError(f"rank={rank}: expected at least 1")
    config = peft.LoraConfig(
        task_type="CAUSAL_LM",
        r=rank,
        lora_alpha=alpha,
        lora_dropout=dropout,
        target_modules=targets if isinstance(targets, str) else list(targets),
    )
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        return peft.get_peft_model(model, config)


def is_lora(model: nn.Module) -> bool:
    """Say whether peft has wrapped the model."""
    return hasattr(model, "peft_config") and hasattr(model, "merge_and_unload")
