"""Train the course model by its recipe: cross-entropy alone, resumed after any interruption.

How long the shipped model took, and on what, stands in data/course_model/record.json.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from rg_helpers.accuracy import Difficulty, measure_accuracy
from rg_helpers.pretraining import RECIPES, pretrain
from rg_helpers.tokenizer import build_tokenizer


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `rgh pretrain`."""
    parser.add_argument("--profile", default="cpu", choices=tuple(RECIPES))
    parser.add_argument(
        "--output", type=Path, default=Path("runs/course_model"), help="folder of the model"
    )
    parser.add_argument("--device", default=None, help="default: cuda for gpu, else cpu")
    parser.add_argument("--no-compile", action="store_true", help="do without torch.compile")
    parser.add_argument(
        "--evaluate-every",
        type=int,
        default=0,
        metavar="STEPS",
        help="log the accuracy on validation problems so often (slow while the model does not yet "
        "know when to stop); 0: never",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run `rgh pretrain`."""
    device = arguments.device or ("cuda" if arguments.profile == "gpu" else "cpu")
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("no CUDA device was found: use --profile cpu, or --device cpu")
    tokenizer = build_tokenizer()
    sizes = (Difficulty(2), Difficulty(4), Difficulty(8))

    def evaluate(model: torch.nn.Module, step: int) -> dict[str, float]:
        rows = measure_accuracy(
            model, tokenizer, difficulties=sizes, problems=32, split="validation", progress=False
        )
        return {
            f"{r['family']}.{r['operations']}.{r['distractors']}": r["solved"]["value"]
            for r in rows
        }

    folder = pretrain(
        RECIPES[arguments.profile],
        arguments.output,
        device=device,
        compile_model=not arguments.no_compile,
        evaluate=evaluate if arguments.evaluate_every else None,
        evaluate_every=arguments.evaluate_every,
        profile=arguments.profile,
    )
    print(f"the trained model lies in {folder}; rgh accuracy --model {folder} measures it")
    return 0
