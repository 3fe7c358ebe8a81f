"""LoRA adapters on disk: a small folder that names the model it was trained beside.

peft writes `adapter_config.json`, which names the base, and `adapter_model.safetensors` (Hu et al.
2021, arXiv 2106.09685). Only LoRA is served: prompt and prefix tuning put tokens of their own in
front of the text, and every node's span would be off by as many.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel
from transformers.utils import cached_file

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
MISSING = "a LoRA adapter needs the package peft: pip install peft (or rg_helpers[lora])"


def is_adapter_folder(folder: str | Path) -> bool:
    """Say whether a local folder holds an adapter and no configuration of a whole model's own."""
    folder = Path(folder)
    return (folder / CONFIG).is_file() and not any(_whole_weights(folder))


def adapter_folder(name: str | Path) -> Path:
    """Return the folder of an adapter, given as a folder or a hub id, after checking its files.

    Raises `FileNotFoundError` where a file is missing, and `ValueError` for weights as a pickle or
    an adapter of another kind than LoRA.
    """
    folder = Path(name).expanduser()
    if not folder.is_dir():
        folder = _from_hub(str(name))
    if not (folder / CONFIG).is_file():
        raise FileNotFoundError(
            f"{folder} holds no {CONFIG}: give the folder that peft's save_pretrained wrote"
        )
    kind = str(_config(folder).get("peft_type"))
    if kind != "LORA":
        raise ValueError(
            f"{folder} is an adapter of the kind {kind}: only LoRA is served, because others may "
            "put tokens in front of the text, which moves every span"
        )
    if not (folder / WEIGHTS).is_file():
        raise FileNotFoundError(
            f"{folder} holds no {WEIGHTS}: save it again with model.save_pretrained(folder); "
            "pickles (adapter_model.bin) can run any code when read and are never loaded here"
        )
    return folder


def adapter_base(folder: Path) -> str:
    """Return the name of the model that an adapter was trained beside.

    Raises `ValueError` where the adapter does not name it.
    """
    base = _config(folder).get("base_model_name_or_path")
    if not base:
        raise ValueError(
            f"{folder / CONFIG} names no base model: name it yourself, "
            "load_model(base, adapter=folder) or --model BASE --adapter FOLDER"
        )
    return str(base)


def add_adapter(model: PreTrainedModel, folder: Path, *, merge: bool) -> PreTrainedModel:
    """Return the model with the adapter's matrices added to its weights, or hung in beside them.

    `merge` adds them, which leaves a plain model; quantised weights cannot take them without being
    rounded again, so there they stay beside. Raises `RuntimeError` without peft and `ValueError`
    for an adapter of a model of other shapes or layers.
    """
    try:
        import peft
    except ImportError as error:
        raise RuntimeError(MISSING) from error
    try:
        wrapped = peft.PeftModel.from_pretrained(model, str(folder))
    except (RuntimeError, ValueError, KeyError) as error:
        first = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise ValueError(
            f"the adapter {folder} does not fit {type(model).__name__} ({first}): give the model "
            "that it was trained beside"
        ) from error
    return wrapped.merge_and_unload() if merge else wrapped.get_base_model()


def _from_hub(name: str) -> Path:
    if name.startswith((".", "~", "/")) or name.count("/") != 1:
        raise FileNotFoundError(
            f"no adapter folder at {name}: give a folder that peft's save_pretrained wrote, or a "
            "hub id such as user/adapter"
        )
    try:
        cached_file(name, WEIGHTS)
        return Path(cached_file(name, CONFIG)).parent
    except OSError as error:
        first = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise FileNotFoundError(f"the adapter {name} could not be fetched ({first})") from error


def _config(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{folder / CONFIG} is no JSON ({error}): save it again") from error
    return found if isinstance(found, dict) else {}


def _whole_weights(folder: Path) -> list[Path]:
    return [file for file in folder.glob("*.safetensors") if file.name != WEIGHTS]
