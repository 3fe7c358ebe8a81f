"""Write a model, a LoRA adapter added to its weights, as a plain folder that needs no code of ours.

MODEL is "course", a folder or a hub id, or the folder of an adapter, which names its model. OUT
holds safetensors, configuration, tokenizer and record.json, and works with transformers'
AutoModelForCausalLM, vLLM and whatever else reads the format. It appears only when it is whole.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import torch

from rg_helpers.artefacts import provenance
from rg_helpers.scoring.safe_model import load_safely
from rg_helpers.training.export import export_model

DTYPES = {name: getattr(torch, name) for name in ("float32", "bfloat16", "float16")}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `rgh export`."""
    parser.add_argument("model", help="course, a folder or a hub id; or an adapter's folder")
    parser.add_argument("out", type=Path, help="folder to write")
    parser.add_argument("--adapter", help="LoRA adapter for the model: a folder or a hub id")
    parser.add_argument(
        "--dtype", default="float32", choices=tuple(DTYPES), help="precision of what is written"
    )
    parser.add_argument("--replace", action="store_true", help="replace a folder that exists")
    parser.add_argument(
        "--trust-remote-code", action="store_true", help="run code that comes with the model"
    )


def run(arguments: argparse.Namespace) -> int:
    """Run `rgh export`; the matrices are added in float32 whatever is written."""
    if arguments.out.exists() and not arguments.replace:
        raise FileExistsError(f"{arguments.out} exists: choose another folder, or pass --replace")
    model, tokenizer = load_safely(
        arguments.model, trust_remote_code=arguments.trust_remote_code, adapter=arguments.adapter
    )
    words = f"rgh export {_name(arguments.model)} {arguments.out.name} --dtype {arguments.dtype}"
    if arguments.adapter is not None:
        words += f" --adapter {_name(arguments.adapter)}"
    folder = export_model(
        arguments.out,
        model,
        tokenizer,
        {"base": _name(model.name_or_path), "provenance": provenance(words, seed=None)},
        dtype=DTYPES[arguments.dtype],
        replace=arguments.replace,
    )
    print(f"written: {folder} ({sum(p.numel() for p in model.parameters()):,} weights, "
          f"{arguments.dtype})")  # fmt: skip
    return 0


def _name(model: str) -> str:
    """Return a model's name without the paths of this machine."""
    return Path(model).name if Path(model).exists() or re.search(r"^[/~.]", model) else model
