"""Let a model write solutions: batched by length, seeded, the same in any batch size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from tqdm.auto import tqdm
from transformers import LogitsProcessor, LogitsProcessorList

from rg_helpers.artefacts import sha256_of
from rg_helpers.problems import Problem
from rg_helpers.traces.key_value_cache import doubling_cache
from rg_helpers.traces.trace import (
    PROMPT_KINDS,
    Trace,
    check_positions,
    encode_text,
    trace_from_text,
)

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

LONGEST_SOLUTION = 512


@dataclass(frozen=True)
class _Request:
    """One solution to be written: which problem, which sample of it, from which prompt tokens."""

    problem: Problem
    sample: int
    prompt_ids: list[int]


def sample_traces(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    problems: Sequence[Problem],
    *,
    samples: int = 1,
    temperature: float = 0.0,
    batch_size: int = 64,
    max_new_tokens: int | None = None,
    seed: int = 0,
    progress: bool = True,
) -> list[Trace]:
    """Return `samples` solutions of every problem, in the order problem by problem.

    `temperature` 0 is greedy decoding (then `samples` must be 1). Prompts are sorted by length,
    padded on the left and given to `model.generate`, so any causal model of transformers serves.
    Every sample draws from a random stream of its own, made from `seed`, problem and sample number,
    so the batch size does not change what is written (up to rounding inside the model).

    A solution that does not reach EOS within `max_new_tokens` (default: what the model's positions
    leave, at most 512) is kept with `finished=False`; one without any step is kept with its prompt
    nodes alone. `extra` holds the sample number, the temperature and `retokenised`: whether
    encoding the written text gives other tokens than the model chose (`token_ids` are the former).

    Raises `ValueError` for impossible arguments or prompts longer than the model's positions.
    """
    _check(samples, temperature, batch_size, tokenizer)
    requests = _requests(tokenizer, problems, samples)
    if not requests:
        return []
    max_new_tokens = _room(model, requests, max_new_tokens)
    order = sorted(range(len(requests)), key=lambda index: len(requests[index].prompt_ids))
    traces: list[Trace | None] = [None] * len(requests)
    bar = tqdm(total=len(requests), desc="sample traces", disable=None if progress else True)
    with bar:
        for first in range(0, len(order), batch_size):
            chosen = order[first : first + batch_size]
            batch = [requests[index] for index in chosen]
            written = _generate(model, tokenizer, batch, temperature, max_new_tokens, seed)
            for index, request, ids in zip(chosen, batch, written, strict=True):
                traces[index] = _trace(model, tokenizer, request, ids, temperature)
            bar.update(len(batch))
    return [trace for trace in traces if trace is not None]


class _SeededRows(LogitsProcessor):
    """Sample by inverting each row's distribution at a number from the row's own stream.

    `generate` stays in greedy mode and picks the one token left standing. Its own sampling draws
    one stream for the whole batch, so a text would depend on who else is in the batch.
    """

    def __init__(self, streams: Sequence[np.random.Generator], temperature: float) -> None:
        self.streams = streams
        self.temperature = temperature

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        uniform = torch.tensor([stream.random() for stream in self.streams], dtype=torch.float64)
        cumulative = (scores.double() / self.temperature).softmax(-1).cumsum(-1)
        target = uniform.to(scores.device)[:, None] * cumulative[:, -1:]
        chosen = torch.searchsorted(cumulative, target, right=True)
        chosen = chosen.clamp(max=scores.shape[-1] - 1)
        return torch.full_like(scores, -torch.inf).scatter(-1, chosen, 0.0)


def _check(
    samples: int, temperature: float, batch_size: int, tokenizer: PreTrainedTokenizerFast
) -> None:
    if samples < 1 or batch_size < 1 or not 0 <= temperature < float("inf"):
        raise ValueError(
            f"samples={samples}, batch_size={batch_size}, temperature={temperature}: expected at "
            "least 1 sample, batches of at least 1 and a temperature of 0 or more"
        )
    if samples > 1 and temperature == 0:
        raise ValueError(
            f"{samples} samples at temperature 0 would all be the same: give a temperature above 0"
        )
    if tokenizer.eos_token_id is None:
        raise ValueError(
            "the tokenizer has no EOS token, so no solution could ever finish: set "
            "tokenizer.eos_token to the token this model ends its texts with"
        )


def _requests(
    tokenizer: PreTrainedTokenizerFast, problems: Sequence[Problem], samples: int
) -> list[_Request]:
    requests = []
    for problem in problems:
        ids, _ = encode_text(tokenizer, _prompt_text(problem))
        requests += [_Request(problem, sample, ids) for sample in range(samples)]
    return requests


def _prompt_text(problem: Problem) -> str:
    """Return the text the model continues.

    A blank before the solution is left to the model: in most tokenizers it is part of the first
    word. A line break has a token of its own and is given.
    """
    return problem.prompt + problem.separator.rstrip(" ")


def _room(model: PreTrainedModel, requests: Sequence[_Request], max_new_tokens: int | None) -> int:
    longest = max(len(request.prompt_ids) for request in requests)
    if max_new_tokens is None:
        limit = getattr(model.config.get_text_config(), "max_position_embeddings", None)
        left = LONGEST_SOLUTION if limit is None else limit - longest
        max_new_tokens = max(1, min(LONGEST_SOLUTION, left))
    check_positions(
        model, longest + max_new_tokens, f"a prompt of {longest} and {max_new_tokens} new ones"
    )
    return max_new_tokens


@torch.no_grad()
def _generate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    batch: Sequence[_Request],
    temperature: float,
    max_new_tokens: int,
    seed: int,
) -> list[list[int]]:
    """Return the newly written token ids of each request, without padding."""
    width = max(len(request.prompt_ids) for request in batch)
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    ids = torch.full((len(batch), width), pad)
    mask = torch.zeros_like(ids)
    for row, request in enumerate(batch):
        ids[row, width - len(request.prompt_ids) :] = torch.tensor(request.prompt_ids)
        mask[row, width - len(request.prompt_ids) :] = 1
    processors = LogitsProcessorList()
    if temperature > 0:
        processors.append(_SeededRows([_stream(seed, item) for item in batch], temperature))
    was_training = model.training
    model.eval()
    try:
        output = model.generate(
            input_ids=ids.to(model.device),
            attention_mask=mask.to(model.device),
            do_sample=False,
            num_beams=1,
            temperature=None,
            top_p=None,
            top_k=None,
            max_new_tokens=max_new_tokens,
            logits_processor=processors,
            past_key_values=doubling_cache(model),
            eos_token_id=_eos_ids(model, tokenizer),
            pad_token_id=pad,
        )
    finally:
        model.train(was_training)
    stops = set(_eos_ids(model, tokenizer))
    written = []
    for row in output[:, width:].tolist():
        end = next((index + 1 for index, token in enumerate(row) if token in stops), len(row))
        written.append(row[:end])
    return written


def _stream(seed: int, request: _Request) -> np.random.Generator:
    name = sha256_of(str(seed), request.problem.problem_id, str(request.sample))
    return np.random.default_rng(int(name[:16], 16))


def _eos_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> list[int]:
    """Return every id that ends a text: the tokenizer's and those of the generation settings."""
    configured = getattr(model.generation_config, "eos_token_id", None)
    several = configured if isinstance(configured, list) else [configured]
    return sorted({tokenizer.eos_token_id, *(token for token in several if token is not None)})


