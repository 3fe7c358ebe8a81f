"""Token by token: a batch is decoded with one random stream a row, after checking a draft.

Sampling inverts each row's distribution at the row's next uniform number, so what a row becomes
depends on nothing but the row. The same rule says what the model would have written at every place
of a given draft, in one forward pass: speculative decoding (Leviathan et al. 2023, arXiv
2211.17192) in which draft and sample share their random numbers, so that nothing is rejected twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

from rg_helpers.artefacts import sha256_of
from rg_helpers.problems import Problem
from rg_helpers.traces.key_value_cache import doubling_cache

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

MOST_LOGITS = 2**26  # 256 MiB of float32 in the forward pass over drafts
# What may stand in a model's generation settings and bends its distribution. A text is written from
# the bare distribution at the temperature, by every engine and in the check of a draft alike.
UNBENT = dict.fromkeys(
    ("temperature", "top_p", "top_k", "min_p", "repetition_penalty", "no_repeat_ngram_size")
)


@dataclass(eq=False)
class Request:
    """One solution being written: prompt tokens, random stream, draft, tokens written so far."""

    prompt_ids: list[int]
    stream_seed: int
    draft: list[int] = field(default_factory=list)
    written: list[int] = field(default_factory=list)

    @staticmethod
    def of(prompt_ids: list[int], problem: Problem, sample: int, seed: int) -> Request:
        """Return the request whose random stream belongs to seed, problem and sample number."""
        name = sha256_of(str(seed), problem.problem_id, str(sample))
        return Request(prompt_ids, int(name[:16], 16))

    def __len__(self) -> int:
        return len(self.prompt_ids) + len(self.written)

    def done(self, ends: frozenset[int], room: int) -> bool:
        """Say whether nothing is left to write."""
        return len(self.written) >= room or (bool(self.written) and self.written[-1] in ends)

    def uniforms(self, count: int) -> np.ndarray:
        """Return the first `count` random numbers of this request's stream: float64 (count,)."""
        return np.random.default_rng(self.stream_seed).random(count)


def by_length(requests: Sequence[Request], batch_size: int) -> list[list[Request]]:
    """Cut requests into batches of about equal length, so that little of a batch is padding."""
    ordered = sorted(requests, key=len)
    return [ordered[first : first + batch_size] for first in range(0, len(ordered), batch_size)]


def end_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> frozenset[int]:
    """Return every id that ends a text: the tokenizer's and those of the generation settings."""
    configured = getattr(model.generation_config, "eos_token_id", None)
    several = configured if isinstance(configured, list) else [configured]
    return frozenset({tokenizer.eos_token_id, *(end for end in several if end is not None)})


def choose_tokens(
    logits: torch.Tensor, uniforms: torch.Tensor | None, temperature: float
) -> torch.Tensor:
    """Choose one token per distribution: int64 (...,) from logits (..., vocabulary).

    Temperature 0 takes the largest logit; otherwise `uniforms` (...,) in [0, 1) says where in the
    cumulated distribution the token is taken.
    """
    if temperature == 0:
        return logits.argmax(-1)
    cumulative = (logits.double() / temperature).softmax(-1).cumsum(-1)
    target = uniforms.to(logits.device)[..., None] * cumulative[..., -1:]
    chosen = torch.searchsorted(cumulative, target, right=True)[..., 0]
    return chosen.clamp(max=logits.shape[-1] - 1)


