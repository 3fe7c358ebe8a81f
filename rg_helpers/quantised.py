"""Weights in 4 or 8 bits: a model that is too large for the GPU in 16 bits can still be read.

4 bits are NF4 with quantised scales (Dettmers et al. 2023, QLoRA, arXiv 2305.14314), 8 bits are
LLM.int8() (Dettmers et al. 2022, arXiv 2208.07339), both through transformers and bitsandbytes.
The weights are rounded, so every number drawn from such a model is that of the rounded model.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import BitsAndBytesConfig
from transformers.utils import is_bitsandbytes_available
from transformers.utils.import_utils import BITSANDBYTES_MIN_VERSION

BITS = (4, 8)


def quantised_options(
    bits: int, dtype: torch.dtype | str, device: str | torch.device
) -> dict[str, Any]:
    """Return what `from_pretrained` needs to load weights in `bits`, computing in `dtype`.

    Raises `ValueError` for other numbers of bits and `RuntimeError` without bitsandbytes or a GPU,
    before anything is loaded.
    """
    if bits not in BITS:
        raise ValueError(f"bits={bits}: expected 4 or 8, or None for the weights as they are")
    check_quantised_place(f"bits={bits}", device)
    if bits == 8:
        config = BitsAndBytesConfig(load_in_8bit=True)
    else:
        config = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.bfloat16 if isinstance(dtype, str) else dtype,
        )
    return {"quantization_config": config, "device_map": {"": str(device)}}


def check_quantised_place(what: str, device: str | torch.device) -> None:
    """Raise `RuntimeError`, with the cure, where bitsandbytes cannot run."""
    if not is_bitsandbytes_available():
        raise RuntimeError(
            f"{what} needs the package bitsandbytes, {BITSANDBYTES_MIN_VERSION} or newer: pip "
            "install 'rg_helpers[quantised]' (or bitsandbytes), or load the weights as they are, "
            "in bfloat16 to save half the memory"
        )
    _check_gpu(what, device)


def is_quantised(model: nn.Module) -> bool:
    """Say whether a model's weights were rounded to fewer bits when it was loaded."""
    config = getattr(model, "config", None)
    return getattr(config, "quantization_config", None) is not None


def _check_gpu(what: str, device: str | torch.device) -> None:
    if torch.device(device).type == "cuda" and torch.cuda.is_available():
        return
    if torch.cuda.is_available():
        cure = "pass device='cuda' (--device cuda)"
    else:
        cure = (
            "none is seen here (torch.cuda.is_available() is False); load the weights as they are, "
            "in bfloat16 to save half the memory"
        )
    raise RuntimeError(f"{what} needs an NVIDIA GPU, and the device is {device}: {cure}")
