"""A reader model: a small model that has read word problems, to read solutions others wrote.

It is trained by the course model's recipe: repeated random sequences first, from which copying is
learnt, then the texts of training problems, question and solution, by cross-entropy on every token.
One problem in `ONE_IN` is held out by its id, for what is fitted later and for an honest loss.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from rg_helpers.artefacts import read_json, sha256_of, write_json
from rg_helpers.datasets.annotations import plain_solution
from rg_helpers.datasets.reader_tokenizer import train_tokenizer
from rg_helpers.datasets.word_problems import WordProblem
from rg_helpers.pretraining import TrainingRecipe, train_model
from rg_helpers.pretraining_data import (
    COPY_TOKENS,
    Curriculum,
    repeated_sequence,
    training_batches,
)
from rg_helpers.token_scores import score_tokens
from rg_helpers.traces import Trace, trace_from_text

Batches = Iterator[tuple[torch.Tensor, torch.Tensor]]
ONE_IN = 20
VALIDATION_TEXTS = 64
DATA_RECORD = "data.json"


@dataclass(frozen=True)
class ReaderRecipe(TrainingRecipe):
    """Everything that determines the reader, its data aside; written beside its weights."""

    steps: int = 1500
    copy_steps: int = 200
    entries: int = 2048

    def __post_init__(self) -> None:
        if self.steps < 1 or self.copy_steps < 0 or self.hidden_size % (2 * self.heads):
            raise ValueError(
                f"{self.steps} steps after {self.copy_steps}, width {self.hidden_size} for "
                f"{self.heads} heads: expected at least 1 and 0 steps, and a width that is a "
                "multiple of twice the heads"
            )


def held_out(problem: WordProblem) -> bool:
    """Say whether a problem is kept from the reader: one in `ONE_IN`, by its id alone."""
    return int(problem.problem_id[:8], 16) % ONE_IN == 0


def reader_text(problem: WordProblem) -> str:
    """Return what the reader is trained on: the question, a line break, the plain solution."""
    return f"{problem.question}\n{plain_solution(problem.solution)}"


def reference_trace(
    tokenizer: PreTrainedTokenizerFast, problem: WordProblem, text: str | None = None
) -> Trace:
    """Return the reference solution (or another `text`) of a problem as a trace, a step a line."""
    text = plain_solution(problem.solution if text is None else text)
    lines = text.splitlines()
    kinds = ["answer" if line.startswith("A:") else "step" for line in lines]
    return trace_from_text(
        tokenizer,
        problem.question,
        text,
        family=problem.family,
        problem_id=problem.problem_id,
        solution_nodes=list(zip(kinds, lines, strict=True)),
    )


def train_reader(
    problems: Sequence[WordProblem],
    recipe: ReaderRecipe,
    folder: str | Path,
    *,
    device: str = "cpu",
    compile_model: bool = True,
    save_every: int = 250,
    evaluate_every: int = 250,
    about: Mapping[str, Any] | None = None,
) -> Path:
    """Train a reader into `folder`, resuming what an interrupted run left there.

    The problems that `held_out` names are not read; the log holds the loss on some of them.
    Raises `ValueError` when the folder holds a run on other data or by another recipe, or nothing
    is left to train on.
    """
    folder = Path(folder)
    seen = [problem for problem in problems if not held_out(problem)]
    unseen = [problem for problem in problems if held_out(problem)][:VALIDATION_TEXTS]
    if not seen:
        raise ValueError(f"{len(problems)} problems: none is left to train on; give more")
    texts = [reader_text(problem) for problem in seen]
    _same_data(folder, texts)
    tokenizer = train_tokenizer(texts, recipe.entries)
    model = recipe.new_model(tokenizer).to(device)
    validation = [reference_trace(tokenizer, problem) for problem in unseen]

    def evaluate(model: PreTrainedModel, step: int) -> dict[str, float]:
        scored = score_tokens(model, validation, progress=False)
        tokens = sum(len(one.token_ids) for one in scored)
        return {"validation_loss": sum(one.loss * len(one.token_ids) for one in scored) / tokens}

    return train_model(
        recipe,
        model,
        tokenizer,
        lambda first: reader_batches(tokenizer, texts, recipe, first),
        folder,
        compile_model=compile_model,
        save_every=save_every,
        evaluate=evaluate if validation else None,
        evaluate_every=evaluate_every,
        about={
            "loss": "cross-entropy on all tokens of question and solution",
            "problems_read": len(seen),
            "problems_held_out": len(problems) - len(seen),
            **(about or {}),
        },
    )


def reader_batches(
    tokenizer: PreTrainedTokenizerFast, texts: Sequence[str], recipe: ReaderRecipe, first: int
) -> Batches:
    """Yield the batches of every step from `first` on, copying first, as `train_model` asks.

    Texts are drawn with replacement; each batch depends on the seed and its step alone.
    """
    encoded = [[*ids, tokenizer.eos_token_id] for ids in tokenizer(list(texts)).input_ids]

    def copying(rng: random.Random, *_: Any) -> tuple[list[int], int]:
        entries = COPY_TOKENS if rng.random() < 0.5 else len(tokenizer)
        return repeated_sequence(rng, entries, tokenizer.bos_token_id)

    def reading(rng: random.Random, *_: Any) -> tuple[list[int], int]:
        return rng.choice(encoded), 1

    for example, begin, steps, tokens in (
        (copying, 0, recipe.copy_steps, recipe.copy_batch_tokens),
        (reading, recipe.copy_steps, recipe.steps, recipe.batch_tokens),
    ):
        yield from training_batches(
            tokenizer,
            Curriculum(),
            steps,
            tokens,
            recipe.seed,
            max(0, first - begin),
            example=example,
        )


def _same_data(folder: Path, texts: Sequence[str]) -> None:
    """Raise `ValueError` if a run in `folder` was started on other texts; note these."""
    noted, found = folder / "state" / DATA_RECORD, {"texts_sha256": sha256_of(*texts)}
    if noted.is_file() and read_json(noted) != found:
        raise ValueError(
            f"{folder} holds a run on other texts: choose another output folder, or delete that "
            "one to start again"
        )
    write_json(noted, found)
