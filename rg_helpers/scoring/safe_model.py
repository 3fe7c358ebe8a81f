"""Loading somebody's model without running anything of theirs: no pickles, no remote code.

A pickle can run any code when it is read, so weights are read as safetensors alone; code that comes
with a model runs only if that is asked for by name.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from rg_helpers.adapters import is_adapter_folder
from rg_helpers.language_model import COURSE, load_model

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model")


def load_safely(
    name: str,
    *,
    device: str = "cpu",
    bfloat16: bool = False,
    trust_remote_code: bool = False,
    bits: int | None = None,
    adapter: str | Path | None = None,
) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """Load "course", a local folder or a hub id for scoring, in evaluation mode.

    `bits` and `adapter` are those of `load_model`; the folder may be an adapter's.

    Raises `ValueError` or `FileNotFoundError` for a folder whose weights are pickles or that lacks
    a tokenizer, for a tokenizer without words, and for a model that is no causal language model.
    """
    folder = Path(name).expanduser()
    if name != COURSE and folder.is_dir() and not is_adapter_folder(folder):
        _check_weights(folder)
        if not any((folder / file).is_file() for file in TOKENIZER_FILES):
            raise FileNotFoundError(
                f"{folder} holds no tokenizer ({', '.join(TOKENIZER_FILES[:2])}, ...): save it "
                "beside the weights with tokenizer.save_pretrained(folder); without the model's "
                "own tokenizer its numbers mean nothing"
            )
    dtype = torch.bfloat16 if bfloat16 else torch.float32
    options = {"trust_remote_code": trust_remote_code, "bits": bits, "adapter": adapter}
    return load_model(name, dtype=dtype, device=device, **options)


def _check_weights(folder: Path) -> None:
    if any(folder.glob("*.safetensors")):
        return
    found = sorted(file.name for pattern in PICKLES for file in folder.glob(pattern))
    if found:
        raise ValueError(
            f"{folder} holds its weights as a pickle ({found[0]}), which can run any code when it "
            "is read and is never loaded here: convert it where you trust it, with "
            "model.save_pretrained(folder), which writes safetensors"
        )
