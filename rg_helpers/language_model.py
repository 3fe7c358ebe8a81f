"""One function for every model: the course checkpoint, a local folder or a hub id."""

from __future__ import annotations

import copy
import os
import tempfile
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from rg_helpers.adapters import adapter_base, adapter_folder, add_adapter, is_adapter_folder
from rg_helpers.quantised import check_quantised_place, quantised_options
from rg_helpers.tokenizer import build_tokenizer

COURSE = "course"
WEIGHTS_SUFFIX = ".safetensors"
COURSE_FOLDER = Path(__file__).resolve().parent.parent / "data" / "course_model"


def course_config(
    hidden_size: int = 128,
    layers: int = 4,
    heads: int = 4,
    intermediate_size: int = 384,
    tokenizer: PreTrainedTokenizerFast | None = None,
) -> Qwen3Config:
    """Return the architecture of the course model: Qwen3 (Yang et al. 2025), about 0.9 M weights.

    Four layers of four heads are few enough to look at every head in one figure. Without a
    `tokenizer` it is the course's own.
    """
    tokenizer = build_tokenizer() if tokenizer is None else tokenizer
    return Qwen3Config(
        vocab_size=8 * ((len(tokenizer) + 7) // 8),  # a multiple of 8 keeps matrix products fast
        hidden_size=hidden_size,
        intermediate_size=intermediate_size,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        head_dim=hidden_size // heads,
        max_position_embeddings=2048,
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def new_course_model(seed: int = 0, **choices: Any) -> Qwen3ForCausalLM:
    """Return an untrained course model with seeded random weights (float32).

    `choices` are those of `course_config`.
    """
    torch.manual_seed(seed)
    return Qwen3ForCausalLM(course_config(**choices))


def load_model(
    name: str | Path = COURSE,
    dtype: torch.dtype | str = torch.float32,
    device: str | torch.device = "cpu",
    trust_remote_code: bool = False,
    *,
    bits: int | None = None,
    adapter: str | Path | None = None,
    **options: Any,
) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """Load a causal language model and its tokenizer, in evaluation mode.

    `name` is "course" (the checkpoint in this repository), a local folder, or a hub id; or the
    folder of a LoRA adapter, which names the model it belongs to. Weights are read as safetensors
    only. `bits` 4 or 8 rounds them while loading (see `quantised`). `adapter` is the folder or hub
    id of a LoRA adapter for `name`: its matrices are added to the weights, or stand beside them
    where those are quantised; its tokenizer, if it has one, is taken. Raises `FileNotFoundError`
    when a checkpoint is missing, `ValueError` when the model is no causal language model or has no
    fast tokenizer with words in it, and `RuntimeError` where `bits` or an adapter lack a package or
    a GPU.
    """
    quantised = {} if bits is None else quantised_options(bits, dtype, device)
    if adapter is None and is_adapter_folder(Path(name).expanduser()):
        adapter, name = name, adapter_base(adapter_folder(name))
    beside = None if adapter is None else adapter_folder(adapter)
    is_course = str(name) == COURSE
    folder = COURSE_FOLDER if is_course else Path(name).expanduser()
    is_folder = is_course or _names_a_folder(str(name), folder)
    if is_folder:
        _check_folder(folder, is_course)
    source = str(folder) if is_folder else str(name)
    config = _load(AutoConfig, source, is_folder, trust_remote_code=trust_remote_code)
    if getattr(config, "is_encoder_decoder", False):
        raise ValueError(
            f"{name} is an encoder-decoder model ({config.model_type}); reasoning graphs need a "
            "causal language model such as Qwen, Llama, Gemma or GPT-2"
        )
    if quantised == {} and _has_bitsandbytes(config):
        check_quantised_place(f"{name}, saved by bitsandbytes in few bits,", device)
        quantised = {"device_map": {"": str(device)}}
    words, words_here = source, is_folder
    if beside is not None and (beside / "tokenizer_config.json").is_file():
        words, words_here = str(beside), True
    tokenizer = _load(AutoTokenizer, words, words_here, trust_remote_code=trust_remote_code)
    if not tokenizer.is_fast:
        raise ValueError(
            f"the tokenizer of {name} gives no character offsets; use a model with a fast "
            "tokenizer (a tokenizer.json beside its weights)"
        )
    if not {*tokenizer.get_vocab()} - {*tokenizer.get_added_vocab(), *tokenizer.all_special_tokens}:
        # From settings alone transformers makes a tokenizer of some classes without a vocabulary.
        raise ValueError(
            f"the tokenizer of {adapter or name} knows no words: its vocabulary (tokenizer.json) "
            "is missing; save it again with tokenizer.save_pretrained(folder)"
        )
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    model = _load(
        AutoModelForCausalLM,
        source,
        is_folder,
        dtype=dtype,
        use_safetensors=True,
        trust_remote_code=trust_remote_code,
        **quantised,
        **options,
    )
    if not quantised:
        model = model.to(device)
    if beside is not None:
        if len(tokenizer) > model.get_input_embeddings().num_embeddings:
            model.resize_token_embeddings(len(tokenizer))  # tokens that came with the adapter
        model = add_adapter(model, beside, merge=not quantised)
    return model.eval(), tokenizer


def save_model(
    folder: str | Path,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    dtype: torch.dtype = torch.bfloat16,
) -> Path:
    """Save weights (safetensors), configuration and tokenizer as a plain Hugging Face folder.

    Everything is written to a sibling folder first and then moved file by file, the weights last:
    a full disk or a kill while writing leaves the former checkpoint as it was. `model` keeps its
    own dtype. Raises `OSError` when the folder cannot be written.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as partial:
        copy.deepcopy(model).to(dtype).save_pretrained(partial)
        tokenizer.save_pretrained(partial)
        for file in sorted(Path(partial).iterdir(), key=lambda f: f.suffix == WEIGHTS_SUFFIX):
            os.replace(file, folder / file.name)
    return folder


def _names_a_folder(name: str, folder: Path) -> bool:
    """Tell a path, which may be mistyped, from a hub id such as "Qwen/Qwen3-0.6B"."""
    return folder.exists() or name.startswith((".", "~", "/")) or name.count("/") > 1


def _check_folder(folder: Path, is_course: bool) -> None:
    cure = (
        "restore data/course_model from the repository or train it with `rgh pretrain`"
        if is_course
        else "give a folder written by `save_pretrained`, or a hub id such as Qwen/Qwen3-0.6B"
    )
    if not folder.is_dir():
        raise FileNotFoundError(f"no model folder at {folder}: {cure}")
    for needed in ("config.json", "tokenizer_config.json"):
        if not (folder / needed).is_file():
            raise FileNotFoundError(f"{folder} holds no {needed}: {cure}")
    if not any(folder.glob(f"*{WEIGHTS_SUFFIX}")):
        raise FileNotFoundError(f"{folder} holds no weights (*{WEIGHTS_SUFFIX}): {cure}")


def _has_bitsandbytes(config: Any) -> bool:
    found = getattr(config, "quantization_config", None) or {}
    name = found.get("quant_method") if isinstance(found, dict) else found.quant_method
    return str(getattr(name, "value", name)) == "bitsandbytes"


def _load(kind: Any, source: str, is_folder: bool, **options: Any) -> Any:
    try:
        return kind.from_pretrained(source, local_files_only=is_folder, **options)
    except (OSError, ValueError, ImportError, SafetensorError) as error:
        first = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise ValueError(
            f"{source} could not be loaded as a causal language model ({first}): check the name, "
            "or give a local folder written by `save_pretrained`"
        ) from error
