"""Write solutions to the prompts of any JSONL file, as lines that `rgh score` reads.

A line holds a text in `prompt`, `problem` or `question`, or chat `messages` that end with the
user's; all its columns are kept. Each sample becomes a line: the text in a column `solution`, or
the assistant's message behind the others. What is finished is kept part by part, so a run that was
stopped goes on where it was.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm.auto import tqdm

from rg_helpers.artefacts import atomic_path, sha256_of
from rg_helpers.scoring.chat import chat_prompt
from rg_helpers.scoring.formats import CONVERSATIONS, PROMPTS, readable, written_of
from rg_helpers.scoring.lines import check_file, json_lines
from rg_helpers.traces import BadLine, check_positions, encode_text
from rg_helpers.traces.decoding import Request, end_ids
from rg_helpers.traces.engines import Engine
from rg_helpers.traces.sampling import check_sampling, decode_written

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

PART_PROMPTS = 25
HALF = re.compile("[\ud800-\udfff]")
PROBE = "a solution"  # stands where one will be, to see whether it would be read


@dataclass(frozen=True)
class OwnPrompt:
    """A line of the file: its columns, and the text that the model continues.

    `prompt_id` is the line's own `problem_id`, `trace_id` or `id`, or a hash of the text.
    `conversation` names the column of a chat.
    """

    row: Mapping[str, Any]
    prompt_id: str
    text: str
    token_ids: tuple[int, ...]
    conversation: str | None


def read_prompts(
    path: str | Path,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    max_new_tokens: int,
) -> tuple[list[OwnPrompt], list[BadLine]]:
    """Return the prompts of a file, and what is wrong with the lines that hold none.

    A prompt that leaves no room for `max_new_tokens` in the model's positions, or has the id of an
    earlier one, is left out as well.
    Raises `FileNotFoundError` or `ValueError` for a file that cannot be read at all.
    """
    path = check_file(path)
    prompts, bad = [], []
    seen: dict[str, int] = {}
    for number, row in json_lines(path):
        try:
            if isinstance(row, ValueError):
                raise row
            prompt = _prompt_of(row, tokenizer)
            check_positions(
                model,
                len(prompt.token_ids) + max_new_tokens,
                f"the prompt of {len(prompt.token_ids)} tokens and {max_new_tokens} new ones",
            )
            if (first := seen.setdefault(prompt.prompt_id, number)) != number:
                raise ValueError(
                    f"the prompt {prompt.prompt_id!r} stands in line {first} already: give every "
                    "line an id of its own, and ask for --samples rather than repeat a prompt"
                )
            prompts.append(prompt)
        except ValueError as error:
            bad.append(BadLine(path.name, number, readable(str(error))))
    return prompts, bad


def solve_prompts(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    prompts: Sequence[OwnPrompt],
    engine: Engine,
    *,
    samples: int,
    temperature: float,
    max_new_tokens: int,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Return a line for every sample of every prompt, in order.

    A sample's random stream is made from `seed`, the prompt's text and the sample number, so
    neither the other prompts nor the batch size change it. Raises `ValueError` for impossible
    numbers.
    """
    check_sampling(samples, temperature, tokenizer)
    ends = end_ids(model, tokenizer)
    numbered = [(prompt, sample) for prompt in prompts for sample in range(samples)]
    requests = []
    for prompt, sample in numbered:
        stream = sha256_of(str(seed), prompt.text, str(sample))
        requests.append(Request(list(prompt.token_ids), int(stream[:16], 16)))
    engine.write(requests, temperature, ends, max_new_tokens, lambda _: None)
    rows = []
    for (prompt, sample), request in zip(numbered, requests, strict=True):
        finished = bool(request.written) and request.written[-1] in ends
        body = request.written[: len(request.written) - finished]
        text = decode_written(tokenizer, request.prompt_ids, body, prompt.text)
        made = {
            "trace_id": f"{prompt.prompt_id}-{sample}",
            "problem_id": prompt.prompt_id,
            "finished": finished,
            "sample": sample,
            "temperature": temperature,
            "engine": engine.name,
        }
        solved = _solved(prompt.row, prompt.conversation, text.strip())
        rows.append({**prompt.row, **made, **solved})
    return rows


def solve_file(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    prompts: Sequence[OwnPrompt],
    engine: Engine,
    parts: Path,
    *,
    progress: bool = True,
    **sampling: Any,
) -> Iterator[dict[str, Any]]:
    """Yield the lines of all prompts, part by part; parts found in the folder are taken over.

    Give one folder per file, model and settings. `sampling` is that of `solve_prompts`.
    """
    bar = tqdm(total=len(prompts), desc="prompts", disable=None if progress else True)
    with bar:
        for first in range(0, len(prompts), PART_PROMPTS):
            part = prompts[first : first + PART_PROMPTS]
            path = parts / f"{first:08d}.jsonl"
            if not path.is_file():
                write_rows(path, solve_prompts(model, tokenizer, part, engine, **sampling))
            with open(path, encoding="utf-8") as file:
                yield from map(json.loads, file)
            bar.update(len(part))


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    """Write one JSON object a line, whole or not at all."""
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        for row in rows:
            file.write(_line(row) + "\n")
    return path


def _line(row: Mapping[str, Any]) -> str:
    """Return a row as JSON; a kept column with half a character, which UTF-8 lacks, is escaped."""
    line = json.dumps(row, ensure_ascii=False)
    return json.dumps(row) if HALF.search(line) else line


def _prompt_of(row: Mapping[str, Any], tokenizer: PreTrainedTokenizerFast) -> OwnPrompt:
    """Return the prompt of a line, read by the very rules by which its solutions will be."""
    conversation = next((name for name in CONVERSATIONS if isinstance(row.get(name), list)), None)
    if conversation is None and not any(name in row for name in PROMPTS):
        raise ValueError(
            f"columns {', '.join(map(str, row)) or 'none'}: expected a text in "
            f"{' or '.join(PROMPTS)}, or messages"
        )
    found = written_of({**row, **_solved(row, conversation, PROBE)})
    if len(found) != 1 or found[0].solution != PROBE:
        raise ValueError(
            "the line holds solutions already, which would be read instead of the new one: leave "
            "their columns (steps, a model's solution) out"
        )
    (written,) = found
    if written.messages:
        if written.messages[-1]["role"] == "assistant":
            raise ValueError(
                "the messages end with the assistant's: leave out the one that is to be written"
            )
        text = chat_prompt(tokenizer, written.messages)
    else:
        # A blank is left to the model: in most tokenizers it is part of the first word.
        text = written.prompt + written.separator.rstrip(" ")
    prompt_id = written.problem_id or written.trace_id or sha256_of(text)[:16]
    return OwnPrompt(row, prompt_id, text, tuple(encode_text(tokenizer, text)[0]), conversation)


def _solved(row: Mapping[str, Any], conversation: str | None, text: str) -> dict[str, Any]:
    if conversation is None:
        return {"solution": text}
    return {conversation: [*row[conversation], {"role": "assistant", "content": text}]}
