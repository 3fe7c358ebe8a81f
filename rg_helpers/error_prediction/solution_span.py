"""Which tokens of a trace are its solution: from after the prompt to the end of the last line.

EOS is left out: whether a text ended, and how surely, is its form and not its reasoning.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rg_helpers.traces import Node, Trace, check_positions

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def solution_span(trace: Trace) -> tuple[int, int]:
    """Return [start, end) of the solution's tokens in `trace.token_ids`.

    Raises `ValueError` for a trace without a prompt or without a written step.
    """
    if not trace.prompt_tokens or not trace.steps:
        raise ValueError(
            f"trace {trace.trace_id!r} has {trace.prompt_tokens} prompt tokens and "
            f"{len(trace.steps)} written steps: leave it out (`TraceSet.read` does)"
        )
    return trace.prompt_tokens, trace.steps[-1].end


def answer_node(trace: Trace) -> Node:
    """Return the answer line, or the last line where none announces an answer."""
    return next((node for node in trace.steps if node.kind == "answer"), trace.steps[-1])


def last_step(trace: Trace) -> Node:
    """Return the last step before the answer line; the answer line where it is alone."""
    answer = answer_node(trace)
    before = [node for node in trace.steps if node.end <= answer.start]
    return before[-1] if before else answer


def check_solutions(model: PreTrainedModel, traces: Sequence[Trace]) -> None:
    """Raise `ValueError` for traces without a solution or longer than the model's positions."""
    for trace in traces:
        solution_span(trace)
        check_positions(model, len(trace), f"trace {trace.trace_id!r}")
