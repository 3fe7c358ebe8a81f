"""Batches for the course model: repeated random sequences first, then growing problems."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from transformers import PreTrainedTokenizerFast

from rg_helpers.problems import FAMILIES, generate_problem

IGNORED = -100  # label of a token that the loss leaves out


@dataclass(frozen=True)
class Curriculum:
    """How the problems grow: operations up to `operations`, reached at `grown_by` of the run."""

    families: tuple[str, ...] = FAMILIES
    operations: int = 8
    start_operations: int = 2
    grown_by: float = 0.5
    distractors: int = 4
    repeated_share: float = 0.03

    def largest(self, progress: float) -> int:
        """Return the most operations a problem may have at this share of the run (0 to 1)."""
        grown = min(1.0, progress / self.grown_by)
        return self.start_operations + int(
            (self.operations - self.start_operations + 0.999) * grown
        )


def repeated_sequence(rng: random.Random, vocabulary: int, begin: int) -> tuple[list[int], int]:
    """Return a random token sequence written twice, and where the second copy starts.

    Copying it needs an induction head (Olsson et al. 2022, arXiv 2209.11895), the circuit that
    looking a value up under its name is built on.
    """
    length = rng.randint(8, 40)
    once = [rng.randrange(begin + 1, vocabulary) for _ in range(length)]
    return [begin, *once, *once], length + 1


def training_example(
    rng: random.Random, tokenizer: PreTrainedTokenizerFast, curriculum: Curriculum, progress: float
) -> tuple[list[int], int]:
    """Return one example's token ids and the index of the first token to be predicted."""
    if rng.random() < curriculum.repeated_share:
        return repeated_sequence(rng, len(tokenizer), tokenizer.bos_token_id)
    problem = generate_problem(
        rng.choice(curriculum.families),
        rng.getrandbits(48),
        operations=rng.randint(1, curriculum.largest(progress)),
        distractors=rng.randint(0, curriculum.distractors),
        split="train",
    )
    prompt = problem.prompt + problem.separator
    encoded = tokenizer(prompt + problem.solution, return_offsets_mapping=True)
    # The first solution token is the first whose characters reach past the prompt's text.
    start = next(i for i, (_, end) in enumerate(encoded.offset_mapping) if end > len(prompt))
    return [*encoded.input_ids, tokenizer.eos_token_id], start


def collate(
    examples: list[tuple[list[int], int]], width: int, pad: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Pad examples on the right to `width`; return (tokens, labels), both (batch, width) int64."""
    tokens = torch.full((len(examples), width), pad)
    labels = torch.full((len(examples), width), IGNORED)
    for row, (ids, start) in enumerate(examples):
        tokens[row, : len(ids)] = torch.tensor(ids)
        labels[row, start : len(ids)] = torch.tensor(ids[start:])
    return tokens, labels


def training_batches(
    tokenizer: PreTrainedTokenizerFast,
    curriculum: Curriculum,
    steps: int,
    batch_tokens: int,
    seed: int = 0,
    first_step: int = 0,
    bucket: int = 64,
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield a batch (tokens, labels) for every step from `first_step` to `steps`.

    Every step's batch depends on the seed and the step alone, so a resumed run sees what an
    uninterrupted one would. The examples of a batch have similar lengths; a batch holds about
    `batch_tokens` tokens and its width is a multiple of `bucket`.
    """
    pool_steps = 32
    for pool in range(first_step // pool_steps, (steps + pool_steps - 1) // pool_steps):
        rng = random.Random(f"pretraining|{seed}|{pool}")
        progress = pool * pool_steps / max(1, steps)
        examples = _pool(rng, tokenizer, curriculum, progress, pool_steps * batch_tokens)
        batches = _cut(examples, batch_tokens, bucket)
        rng.shuffle(batches)
        for offset in range(pool_steps):
            step = pool * pool_steps + offset
            if first_step <= step < steps:
                yield collate(*batches[offset % len(batches)], tokenizer.pad_token_id)


def _pool(rng, tokenizer, curriculum, progress, tokens) -> list[tuple[list[int], int]]:
    examples, total = [], 0
    while total < tokens:
        examples.append(training_example(rng, tokenizer, curriculum, progress))
        total += len(examples[-1][0])
    return examples


def _cut(examples, batch_tokens: int, bucket: int) -> list[tuple[list, int]]:
    """Cut examples, longest first, into full batches of few different shapes (they compile)."""
    waiting = sorted(examples, key=lambda example: -len(example[0]))
    batches = []
    while waiting:
        width = max(2 * bucket, bucket * ((len(waiting[0][0]) + bucket - 1) // bucket))
        rows = max(1, batch_tokens // width)
        if len(waiting) >= rows or not batches:
            batches.append((waiting[:rows], width))
        waiting = waiting[rows:]
    return batches
