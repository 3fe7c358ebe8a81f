"""What graph methods choose heads and fit clusters on: never the problems that are judged.

Traces of generated problems: gold solutions of other generated problems, so that heads are chosen
by gold edges. Any other file: one problem in `ONE_IN`, by its id, is set aside if some method has
to be fitted; no edges are known then, and heads are averaged. An error predictor trained elsewhere
brings its own. No label of correctness is read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from rg_helpers.artefacts import sha256_of
from rg_helpers.comparison.solutions import fit_data, fit_problems
from rg_helpers.error_prediction.fit_traces import ONE_IN, FitTraces
from rg_helpers.graphs.methods import FitData, find_method
from rg_helpers.graphs.step_graph import StepGraph
from rg_helpers.traces import Trace

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

MOST_ASIDE = 100
NEEDS_GOLD = ("linear_predictability", "lightweight")


def set_aside(problem_id: str) -> bool:
    """Say whether a problem is one of those to fit on: one in `ONE_IN`, by its id alone."""
    return int(sha256_of(problem_id)[:8], 16) % ONE_IN == 0


@dataclass(eq=False)
class Aside:
    """The first traces of problems that may be set aside, at most `MOST_ASIDE` of them."""

    traces: list[Trace] = field(default_factory=list)

    def offer(self, trace: Trace) -> None:
        """Keep a trace if its problem is one to fit on and there is room."""
        if len(self.traces) < MOST_ASIDE and set_aside(trace.problem_id):
            self.traces.append(trace)


def course_fit(
    tokenizer: PreTrainedTokenizerFast, solved: Mapping[str, Set[str]], count: int, seed: int
) -> FitTraces:
    """Return gold solutions of `count` generated problems a family that the file does not solve."""
    problems = [
        problem
        for family, ids in solved.items()
        for problem in fit_problems(family, count, seed)
        if problem.problem_id not in ids
    ]
    origin = f"gold solutions of {len(problems)} other problems (validation split)"
    return FitTraces(fit_data(tokenizer, problems), True, origin, tuple(problems))


def own_fit(aside: Aside, methods: Sequence[str]) -> FitTraces | None:
    """Return the traces set aside, None if no method has to be fitted.

    Raises `ValueError` for methods that cannot do without known edges, and if nothing is set aside.
    """
    fitted = [name for name in methods if "fit" in find_method(name).needs]
    if not fitted:
        return None
    golden = [name for name in fitted if name in NEEDS_GOLD]
    if golden:
        raise ValueError(
            f"{golden[0]} is fitted on known edges, and this file has none: leave the method out, "
            "or apply a predictor that brings its fit (--predictor)"
        )
    if not aside.traces:
        raise ValueError(
            f"{fitted[0]} has to be fitted on problems that are not judged, and the file has too "
            f"few: one problem in {ONE_IN} is set aside for that; give more, or leave it out"
        )
    names = {trace.problem_id for trace in aside.traces}
    origin = f"{len(aside.traces)} traces of {len(names)} problems set aside"
    data = FitData(tuple(aside.traces), tuple(map(_unknown, aside.traces)))
    return FitTraces(data, False, origin)


def _unknown(trace: Trace) -> StepGraph:
    nodes = len(trace.nodes)
    return StepGraph(
        np.zeros((nodes, nodes)), trace.kinds, trace.texts, "unknown", "", trace.trace_id
    )
