"""The report on a scored file: does a graph tell which solutions are wrong? The third call.

It is the report of `rgh predict`, from what was drawn and kept, so nothing is drawn again. Fits
read all solutions at once: here memory grows with the labelled solutions.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import psutil

from rg_helpers.error_prediction.consistency import answer_disagreement
from rg_helpers.error_prediction.graph_columns import graph_columns, text_columns
from rg_helpers.error_prediction.hidden_states import PLACES, TraceStates
from rg_helpers.error_prediction.inputs import Inputs
from rg_helpers.error_prediction.lexical import lexical_texts
from rg_helpers.error_prediction.report import Settings, report_of_inputs
from rg_helpers.error_prediction.step_numbers import text_numbers
from rg_helpers.error_prediction.trace_set import TraceSet
from rg_helpers.scoring.chunks import ScoredChunk
from rg_helpers.scoring.draw import Scored
from rg_helpers.scoring.memory import GIB

COPIES = 4  # of all columns, in the largest fit


def report_solutions(
    scored: Scored,
    settings: Settings | None = None,
    *,
    memory: float | None = None,
    command: str = "report_solutions",
    profile: str | None = None,
    progress: bool = True,
    jobs: int = 1,
) -> dict[str, Any]:
    """Return the report on the labelled solutions of a scored file, as plain values.

    `settings` are those of `predict_report`, whose methods are replaced by those drawn. `memory`
    bounds what this process holds, in GiB. Raises `ValueError` if no solution has a label, or the
    columns do not fit into memory.
    """
    settings = replace(settings or Settings(), methods=scored.methods)
    started = time.perf_counter()
    inputs = scored_inputs(scored, settings, memory)
    return report_of_inputs(
        inputs,
        settings,
        {"given": scored.survey.solutions},
        time.perf_counter() - started,
        command=command,
        profile=profile,
        progress=progress,
        jobs=jobs,
    )


def scored_inputs(scored: Scored, settings: Settings, memory: float | None = None) -> Inputs:
    """Return what predictors read of the labelled solutions, those fitted on left out.

    All samples of a problem vote on its answer, also those that break off. Raises `ValueError` like
    `report_solutions`.
    """
    fitted, votes = scored.fitted_on, []
    parts: list[ScoredChunk] = []
    chosen: list[int] = []
    held = 0
    for chunk in scored.chunks():
        known = []
        for row, solution in enumerate(chunk.solutions):
            if solution.trace.problem_id in fitted:
                continue
            if solution.labels.target(settings.target) is not None:
                known.append(row)
                chosen.append(len(votes))
            votes.append(solution.trace)
        if known:
            parts.append(chunk.where(known))
            held += _bytes(parts[-1])
            _check_memory(COPIES * held, memory)
    if not parts:
        raise ValueError(
            f"no solution has a label {settings.target}: add a column to the file (`correct` for "
            "wrong_answer, `first_wrong_step` or `flawed` for flawed), or choose the other target"
        )
    solutions = [solution for part in parts for solution in part.solutions]
    traces = tuple(solution.trace for solution in solutions)
    blocks = {
        name: replace(
            block,
            graphs=tuple(graph for part in parts for graph in part.blocks[name].graphs),
            tables=tuple(table for part in parts for table in part.blocks[name].tables),
        )
        for name, block in parts[0].blocks.items()
    }
    numbers = parts[0].numbers
    states = None
    if all(part.states is not None for part in parts):
        states = TraceStates(
            *(np.concatenate([getattr(part.states, place) for part in parts]) for place in PLACES)
        )
    return Inputs(
        traces=TraceSet(traces, tuple(solution.labels for solution in solutions)),
        numbers=replace(numbers, values=np.vstack([part.numbers.values for part in parts])),
        texts=tuple(lexical_texts(traces)),
        disagreement=_disagreement(votes, chosen),
        states=states,
        text=text_columns(traces),
        blocks=blocks,
        columns={name: graph_columns(block, None, settings.seed) for name, block in blocks.items()},
        confidence=tuple(table for part in parts for table in part.confidence),
        step_text=tuple(text_numbers(trace) for trace in traces),
        step_states=tuple(rows for part in parts for rows in part.step_states),
        fit_origin=scored.fit.origin if scored.fit else "nothing is fitted",
        skipped={},
    )


def _disagreement(votes: Sequence[Any], chosen: Sequence[int]) -> np.ndarray | None:
    try:
        return answer_disagreement(votes)[np.array(chosen, np.int64)]
    except ValueError as error:
        warnings.warn(f"self-consistency is left out: {error}", stacklevel=3)
        return None


def _bytes(chunk: ScoredChunk) -> int:
    """Return the bytes that a chunk's arrays hold."""
    arrays = [*chunk.confidence, *chunk.step_states, chunk.numbers.values]
    for block in chunk.blocks.values():
        arrays += [*block.tables, *(graph.weights for graph in block.graphs)]
    if chunk.states is not None:
        arrays += [getattr(chunk.states, place) for place in PLACES]
    return sum(array.nbytes for array in arrays)


def _check_memory(more: int, memory: float | None) -> None:
    """Raise `ValueError` if `more` bytes are too many for what is allowed, or for the machine."""
    held = psutil.Process().memory_info().rss
    free = psutil.virtual_memory().available
    if memory is not None:
        free = min(free, int(memory * GIB) - held)
    if more > free:
        raise ValueError(
            f"the report reads the columns of all labelled solutions at once, and they take more "
            f"than the {max(0, free) / GIB:.1f} GiB left: allow more memory, take fewer methods, "
            "or leave the report out (--no-report); graphs and tables are written"
        )
