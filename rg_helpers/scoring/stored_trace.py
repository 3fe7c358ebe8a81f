"""Traces that were cut and tokenised before, perhaps by another model's tokenizer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rg_helpers.scoring.formats import check_characters
from rg_helpers.traces import Node, Trace, trace_from_text
from rg_helpers.traces.trace import PROMPT_KINDS

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

TEXTS = ("trace_id", "problem_id", "family", "prompt", "solution")
COLUMNS = (*TEXTS, "token_ids", "prompt_tokens", "nodes", "finished")


def stored_trace(tokenizer: PreTrainedTokenizerFast, row: Mapping[str, Any]) -> Trace:
    """Return the trace of a row as `write_traces` wrote it.

    Its tokens are kept where this tokenizer reads them as the same text (a sampled text need not be
    tokenised as its text alone would be); tokens of another tokenizer are made anew, with the same
    nodes. Raises `ValueError` for columns that are missing or of another type.
    """
    missing = [name for name in COLUMNS if name not in row]
    if missing:
        raise ValueError(
            f"column(s) {', '.join(missing)} missing beside token_ids: write the file with "
            "`rgh traces`, or take token_ids and nodes out so that the text is cut here"
        )
    for name in TEXTS:
        if not isinstance(row[name], str):
            raise ValueError(f"column {name} is {str(row[name])[:40]!r}, expected text")
        check_characters(row[name], name)
    tokens, spans = row["token_ids"], row["nodes"]
    if not isinstance(tokens, list) or not all(type(token) is int for token in tokens):
        raise ValueError("token_ids is no list of whole numbers: expected [1, 52, ...]")
    shape = [str, str, int, int]
    if not isinstance(spans, list) or not all(
        isinstance(node, list) and [type(value) for value in node] == shape for node in spans
    ):
        raise ValueError(
            "nodes: expected a list of [kind, text, first token, token after the last]"
        )
    for _, text, _, _ in spans:
        check_characters(text, "nodes")
    given = {name: row[name] for name in ("trace_id", "problem_id", "family", "finished")}
    given["extra"] = {name: value for name, value in row.items() if name not in COLUMNS}
    if _same_text(tokenizer, row):
        return Trace(
            prompt=row["prompt"],
            solution=row["solution"],
            token_ids=tuple(tokens),
            prompt_tokens=row["prompt_tokens"],
            nodes=tuple(Node(*node) for node in spans),
            **given,
        )
    pairs = [(kind, text) for kind, text, _, _ in spans]
    return trace_from_text(
        tokenizer,
        row["prompt"],
        row["solution"],
        prompt_nodes=[pair for pair in pairs if pair[0] in PROMPT_KINDS],
        solution_nodes=[pair for pair in pairs if pair[0] not in PROMPT_KINDS],
        **given,
    )


def _same_text(tokenizer: PreTrainedTokenizerFast, row: Mapping[str, Any]) -> bool:
    """Say whether the tokens are this tokenizer's: they give back the prompt and the solution."""
    if any(not 0 <= token < len(tokenizer) for token in row["token_ids"]):
        return False
    text = tokenizer.decode(row["token_ids"], skip_special_tokens=True)
    return "".join(text.split()) == "".join((row["prompt"] + row["solution"]).split())
