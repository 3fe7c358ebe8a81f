"""Which traces graph methods choose heads and fit clusters on: never those that are scored.

Traces of generated problems: gold solutions of *other* generated problems (of the validation split,
and any that is scored is left out), so heads can be chosen by their gold edges. One's own traces:
one problem in `ONE_IN` is set aside whole; its traces are fitted on (states are centred, clusters
found) and never scored; no gold is known, so heads are averaged, not chosen. Neither way reads a
label of correctness.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rg_helpers.comparison.solutions import fit_data, fit_problems
from rg_helpers.error_prediction.kept_arrays import traces_hash
from rg_helpers.error_prediction.trace_set import TraceSet
from rg_helpers.graphs.methods import FitData
from rg_helpers.graphs.step_graph import StepGraph
from rg_helpers.problems import FAMILIES
from rg_helpers.traces import Trace

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from rg_helpers.problems import Problem

ONE_IN = 5


@dataclass(frozen=True, eq=False)
class FitTraces:
    """What methods are fitted on; `gold` says whether edges are known, `origin` says it in words.

    `problems` are those of the fit traces, for methods that need the problem itself.
    """

    data: FitData
    gold: bool
    origin: str
    problems: tuple[Problem, ...] = ()

    @property
    def problem_ids(self) -> set[str]:
        """Return the problems fitted on."""
        return {trace.problem_id for trace in self.data.traces}

    @property
    def hash(self) -> str:
        """Return the hash of the traces fitted on."""
        return traces_hash(self.data.traces)

    def check_apart(self, traces: Sequence[Trace]) -> None:
        """Raise `ValueError` if a problem fitted on is among those scored."""
        both = self.problem_ids & {trace.problem_id for trace in traces}
        if both:
            raise ValueError(
                f"{len(both)} problems, such as {min(both)}, are fitted on and scored: graphs "
                "would know the test set; fit on other problems"
            )


def fit_traces(
    trace_set: TraceSet, tokenizer: PreTrainedTokenizerFast | None, count: int = 40, seed: int = 0
) -> tuple[FitTraces, np.ndarray]:
    """Return what to fit on, and bool (traces,): which traces are left to be scored.

    `count` is the number of generated fit problems a family. Raises `ValueError` for one's own
    traces of fewer than `ONE_IN` problems.
    """
    families = [name for name in FAMILIES if name in set(trace_set.families.tolist())]
    if tokenizer is not None and trace_set.has_problems and families:
        scored = set(trace_set.problem_ids.tolist())
        problems = [
            problem
            for family in families
            for problem in fit_problems(family, count, seed)
            if problem.problem_id not in scored
        ]
        origin = f"gold solutions of {len(problems)} other problems (validation split)"
        found = FitTraces(fit_data(tokenizer, problems), True, origin, tuple(problems))
        return found, np.ones(len(trace_set), bool)
    names = np.unique(trace_set.problem_ids)
    if len(names) < ONE_IN:
        raise ValueError(
            f"{len(names)} problems: one in {ONE_IN} is set aside to fit graphs on; give more "
            "problems"
        )
    aside = np.random.default_rng(seed).permutation(names)[: len(names) // ONE_IN]
    mine = np.isin(trace_set.problem_ids, aside)
    traces = [trace for trace, chosen in zip(trace_set.traces, mine, strict=True) if chosen]
    empty = tuple(
        StepGraph(np.zeros((len(t.nodes),) * 2), t.kinds, t.texts, "unknown", "", t.trace_id)
        for t in traces
    )
    origin = f"{len(traces)} traces of {len(aside)} problems set aside, which are not scored"
    return FitTraces(FitData(tuple(traces), empty), False, origin), ~mine
