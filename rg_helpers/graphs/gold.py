"""Gold graphs: what truly follows from what, known because we wrote the problems."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from rg_helpers.graphs.step_graph import StepGraph, normalise_rows
from rg_helpers.traces import Trace

if TYPE_CHECKING:
    from rg_helpers.problems import CheckedSolution, Problem


def gold_graph(problem: Problem) -> StepGraph:
    """Return the graph of the generator's own solution: each parent has weight 1 / parents."""
    return _graph(
        parents=[node.parents for node in problem.nodes],
        kinds=[node.kind for node in problem.nodes],
        texts=[node.text for node in problem.nodes],
        method="gold",
        trace_id=f"{problem.problem_id}-gold",
    )


def written_graph(
    trace: Trace, checked: CheckedSolution, edges: Literal["claimed", "needed"] = "claimed"
) -> StepGraph:
    """Return the graph of a solution that somebody wrote, as the checker reads it.

    `edges="claimed"`: what each step itself names and uses; "needed": what it ought to follow from.
    For a right step both are its true parents; a wrong operand or a contradiction shows as their
    difference. Steps the checker could not read have no parents. Raises `ValueError` if `checked`
    is not of this trace's solution.
    """
    if edges not in ("claimed", "needed"):
        raise ValueError(f"edges={edges!r}: expected 'claimed' or 'needed'")
    given = len(trace.nodes) - len(trace.steps)
    if len(checked.steps) != len(trace.steps):
        raise ValueError(
            f"trace {trace.trace_id!r} has {len(trace.steps)} written nodes but the checked "
            f"solution has {len(checked.steps)} steps: check this trace's own solution text"
        )
    written = [step.parents if edges == "claimed" else step.needed for step in checked.steps]
    return _graph(
        parents=[()] * given + written,
        kinds=trace.kinds,
        texts=trace.texts,
        method=edges,
        trace_id=trace.trace_id,
    )


def _graph(
    parents: Sequence[Sequence[int]],
    kinds: Sequence[str],
    texts: Sequence[str],
    method: str,
    trace_id: str,
) -> StepGraph:
    weights = np.zeros((len(kinds), len(kinds)))
    for target, sources in enumerate(parents):
        weights[target, list(sources)] = 1
    return StepGraph(normalise_rows(weights), tuple(kinds), tuple(texts), method, "", trace_id)
