"""Traces: a prompt and a solution as one model saw them, cut into nodes with exact token spans."""

from rg_helpers.traces.files import BadLine, read_traces, write_traces
from rg_helpers.traces.sampling import sample_traces
from rg_helpers.traces.trace import (
    KINDS,
    Node,
    Trace,
    check_positions,
    encode_text,
    gold_trace,
    trace_from_text,
)

__all__ = [
    "KINDS",
    "BadLine",
    "Node",
    "Trace",
    "check_positions",
    "encode_text",
    "gold_trace",
    "read_traces",
    "sample_traces",
    "trace_from_text",
    "write_traces",
]
