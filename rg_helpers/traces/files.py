"""Traces as JSON lines: written whole or not at all, read line by line with bad lines reported."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm.auto import tqdm

from rg_helpers.artefacts import atomic_path
from rg_helpers.traces.trace import Node, Trace, trace_from_text

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

_TYPES: dict[str, type] = {
    "trace_id": str,
    "problem_id": str,
    "family": str,
    "prompt": str,
    "solution": str,
    "token_ids": list,
    "prompt_tokens": int,
    "nodes": list,
    "finished": bool,
}
_TEXT_COLUMNS = ("trace_id", "problem_id", "family", "separator", "finished")


@dataclass(frozen=True)
class BadLine:
    """A line that could not be read as a trace: where it is, what is wrong, what to do."""

    path: str
    line: int
    reason: str

    def __str__(self) -> str:
        return f"{self.path}, line {self.line}: {self.reason}"


def write_traces(path: str | Path, traces: Iterable[Trace]) -> Path:
    """Write one JSON object a line, atomically; `extra` becomes columns of its own."""
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        for trace in traces:
            row = dict(trace.extra)
            row.update({name: getattr(trace, name) for name in _TYPES if name != "nodes"})
            row["token_ids"] = list(trace.token_ids)
            row["nodes"] = [[node.kind, node.text, node.start, node.end] for node in trace.nodes]
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    return Path(path)


def read_traces(
    path: str | Path, tokenizer: PreTrainedTokenizerFast | None = None
) -> tuple[list[Trace], list[BadLine]]:
    """Read a JSONL file of traces; return the good ones and a report on every bad line.

    With a `tokenizer`, lines that hold only text ({"prompt": ..., "solution": ...}, e.g. another
    model's traces) are tokenised and cut here; `trace_id`, `problem_id`, `family`, `separator` and
    `finished` are used if given. Unknown columns are kept in `Trace.extra`. A missing file raises
    `FileNotFoundError`; a bad line never raises.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} does not exist: give a JSONL file of traces, or write one with write_traces"
        )
    traces: list[Trace] = []
    bad: list[BadLine] = []
    with open(path, "rb") as file:
        for number, raw in enumerate(tqdm(file, desc=f"read {path.name}", disable=None), start=1):
            if not raw.strip():
                continue
            try:
                traces.append(_trace_of(_parse(raw), tokenizer))
            except (ValueError, TypeError, KeyError) as error:
                bad.append(BadLine(str(path), number, str(error)))
    return traces, bad


def _parse(raw: bytes) -> dict[str, Any]:
    try:
        row = json.loads(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 (byte {error.start}): save the file as UTF-8") from error
    except json.JSONDecodeError as error:
        raise ValueError(
            f"not valid JSON ({error.msg} at column {error.colno}): one whole JSON object a line; "
            "an interrupted download or copy cuts the last line, fetch the file again"
        ) from error
    if not isinstance(row, dict):
        raise ValueError(f"a JSON {type(row).__name__}, expected an object with named columns")
    return row


def _trace_of(row: Mapping[str, Any], tokenizer: PreTrainedTokenizerFast | None) -> Trace:
    if "token_ids" not in row and tokenizer is not None:
        return _trace_of_text(row, tokenizer)
    missing = [name for name in _TYPES if name not in row]
    if missing:
        raise ValueError(
            f"column(s) {', '.join(missing)} missing: write the file with write_traces, or pass a "
            "tokenizer to read_traces if the lines hold only prompt and solution"
        )
    for name, kind in _TYPES.items():
        _expect(row, name, kind)
    if not all(isinstance(token, int) and token >= 0 for token in row["token_ids"]):
        raise ValueError("token_ids holds something else than whole numbers: expected [1, 52, ...]")
    nodes = tuple(_node_of(number, node) for number, node in enumerate(row["nodes"]))
    values = {name: row[name] for name in _TYPES if name not in ("nodes", "token_ids")}
    extra = {name: value for name, value in row.items() if name not in _TYPES}
    return Trace(token_ids=tuple(row["token_ids"]), nodes=nodes, extra=extra, **values)


def _trace_of_text(row: Mapping[str, Any], tokenizer: PreTrainedTokenizerFast) -> Trace:
    for name in ("prompt", "solution"):
        if name not in row:
            raise ValueError(f'column {name} missing: expected {{"prompt": ..., "solution": ...}}')
        _expect(row, name, str)
    given = {name: row[name] for name in _TEXT_COLUMNS if name in row}
    for name, value in given.items():
        _expect({name: value}, name, bool if name == "finished" else str)
    known = ("prompt", "solution", *_TEXT_COLUMNS)
    extra = {name: value for name, value in row.items() if name not in known}
    return trace_from_text(tokenizer, row["prompt"], row["solution"], extra=extra, **given)


def _node_of(number: int, node: Any) -> Node:
    if not (isinstance(node, list) and [type(value) for value in node] == [str, str, int, int]):
        raise ValueError(
            f"node {number} is {node!r}: expected [kind, text, first token, token after the last]"
        )
    return Node(*node)


def _expect(row: Mapping[str, Any], name: str, kind: type) -> None:
    value = row[name]
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ValueError(
            f"column {name} is {type(value).__name__} {str(value)[:40]!r}, expected {kind.__name__}"
        )
