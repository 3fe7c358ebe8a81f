"""A file of solutions as a stream of traces: one line in memory at a time, whatever its size.

    solutions = read_solutions("traces.jsonl", tokenizer, steps="auto")
    for found in solutions:          # again and again: every loop reads the file anew
        ...                          # a `Solution`, or the `BadLine` that says what is wrong

An id may stand only once; of a repeated one the first is taken.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rg_helpers.artefacts import sha256_of
from rg_helpers.error_prediction.labels import (
    TraceLabels,
    label_trace,
    labels_from_extra,
    saved_labels,
)
from rg_helpers.error_prediction.problem_record import problem_from_record
from rg_helpers.error_prediction.trace_set import PROBLEM
from rg_helpers.problems import FAMILIES
from rg_helpers.scoring.chat import chat_pieces, chat_prompt, reply_separator
from rg_helpers.scoring.formats import Written, is_stored_trace, readable, written_of
from rg_helpers.scoring.lines import check_file, json_lines
from rg_helpers.scoring.segmentation import AUTO, RULES, prompt_pieces, step_pieces
from rg_helpers.scoring.stored_trace import stored_trace
from rg_helpers.traces import BadLine, Trace, trace_from_text

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


@dataclass(frozen=True)
class Solution:
    """One solution of a file: its line (from 1), its trace and what is known of its correctness."""

    line: int
    trace: Trace
    labels: TraceLabels

    @cached_property
    def key(self) -> str:
        """The hash of what is read of it: id, tokens, nodes and their texts."""
        trace = self.trace
        nodes = [(node.kind, node.text, node.start, node.end) for node in trace.nodes]
        read = (trace.trace_id, trace.token_ids, trace.prompt_tokens, nodes)
        return sha256_of(repr(read))[:32]


@dataclass(frozen=True, eq=False)
class SolutionFile:
    """A JSONL file of prompts and solutions, read with a model's tokenizer; loop over it.

    `steps` says how solutions are cut (see `segmentation`), `limit` reads the first lines alone,
    `positions` is the most tokens that the model takes (`draw_solutions` fills it in). `judged` are
    a judge's labels, by trace id, for lines that have none (`judge_correctness`). Raises
    `ValueError` for an unknown rule.
    """

    path: Path
    tokenizer: PreTrainedTokenizerFast
    steps: str = AUTO
    limit: int | None = None
    positions: int | None = None
    judged: Mapping[str, TraceLabels] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.steps != AUTO and self.steps not in RULES:
            raise ValueError(f"steps {self.steps!r}: expected one of {', '.join((AUTO, *RULES))}")
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"limit {self.limit}: expected at least 1 line, or none")

    def __iter__(self) -> Iterator[Solution | BadLine]:
        seen: dict[bytes, int] = {}
        for number, row in json_lines(self.path, self.limit):
            for found in self._of_line(number, row):
                if isinstance(found, Solution):
                    name = hashlib.sha256(found.trace.trace_id.encode()).digest()[:12]
                    if name in seen:
                        found = self._bad(
                            number,
                            f"the id {found.trace.trace_id!r} stands in line {seen[name]} already: "
                            "give every solution an id of its own; the first is taken",
                        )
                    seen.setdefault(name, number)
                yield found

    def _of_line(self, number: int, row: Any) -> Iterator[Solution | BadLine]:
        if isinstance(row, ValueError):
            yield self._bad(number, str(row))
            return
        try:
            several = [row] if is_stored_trace(row) else written_of(row)
        except (ValueError, TypeError, KeyError) as error:
            yield self._bad(number, _reason(error))
            return
        for one in several:
            try:
                trace = self._trace(one)
                yield Solution(number, trace, self._labels(trace))
            except (ValueError, TypeError, KeyError) as error:
                yield self._bad(number, _reason(error))

    def _trace(self, one: Written | Mapping[str, Any]) -> Trace:
        if isinstance(one, Written):
            trace = written_trace(self.tokenizer, one, self.steps)
        else:
            trace = stored_trace(self.tokenizer, one)
        if self.positions is not None and len(trace) > self.positions:
            raise ValueError(
                f"{len(trace)} tokens, and the model takes at most {self.positions}: shorten the "
                "solution, or score it with a model of a longer context"
            )
        if not trace.steps or not trace.prompt_tokens:
            raise ValueError("no written step: leave the line out, or sample it again")
        return trace

    def _labels(self, trace: Trace) -> TraceLabels:
        """Return the labels that the line holds, else the judge's, if it gave any."""
        labels = _labels(trace)
        if labels.status != "read" or not (labels.wrong_answer is labels.flawed is None):
            return labels
        return self.judged.get(trace.trace_id, labels)

    def _bad(self, number: int, reason: str) -> BadLine:
        return BadLine(self.path.name, number, readable(reason))


def read_solutions(
    path: str | Path,
    tokenizer: PreTrainedTokenizerFast,
    steps: str = AUTO,
    *,
    limit: int | None = None,
    positions: int | None = None,
) -> SolutionFile:
    """Return the solutions of a JSONL file, to be looped over; nothing is read yet but its start.

    Raises `FileNotFoundError` or `ValueError` for a file that cannot be read at all.
    """
    return SolutionFile(check_file(path), tokenizer, steps, limit, positions)


def written_trace(tokenizer: PreTrainedTokenizerFast, written: Written, steps: str = AUTO) -> Trace:
    """Return the trace of a prompt and a solution; raises `ValueError` for what cannot be cut."""
    separator, prompt = written.separator, written.prompt
    if written.messages:
        prompt = chat_prompt(tokenizer, written.messages)
        separator = reply_separator(tokenizer, prompt, written.messages)
        given = chat_pieces(tokenizer, prompt, written.messages)
    else:
        given = prompt_pieces(prompt, written.family)
    pieces = written.pieces
    if pieces is None or (steps != AUTO and not written.fixed):
        pieces = step_pieces(written.solution, steps, written.family)
    return trace_from_text(
        tokenizer,
        prompt,
        written.solution,
        family=written.family,
        separator=separator,
        problem_id=written.problem_id,
        trace_id=written.trace_id,
        prompt_nodes=given,
        solution_nodes=pieces,
        finished=written.finished,
        extra=written.extra,
    )


def _labels(trace: Trace) -> TraceLabels:
    """Return the labels a line holds, or the checker's where it holds its problem."""
    found = saved_labels(trace)
    if found is None and isinstance(trace.extra.get(PROBLEM), Mapping):
        found = label_trace(problem_from_record(trace.extra[PROBLEM]), trace)
    return labels_from_extra(trace) if found is None else found


def from_course(trace: Trace) -> bool:
    """Say whether a trace solves a generated problem and carries it."""
    return trace.family in FAMILIES and isinstance(trace.extra.get(PROBLEM), Mapping)


def _reason(error: Exception) -> str:
    return f"column {error} is missing" if isinstance(error, KeyError) else str(error)
