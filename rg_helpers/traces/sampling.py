"""Let a model write solutions: seeded, the same in any batch size, batched or continuous."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from tqdm.auto import tqdm

from rg_helpers.problems import Problem
from rg_helpers.traces.decoding import Request, accept_draft, by_length, end_ids
from rg_helpers.traces.engines import BATCHED, Engine, open_engine
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
    draft: bool = True,
    engine: str | Engine = BATCHED,
    progress: bool = True,
) -> list[Trace]:
    """Return `samples` solutions of every problem, in the order problem by problem.

    `temperature` 0 is greedy decoding (then `samples` must be 1). `engine` says what writes
    `batch_size` solutions at once (see `engines`): "batched" pads prompts of about equal length on
    the left and gives them to `model.generate`, so any causal model of transformers serves.
    Every sample draws from a random stream of its own, made from `seed`, problem and sample number,
    so neither the batch size nor the choice between "batched" and "continuous" changes what is
    written (up to rounding inside the model).

    With `draft` one forward pass over the gold solution finds the first token at which the model
    would have written something else, and only what comes after is generated one by one. The text
    is the same (up to rounding) and comes several times sooner from a model that is often right.
    An engine that draws random numbers of its own (vLLM) gets no drafts.

    A solution that does not reach EOS within `max_new_tokens` (default: what the model's positions
    leave, at most 512) is kept with `finished=False`; one without any step is kept with its prompt
    nodes alone. `extra` holds the sample number, the temperature, the engine and `retokenised`:
    whether encoding the written text gives other tokens than the model chose (`token_ids` are the
    former).

    Raises `ValueError` for impossible arguments or prompts longer than the model's positions, and
    `RuntimeError` for an engine that is not installed or cannot serve the model.
    """
    check_sampling(samples, temperature, tokenizer, batch_size)
    numbered = [(problem, sample) for problem in problems for sample in range(samples)]
    if not numbered:
        return []
    requests = [
        Request.of(encode_text(tokenizer, _prompt_text(problem))[0], problem, sample, seed)
        for problem, sample in numbered
    ]
    ends = end_ids(model, tokenizer)
    room = _room(model, requests, max_new_tokens)
    if isinstance(engine, str):
        engine = open_engine(engine, model, tokenizer, batch_size)
    bar = tqdm(total=len(requests), desc="sample traces", disable=None if progress else True)
    with bar:
        if draft and not engine.own_numbers:
            for request, (problem, _) in zip(requests, numbered, strict=True):
                request.draft = _draft_ids(problem, tokenizer, len(request.prompt_ids))[:room]
            for batch in by_length(requests, batch_size):
                accept_draft(model, batch, temperature, ends)
        unfinished = [request for request in requests if not request.done(ends, room)]
        bar.update(len(requests) - len(unfinished))
        engine.write(unfinished, temperature, ends, room, bar.update)
    return [
        _trace(tokenizer, problem, sample, request, temperature, ends, engine.name)
        for (problem, sample), request in zip(numbered, requests, strict=True)
    ]


def check_sampling(
    samples: int, temperature: float, tokenizer: PreTrainedTokenizerFast, batch_size: int = 1
) -> None:
    """Raise `ValueError` for impossible numbers and for a tokenizer without EOS."""
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


def _prompt_text(problem: Problem) -> str:
    """Return the text the model continues.

    A blank before the solution is left to the model: in most tokenizers it is part of the first
    word. A line break has a token of its own and is given.
    """
    return problem.prompt + problem.separator.rstrip(" ")


def _draft_ids(
    problem: Problem, tokenizer: PreTrainedTokenizerFast, prompt_tokens: int
) -> list[int]:
    """Return the gold solution's tokens and EOS; where they do not fit they only cost time."""
    text = problem.prompt + problem.separator + problem.solution
    return [*encode_text(tokenizer, text)[0][prompt_tokens:], tokenizer.eos_token_id]


def _room(model: PreTrainedModel, requests: Sequence[Request], max_new_tokens: int | None) -> int:
    """Return how many tokens may be written after a prompt."""
    longest = max(len(request.prompt_ids) for request in requests)
    if max_new_tokens is None:
        limit = getattr(model.config.get_text_config(), "max_position_embeddings", None)
        left = LONGEST_SOLUTION if limit is None else limit - longest
        max_new_tokens = max(1, min(LONGEST_SOLUTION, left))
    check_positions(
        model, longest + max_new_tokens, f"a prompt of {longest} and {max_new_tokens} new ones"
    )
    return max_new_tokens


def _trace(
    tokenizer: PreTrainedTokenizerFast,
    problem: Problem,
    sample: int,
    request: Request,
    temperature: float,
    ends: frozenset[int],
    engine: str,
) -> Trace:
    """Cut a written solution into nodes; the whole text is encoded once for exact spans."""
    written = request.written
    finished = bool(written) and written[-1] in ends
    start = _prompt_text(problem)
    text = decode_written(tokenizer, request.prompt_ids, written[: len(written) - finished], start)
    blank = text[: len(text) - len(text.lstrip())]
    trace = trace_from_text(
        tokenizer,
        problem.prompt,
        text.strip(),
        family=problem.family,
        separator=start[len(problem.prompt) :] + blank,
        problem_id=problem.problem_id,
        trace_id=f"{problem.problem_id}-t{temperature:g}-{sample}",
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
        "sample": sample,
        "temperature": temperature,
        "engine": engine,
        "retokenised": token_ids != (*request.prompt_ids, *written),
    }
    return replace(trace, token_ids=token_ids, extra=extra)


def decode_written(
    tokenizer: PreTrainedTokenizerFast, prompt_ids: list[int], body: list[int], start: str
) -> str:
    """Decode what was written, keeping the blank that many decoders strip from a text's start."""
    whole = tokenizer.decode([*prompt_ids, *body], skip_special_tokens=True)
    if not whole.startswith(start):  # the tokenizer writes some letters of the prompt otherwise
        start = tokenizer.decode(prompt_ids, skip_special_tokens=True)
    if whole.startswith(start):
        return whole[len(start) :]
    return tokenizer.decode(body, skip_special_tokens=True)
