"""The traces that are compared: several written solutions of every problem, judged step by step.

A trace is `right` (every step and the answer), `wrong` (readable, but not right), `unreadable` (the
checker cannot read some step) or `truncated` (no end or no answer line). The last two are counted
and then left out: what a line that nobody can read follows from is not known.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from rg_helpers.graphs.gold import gold_graph, written_graph
from rg_helpers.graphs.methods import FitData
from rg_helpers.graphs.step_graph import StepGraph, normalise_rows
from rg_helpers.problems import CheckedSolution, Problem, check_solution, generate_problems
from rg_helpers.traces import Trace, gold_trace, sample_traces

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

Outcome = Literal["right", "wrong", "unreadable", "truncated"]
OUTCOMES: tuple[Outcome, ...] = Outcome.__args__
OPERATIONS = (2, 8)  # from what the course model was trained on to beyond
DISTRACTORS = (1, 3)
DIFFICULTIES = {"easy": (2, 3), "medium": (4, 5), "hard": (6, 99)}  # operations, both included


@dataclass(frozen=True)
class Solution:
    """One written solution: the problem, the trace, and what the checker says of it."""

    problem: Problem
    trace: Trace
    checked: CheckedSolution

    @property
    def outcome(self) -> Outcome:
        """Say which class the trace belongs to."""
        checked, trace = self.checked, self.trace
        if not trace.finished or checked.truncated:
            return "truncated"
        misread = len(checked.steps) != len(trace.steps)
        if misread or any(step.verdict == "unreadable" for step in checked.steps):
            return "unreadable"
        return "right" if checked.all_right else "wrong"

    @property
    def difficulty(self) -> str:
        """Name the range of operations that the problem falls into."""
        return next(
            name
            for name, (least, most) in DIFFICULTIES.items()
            if least <= self.problem.operations <= most
        )

    def claimed(self) -> StepGraph:
        """Return what the written steps themselves name and use."""
        return written_graph(self.trace, self.checked, "claimed")

    def of_wrong_steps(self, edges: Literal["claimed", "needed"]) -> StepGraph:
        """Return the claimed or the needed edges of the wrong steps alone.

        Only steps with both sorts of parents keep a row, so that the two graphs ask about the very
        same steps.
        """
        graph = written_graph(self.trace, self.checked, edges)
        other = written_graph(
            self.trace, self.checked, "needed" if edges == "claimed" else "claimed"
        )
        given = len(self.trace.nodes) - len(self.trace.steps)
        wrong = np.zeros(len(graph), dtype=bool)
        wrong[given:] = [step.verdict != "right" for step in self.checked.steps]
        wrong &= other.weights.any(axis=1)
        weights = normalise_rows(graph.weights * wrong[:, None])
        return StepGraph(weights, graph.kinds, graph.texts, edges, "", graph.trace_id)


def fit_problems(family: str, count: int, seed: int = 0) -> list[Problem]:
    """Return validation problems, which are never measured on, to choose and fit on."""
    return generate_problems(
        family, count, "validation", seed, operations=OPERATIONS, distractors=DISTRACTORS
    )


def fit_data(tokenizer: PreTrainedTokenizerFast, problems: Sequence[Problem]) -> FitData:
    """Return the gold solutions of problems, with their gold graphs."""
    return FitData(
        tuple(gold_trace(problem, tokenizer) for problem in problems),
        tuple(gold_graph(problem) for problem in problems),
    )


def sampled_traces(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    problems: Sequence[Problem],
    samples: int,
    temperature: float,
    seed: int = 0,
    longest: int | None = None,
    progress: bool = True,
) -> list[Trace]:
    """Let the model solve every problem `samples` times; see `traces.sample_traces`."""
    return sample_traces(
        model,
        tokenizer,
        problems,
        samples=samples,
        temperature=temperature,
        max_new_tokens=longest,
        seed=seed,
        progress=progress,
    )


def comparison_problems(family: str, count: int, seed: int = 0) -> list[Problem]:
    """Return the test problems of a comparison."""
    return generate_problems(
        family, count, "test", seed, operations=OPERATIONS, distractors=DISTRACTORS
    )


def judged(problems: Sequence[Problem], traces: Sequence[Trace]) -> list[Solution]:
    """Check every trace against the problem it names; raises `ValueError` for unknown problems."""
    by_id = {problem.problem_id: problem for problem in problems}
    unknown = sorted({trace.problem_id for trace in traces} - set(by_id))
    if unknown:
        raise ValueError(
            f"{len(unknown)} traces name problems that are not given, such as {unknown[0]}: pass "
            "the problems they were sampled from"
        )
    return [
        Solution(problem, trace, check_solution(problem, trace.solution))
        for trace in traces
        for problem in (by_id[trace.problem_id],)
    ]


def outcomes(solutions: Sequence[Solution]) -> dict[Outcome, int]:
    """Count every class of traces, also those with none."""
    counts = Counter(solution.outcome for solution in solutions)
    return {outcome: counts[outcome] for outcome in OUTCOMES}


def readable(solutions: Sequence[Solution]) -> list[Solution]:
    """Keep what graphs are drawn of: right and wrong traces."""
    return [solution for solution in solutions if solution.outcome in ("right", "wrong")]


def thinned(solutions: Sequence[Solution], most: int) -> list[int]:
    """Return indices of at most `most` solutions for slow methods: two samples a problem.

    Problems are taken in order, so that all difficulties stay; two samples of each leave pairs for
    the question of stability.
    """
    if len(solutions) <= most:
        return list(range(len(solutions)))
    taken: Counter[str] = Counter()
    chosen = []
    for index, solution in enumerate(solutions):
        name = solution.problem.problem_id
        if taken[name] < 2 and (name in taken or sum(taken.values()) < most - 1):
            taken[name] += 1
            chosen.append(index)
    return chosen[:most]