def _trace(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    request: _Request,
    written: list[int],
    temperature: float,
) -> Trace:
    """Cut a written solution into nodes; the whole text is encoded once for exact spans."""
    problem = request.problem
    finished = bool(written) and written[-1] in _eos_ids(model, tokenizer)
    body = written[:-1] if finished else written
    start = _prompt_text(problem)
    text = _decode(tokenizer, request.prompt_ids, body, start)
    solution = text.strip()
    blank = text[: len(text) - len(text.lstrip())]
    trace = trace_from_text(
        tokenizer,
        problem.prompt,
        solution,
        family=problem.family,
        separator=start[len(problem.prompt) :] + blank,
        problem_id=problem.problem_id,
        trace_id=f"{problem.problem_id}-t{temperature:g}-{request.sample}",
        prompt_nodes=[
            (node.kind, node.text) for node in problem.nodes if node.kind in PROMPT_KINDS
        ],
        finished=finished,
        allow_no_steps=True,
    )
    token_ids = trace.token_ids
    if finished:  # a chat model may end its text with another token than the tokenizer's EOS
        token_ids = (*token_ids[:-1], written[-1])
    extra = {
        "sample": request.sample,
        "temperature": temperature,
        "retokenised": token_ids != (*request.prompt_ids, *written),
    }
    return replace(trace, token_ids=token_ids, extra=extra)


def _decode(
    tokenizer: PreTrainedTokenizerFast, prompt_ids: list[int], body: list[int], start: str
) -> str:
    """Decode what was written, keeping the blank that many decoders strip from a text's start."""
    whole = tokenizer.decode([*prompt_ids, *body], skip_special_tokens=True)
    if whole.startswith(start):
        return whole[len(start) :]
    return tokenizer.decode(body, skip_special_tokens=True)
