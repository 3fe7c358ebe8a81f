"""What a run will have to do, found out by reading the file once before any model's work."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tqdm.auto import tqdm

from rg_helpers.scoring.fitting import Aside
from rg_helpers.scoring.memory import GIB, Budget
from rg_helpers.scoring.solution_file import Solution, SolutionFile, from_course
from rg_helpers.scoring.stages import Stage
from rg_helpers.traces import Trace


@dataclass(eq=False)
class Survey:
    """Counts of a file; `longest` and `most_nodes` are the traces that need most memory.

    `course` holds, a family of generated problems, the problems that the file's traces solve, and
    `aside` traces that could be fitted on; both are small.
    """

    solutions: int = 0
    left_out: int = 0
    tokens: int = 0
    labelled: int = 0
    from_course: int = 0
    longest: Trace | None = None
    most_nodes: Trace | None = None
    course: dict[str, set[str]] = field(default_factory=dict)
    aside: Aside = field(default_factory=Aside)

    def add(self, solution: Solution) -> None:
        """Count one solution."""
        trace = solution.trace
        self.solutions += 1
        self.tokens += len(trace)
        known = solution.labels
        self.labelled += known.wrong_answer is not None or known.flawed is not None
        if self.longest is None or len(trace) > len(self.longest):
            self.longest = trace
        if self.most_nodes is None or len(trace.nodes) > len(self.most_nodes.nodes):
            self.most_nodes = trace
        if from_course(trace):
            self.from_course += 1
            self.course.setdefault(trace.family, set()).add(trace.problem_id)
        self.aside.offer(trace)

    def as_dict(self) -> dict[str, Any]:
        """Return the counts as plain values."""
        names = ("solutions", "left_out", "tokens", "labelled")
        found = {name: getattr(self, name) for name in names}
        found["longest_tokens"] = len(self.longest or ())
        found["most_nodes"] = len(self.most_nodes.nodes) if self.most_nodes else 0
        return found


def survey_file(solutions: SolutionFile, progress: bool = True) -> Survey:
    """Read a file once and count what it holds."""
    survey = Survey()
    bar = tqdm(desc="reading", unit=" solutions", disable=None if progress else True)
    with bar:
        for found in solutions:
            if isinstance(found, Solution):
                survey.add(found)
            else:
                survey.left_out += 1
            bar.update()
    return survey


def memory_words(survey: Survey, stages: Sequence[Stage], budget: Budget) -> str:
    """Say how much a batch is estimated to take, at least and at most, of what it may."""
    heaviest = [
        (max(need(trace) for trace in (survey.longest, survey.most_nodes)), name)
        for name, need in _needs(stages)
    ]
    need, name = max(heaviest)
    most = min(budget.largest, max(1, budget.bytes // max(1, need)))
    words = f"memory: a batch may take {budget.bytes / GIB:.2f} GiB; the largest solution takes an "
    words += f"estimated {need / GIB:.3f} GiB ({name})"
    if need > budget.bytes:
        return f"{words}, which is too much: what does not fit is left out"
    return f"{words}, so {most} such solutions go together, at most {budget.largest} shorter ones"


def _needs(stages: Sequence[Stage]) -> list[tuple[str, Callable[[Trace], int]]]:
    return [(stage.name, stage.bytes_needed) for stage in stages]
