"""Annotated graphs: the edges that GSM8K's calculator annotations spell out.

A line such as "She has 48+24 = <<48+24=72>>72 left." names its operands and its result (Cobbe et
al. 2021, arXiv 2110.14168). An operand that equals an earlier line's annotated result is an edge
from that line, the latest if several have it. That is a reference for real solutions, not gold: two
lines may come to the same number by chance, and operands from the question have no edge.
"""

from __future__ import annotations

import re

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
    weights = np.zeros((len(trace.nodes), len(trace.nodes)))
    producer: dict[float, int] = {}
    for target, node in enumerate(trace.nodes):
        found = [] if node.kind in ("premise", "question") else ANNOTATION.findall(node.text)
        own: dict[float, int] = {}
        for operands, result in found:
            for value in _values(operands):
                if value in producer and value not in own:
                    weights[target, producer[value]] = 1
            own.update(dict.fromkeys(_values(result)[:1], target))
        producer.update(own)
    return StepGraph(
        normalise_rows(weights), trace.kinds, trace.texts, "annotated", "", trace.trace_id
    )


def without_annotations(text: str) -> str:
    """Return a solution as its writer would put it without a calculator: "48+24 = 72 left"."""
    return ANNOTATION.sub("", text)


def _values(expression: str) -> list[float]:
    return [float(number.replace(",", "")) for number in _NUMBER.findall(expression)]
