"""Working out what is missing of a chunk, stage by stage; the same here and on another node."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rg_helpers.error_prediction.fit_traces import FitTraces
from rg_helpers.scoring.kept import step_graph
from rg_helpers.scoring.memory import Budget, Refused, in_batches
from rg_helpers.scoring.solution_file import Solution
from rg_helpers.scoring.stages import (
    WEIGHTS,
    Arrays,
    Stage,
    confidence_stage,
    graph_stage,
    states_stage,
)
from rg_helpers.traces import BadLine

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast


@dataclass(frozen=True, eq=False)
class Made:
    """What one stage made of a chunk: arrays by the keys of the solutions, their words, refusals.

    `words` is empty where nothing was made.
    """

    stage: str
    arrays: Mapping[str, Arrays]
    words: Mapping[str, str]
    failed: tuple[BadLine, ...] = ()


def stages_of(
    methods: Sequence[str],
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    fit: FitTraces | None,
    model_key: str,
    probes: bool,
    problems: Sequence[Any] = (),
) -> tuple[Stage, ...]:
    """Return what is worked out of every solution: graphs, confidence and, for probes, states."""
    stages = [graph_stage(name, model, tokenizer, fit, model_key, problems) for name in methods]
    stages.append(confidence_stage(model, model_key))
    if probes:
        stages.append(states_stage(model, model_key))
    return tuple(stages)


def work_out(
    stages: Sequence[Stage],
    solutions: Sequence[Solution],
    known: Mapping[str, Collection[str]],
    budget: Budget,
    source: str,
    advance: Callable[[str, int], None] | None = None,
) -> Iterator[Made]:
    """Yield, stage by stage, what had to be made of a chunk's solutions.

    `known` holds, by stage, the keys of those that need not be made. A solution that one stage
    refuses is left out of the later ones. `source` names the file in refusals; `advance` hears of
    the tokens that a stage has done, skipped ones included.
    """
    left = list(solutions)
    for stage in stages:
        missing = [solution for solution in left if solution.key not in known[stage.name]]
        if advance is not None:
            advance(stage.name, tokens_of(solutions) - tokens_of(missing))
        made, failed = _make(stage, missing, budget, source, advance)
        words = stage.describe(made[next(reversed(made))]) if made else {}
        yield Made(stage.name, made, words, tuple(failed))
        left = [s for s in left if s.key in known[stage.name] or s.key in made]


def tokens_of(solutions: Sequence[Solution]) -> int:
    """Return how many tokens some solutions have together."""
    return sum(len(solution.trace) for solution in solutions)


def _make(
    stage: Stage,
    solutions: Sequence[Solution],
    budget: Budget,
    source: str,
    advance: Callable[[str, int], None] | None,
) -> tuple[dict[str, Arrays], list[BadLine]]:
    made: dict[int, Arrays] = {}
    failed = []
    traces = [solution.trace for solution in solutions]
    for chosen, results in in_batches(traces, stage.work, stage.bytes_needed, budget):
        for index, result in zip(chosen, results, strict=True):
            reason = result.reason if isinstance(result, Refused) else None
            if reason is None:
                reason = _unusable(solutions[index], result, stage)
            if reason is None:
                made[index] = result
            else:
                solution = solutions[index]
                where = f"{solution.trace.trace_id!r}, {stage.name}: {reason}"
                failed.append(BadLine(source, solution.line, where))
        if advance is not None:
            advance(stage.name, sum(len(traces[index]) for index in chosen))
    return {solutions[index].key: made[index] for index in sorted(made)}, failed


def _unusable(solution: Solution, arrays: Arrays, stage: Stage) -> str | None:
    """Say why arrays cannot be used: numbers that overflowed in half precision."""
    broken = [name for name, array in arrays.items() if not np.isfinite(array).all()]
    if broken:
        return "it overflows in this precision: score it in float32"
    if WEIGHTS in arrays:
        try:
            step_graph(solution, arrays[WEIGHTS], stage.name, "")
        except ValueError as error:
            return str(error)
    return None
