"""Train a small reader model on word problems, by the course model's recipe; resumes.

DATA is GSM8K's train.jsonl, the folder that holds it, or any file of such problems. The reader
reads solutions that others wrote, for `rgh gsm8k` and `rgh predict`; it solves next to nothing
itself. Its folder is a plain Hugging Face model folder, with record.json beside the weights.
Exit code 1: some lines could not be read (left_out.jsonl says why of each), the rest was.
"""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path

import torch

from rg_helpers.artefacts import provenance, sha256_of
from rg_helpers.course.left_out import tell_left_out
from rg_helpers.datasets.overlap import without_copies
from rg_helpers.datasets.reader import ReaderRecipe, train_reader
from rg_helpers.datasets.sources import TRAIN, find_file
from rg_helpers.datasets.word_problems import read_word_problems

CHOICES = ("steps", "copy_steps", "batch_tokens", "seed", "entries", "hidden_size", "layers")
CHOICES += ("heads", "intermediate_size")
WORDS = {
    "steps": "steps after the copying phase",
    "copy_steps": "steps of the copying phase",
    "batch_tokens": "tokens of a batch, about",
    "entries": "entries of the vocabulary",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `rgh reader`."""
    parser.add_argument("--data", type=Path, required=True, help="train.jsonl, or its folder")
    parser.add_argument("--output", type=Path, default=Path("runs/reader"), help="model folder")
    defaults = {field.name: field.default for field in fields(ReaderRecipe)}
    for name in CHOICES:
        words = f"{WORDS.get(name, name.replace('_', ' '))} (default: {defaults[name]})"
        parser.add_argument(
            f"--{name.replace('_', '-')}", type=int, default=defaults[name], help=words
        )
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--no-compile", action="store_true", help="do without torch.compile")


def run(arguments: argparse.Namespace) -> int:
    """Run `rgh reader`."""
    if arguments.device == "cuda" and not torch.cuda.is_available():
        raise ValueError("no CUDA device was found: leave --device out")
    path = find_file(arguments.data, TRAIN)
    problems, bad = read_word_problems(path)
    code = tell_left_out(bad, arguments.output)
    kept = without_copies(problems)
    print(f"{path.name}: {len(problems)} problems, {len(problems) - len(kept)} copies left out")
    recipe = ReaderRecipe(**{name: getattr(arguments, name) for name in CHOICES})
    folder = train_reader(
        kept,
        recipe,
        arguments.output,
        device=arguments.device,
        compile_model=not arguments.no_compile,
        about={
            "data": {"name": path.name, "sha256": sha256_of(path), "problems": len(problems)},
            "provenance": provenance(f"rgh reader --data {path.name}", recipe.seed),
        },
    )
    print(f"the reader lies in {folder}; rgh gsm8k --reader {folder} says what it can do")
    return code