@torch.no_grad()
def accept_draft(
    model: PreTrainedModel, batch: Sequence[Request], temperature: float, ends: frozenset[int]
) -> None:
    """Write each request's draft up to, and with, the model's first choice that differs from it."""
    longest = max(len(request.prompt_ids) + len(request.draft) for request in batch)
    rows = max(1, MOST_LOGITS // (longest * model.config.get_text_config().vocab_size))
    for first in range(0, len(batch), rows):
        part = batch[first : first + rows]
        texts = [[*request.prompt_ids, *request.draft] for request in part]
        width = max(len(text) for text in texts)
        ids, mask = torch.zeros(2, len(part), width, dtype=torch.int64)
        for row, text in enumerate(texts):  # causal, so padding on the right changes nothing
            ids[row, : len(text)] = torch.tensor(text)
            mask[row, : len(text)] = 1
        with evaluating(model):
            output = model(
                input_ids=ids.to(model.device),
                attention_mask=mask.to(model.device),
                use_cache=False,
            )
        for request, logits in zip(part, output.logits, strict=True):
            start = len(request.prompt_ids) - 1
            uniforms = torch.from_numpy(request.uniforms(len(request.draft)))
            there = logits[start : start + len(request.draft)]
            chosen = choose_tokens(there, uniforms, temperature).tolist()
            request.written = _agreed(request.draft, chosen, ends)


@torch.no_grad()
def decode_batch(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    batch: Sequence[Request],
    temperature: float,
    ends: frozenset[int],
    room: int,
) -> None:
    """Write each request to its end or until it holds `room` tokens."""
    width = max(len(request) for request in batch)
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else min(ends)
    ids = torch.full((len(batch), width), pad)
    mask = torch.zeros_like(ids)
    for row, request in enumerate(batch):
        ids[row, width - len(request) :] = torch.tensor([*request.prompt_ids, *request.written])
        mask[row, width - len(request) :] = 1
    processors = LogitsProcessorList()
    if temperature > 0:
        processors.append(_SeededRows(batch, temperature, room))
    # LoRA's matrices hang in the inner model; peft's own `generate` would put its settings back.
    writer = model.get_base_model() if hasattr(model, "get_base_model") else model
    with evaluating(model), _without_its_own_settings(writer):
        output = writer.generate(
            input_ids=ids.to(model.device),
            attention_mask=mask.to(model.device),
            do_sample=False,
            num_beams=1,
            **UNBENT,
            max_new_tokens=max(room - len(request.written) for request in batch),
            logits_processor=processors,
            past_key_values=doubling_cache(model),
            eos_token_id=sorted(ends),
            pad_token_id=pad,
        )
    for request, new in zip(batch, output[:, width:].tolist(), strict=True):
        end = next((index + 1 for index, token in enumerate(new) if token in ends), len(new))
        request.written = [*request.written, *new[:end]][:room]


class _SeededRows(LogitsProcessor):
    """Leave one token a row standing: the one at the row's next random number.

    `generate` stays in greedy mode and picks it. Its own sampling draws one stream for the whole
    batch, so a text would depend on who else is in the batch.
    """

    def __init__(self, batch: Sequence[Request], temperature: float, room: int) -> None:
        self.temperature = temperature
        numbers = np.zeros((len(batch), room))
        for row, request in enumerate(batch):
            left = request.uniforms(room)[len(request.written) :]
            numbers[row, : len(left)] = left
        self.columns = iter(torch.from_numpy(numbers).unbind(1))

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        chosen = choose_tokens(scores, next(self.columns), self.temperature)
        return torch.full_like(scores, -torch.inf).scatter(-1, chosen[:, None], 0.0)


def _agreed(draft: Sequence[int], chosen: Sequence[int], ends: frozenset[int]) -> list[int]:
    """Return the model's choices up to the first that differs from the draft or ends the text."""
    for index, (proposed, token) in enumerate(zip(draft, chosen, strict=True)):
        if proposed != token or token in ends:
            return list(chosen[: index + 1])
    return list(chosen)


@contextmanager
def _without_its_own_settings(model: PreTrainedModel) -> Iterator[None]:
    """Hide a model's generation settings: whatever of them bends its distribution, or its cache.

    `generate` fills what it is not given from them, suppressed tokens and a static cache as well.
    """
    former = model.generation_config
    model.generation_config = GenerationConfig()
    try:
        yield
    finally:
        model.generation_config = former


@contextmanager
def evaluating(model: PreTrainedModel) -> Iterator[None]:
    """Switch dropout off and put the model's mode back afterwards."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)
