"""Batches for the course model: repeated random sequences first, then growing problems."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from transformers import PreTrainedTokenizerFast

from rg_helpers.problems import FAMILIES, generate_problem

Example = Callable[
    [random.Random, PreTrainedTokenizerFast, "Curriculum", float], tuple[list[int], int]
]
COPY_TOKENS = 64  # ids below it are the "few tokens" of the copying phase
COPY_ALONE = 0.6  # from this share of the copying phase on, half of it is of premises
IGNORED = -100  # label of a token that the loss leaves out


@dataclass(frozen=True)
class Curriculum:
    """How problems grow: to `operations` and `distractors`, reached at `grown_by` of the run.

    Raises `ValueError` when `weights` has not one number a family.
    """

    families: tuple[str, ...] = FAMILIES
    weights: tuple[float, ...] = (0.35, 0.2, 0.45)  # how often a problem is of each family
    operations: int = 6
    start_operations: int = 2
    grown_by: float = 0.5
    distractors: int = 4
    copying_share: float = 0.05

    def __post_init__(self) -> None:
        if len(self.weights) != len(self.families):
            raise ValueError(
                f"{len(self.weights)} weights for the families {self.families}: give one a family"
            )

    def largest(self, progress: float) -> int:
        """Return the most operations a problem may have at this share of the run (0 to 1)."""
        most = self.operations - self.start_operations
        return self.start_operations + int((most + 0.999) * self._grown(progress))

    def most_distractors(self, progress: float) -> int:
        """Return the most distractors a problem may have at this share of the run (0 to 1)."""
        return min(self.distractors, 1 + int(self.distractors * self._grown(progress)))

    def _grown(self, progress: float) -> float:
        return min(1.0, progress / self.grown_by)


def repeated_sequence(rng: random.Random, vocabulary: int, begin: int) -> tuple[list[int], int]:
    """Return random tokens below `vocabulary` written twice, and the first that can be copied.

    That is the second token of the second copy: its first one cannot be foreseen, so it would only
    add noise to the loss.

    Copying it needs an induction head (Olsson et al. 2022, arXiv 2209.11895), the circuit that
    looking a value up under its name is built on.
    """
    length = rng.randint(4, 20)
    once = [rng.randrange(begin + 1, vocabulary) for _ in range(length)]
    return [begin, *once, *once], length + 2


def recitation(
    rng: random.Random, tokenizer: PreTrainedTokenizerFast, curriculum: Curriculum, progress: float
) -> tuple[list[int], int]:
    """Return the premises of a problem followed by the same premises in another order.

    Once a premise is under way the rest of it can be looked up: the dense form of what every step
    of a solution does. Problems grow with `progress` (0 to 1).
    """
    problem = generate_problem(
        rng.choice(curriculum.families),
        rng.getrandbits(48),
        operations=rng.randint(1, 1 + int(4 * progress)),
        distractors=rng.randint(0, 2),
        split="train",
    )
    premises = [node.text for node in problem.nodes if node.kind == "premise"]
    again = rng.sample(premises, len(premises))
    return _encode_pair(
        tokenizer,
        problem.separator.join(premises) + problem.separator,
        problem.separator.join(again),
    )


def copying_example(
    rng: random.Random, tokenizer: PreTrainedTokenizerFast, curriculum: Curriculum, progress: float
) -> tuple[list[int], int]:
    """Return an example in which what comes next can be copied: random tokens or premises.

    Half of the random sequences use few different tokens: each is then seen more often, and the
    copying circuit can form before all tokens are known.
    """
    if progress >= COPY_ALONE and rng.random() < 0.5:
        return recitation(rng, tokenizer, curriculum, progress)
    vocabulary = COPY_TOKENS if rng.random() < 0.5 else len(tokenizer)
    return repeated_sequence(rng, vocabulary, tokenizer.bos_token_id)


def _encode_pair(
    tokenizer: PreTrainedTokenizerFast, given: str, written: str
) -> tuple[list[int], int]:
    """Return the tokens of both texts with EOS, and the first token of the written one."""
    encoded = tokenizer(given + written, return_offsets_mapping=True)
    start = next(i for i, (_, end) in enumerate(encoded.offset_mapping) if end > len(given))
    return [*encoded.input_ids, tokenizer.eos_token_id], start


def training_example(
    rng: random.Random, tokenizer: PreTrainedTokenizerFast, curriculum: Curriculum, progress: float
) -> tuple[list[int], int]:
    """Return one example's token ids and the index of the first token to be predicted."""
    if rng.random() < curriculum.copying_share:
        return copying_example(rng, tokenizer, curriculum, progress=1.0)
    problem = generate_problem(
        rng.choices(curriculum.families, curriculum.weights)[0],
        rng.getrandbits(48),
        operations=rng.randint(1, curriculum.largest(progress)),
        distractors=rng.randint(0, curriculum.most_distractors(progress)),
        split="train",
    )
    return _encode_pair(tokenizer, problem.prompt + problem.separator, problem.solution)


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
    example: Example = training_example,
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield a batch (tokens, labels) of `example`s for every step from `first_step` to `steps`.

    Every step's batch depends on the seed and the step alone, so a resumed run sees what an
    uninterrupted one would. The examples of a batch have similar lengths; a batch holds about
    `batch_tokens` tokens and its width is a multiple of `bucket`.
    """
    pool_steps = 32
    for pool in range(first_step // pool_steps, (steps + pool_steps - 1) // pool_steps):
        rng = random.Random(f"{example.__name__}|{seed}|{pool}")
        progress = pool * pool_steps / max(1, steps)
        examples, tokens = [], 0
        while tokens < pool_steps * batch_tokens:
            examples.append(example(rng, tokenizer, curriculum, progress))
            tokens += len(examples[-1][0])
        batches = _cut(examples, batch_tokens, bucket)
        rng.shuffle(batches)
        for offset in range(pool_steps):
            step = pool * pool_steps + offset
            if first_step <= step < steps:
                yield collate(*batches[offset % len(batches)], tokenizer.pad_token_id)


def _cut(
    examples: list[tuple[list[int], int]], batch_tokens: int, bucket: int
) -> list[tuple[list[tuple[list[int], int]], int]]:
    """Cut examples, longest first, into full batches of few different shapes (they compile).

    Within a bucket lengths stay mixed: in a batch of equal lengths "look so many tokens back"
    would serve as well as "look for the same token".
    """
    waiting = sorted(examples, key=lambda example: -((len(example[0]) + bucket - 1) // bucket))
    batches = []
    while waiting:
        width = bucket * ((len(waiting[0][0]) + bucket - 1) // bucket)
        rows = max(1, batch_tokens // width)
        if len(waiting) >= rows or not batches:
            batches.append((waiting[:rows], width))
        waiting = waiting[rows:]
    return batches
