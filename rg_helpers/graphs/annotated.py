"""Annotated graphs: the edges that GSM8K's calculator annotations spell out.

A line such as "She has 48+24 = <<48+24=72>>72 left." names its operands and its result (Cobbe et
al. 2021, arXiv 2110.14168). An operand that equals an earlier line's annotated result is an edge
from that line, the latest if several have it. That is a reference for real solutions, not gold: two
lines may come to the same number by chance, and operands from the question have no edge.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from rg_helpers.graphs.step_graph import StepGraph, normalise_rows
from rg_helpers.traces import Trace

ANNOTATION = re.compile(r"<<([^<>=]*)=([^<>=]*)>>")
_NUMBER = re.compile(r"[0-9][0-9,]*(?:\.[0-9]+)?|\.[0-9]+")


def annotated_graph(trace: Trace) -> StepGraph:
    """Return the graph of a trace's annotations: each producing line has weight 1 / producers.

    Lines whose operands all come from the question, and lines without annotation, have no source.
    Raises `ValueError` for a trace without any annotation.
    """
    if not ANNOTATION.search(trace.solution):
        raise ValueError(
            f"trace {trace.trace_id!r} has no <<operands=result>> annotation: annotated graphs are "
            "for GSM8K's own solutions; draw a text graph instead"
        )
    given = [node.kind in ("premise", "question") for node in trace.nodes]
    lines = ["" if is_given else node.text for is_given, node in zip(given, trace.nodes)]
    weights = np.zeros((len(lines), len(lines)))
    for target, sources in enumerate(annotated_sources(lines)):
        weights[target, list(sources.values())] = 1
    return StepGraph(
        normalise_rows(weights), trace.kinds, trace.texts, "annotated", "", trace.trace_id
    )


def annotated_sources(lines: Sequence[str]) -> list[dict[float, int]]:
    """Return, for every line, its operands that an earlier line worked out: {value: that line}.

    Where several earlier lines came to the same number, it is the latest of them. An operand that
    the same line worked out before is no edge.
    """
    producer: dict[float, int] = {}
    sources = []
    for target, line in enumerate(lines):
        used: dict[float, int] = {}
        own: dict[float, int] = {}
        for operands, result in ANNOTATION.findall(line):
            values = [value for value in annotated_numbers(operands) if value not in own]
            used |= {value: producer[value] for value in values if value in producer}
            own.update(dict.fromkeys(annotated_numbers(result)[:1], target))
        producer.update(own)
        sources.append(used)
    return sources


def without_annotations(text: str) -> str:
    """Return a solution as its writer would put it without a calculator: "48+24 = 72 left"."""
    return ANNOTATION.sub("", text)


def annotated_numbers(expression: str) -> list[float]:
    """Return the numbers of one side of an annotation, in order and without their signs."""
    return [float(number.replace(",", "")) for number in _NUMBER.findall(expression)]
