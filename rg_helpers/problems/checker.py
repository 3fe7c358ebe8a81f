"""The checker: any solution text in, every step with its verdict and its claimed graph out."""

from __future__ import annotations

from collections.abc import Callable

from rg_helpers.problems.checked import CheckedSolution, CheckedStep, Judgement
from rg_helpers.problems.judge_planned import judge_planned
from rg_helpers.problems.judge_program import judge_program
from rg_helpers.problems.judgement import SolutionState
from rg_helpers.problems.problem import Problem
from rg_helpers.problems.read_arithmetic import read_arithmetic
from rg_helpers.problems.read_deduction import read_deduction
from rg_helpers.problems.read_program import read_program
from rg_helpers.problems.segment import segment_steps
from rg_helpers.problems.written import Written

Read = Callable[[str, Problem], Written | None]
Judge = Callable[
    [Problem, SolutionState, Written, int],
    tuple[Judgement, SolutionState],
]
READ: dict[str, Read] = {
    "arithmetic": read_arithmetic,
    "deduction": read_deduction,
    "program": read_program,
}
JUDGE: dict[str, Judge] = {
    "arithmetic": judge_planned,
    "deduction": judge_planned,
    "program": judge_program,
}
LONGEST_STEP = 1000  # characters; the longest step of any family has about 70


def check_solution(problem: Problem, text: str) -> CheckedSolution:
    """Read a written solution of `problem` and judge every step; malformed text never raises.

    Steps after the answer line are judged too: they are irrelevant. Text that cannot be read, or
    is longer than `LONGEST_STEP`, is a step with the verdict "unreadable".
    """
    read, judge = READ[problem.family], JUDGE[problem.family]
    state = SolutionState()
    steps: list[CheckedStep] = []
    answer: str | None = None
    for start, end in segment_steps(text, problem.family):
        line = text[start:end]
        said = read(line, problem) if end - start <= LONGEST_STEP else None
        if said is None or (said.kind == "answer" and said.result is None):
            judgement = Judgement("unreadable", detail="no statement of this family was found")
        elif answer is not None:
            judgement = Judgement("irrelevant step", detail="written after the answer")
        else:
            judgement, state = judge(problem, state, said, problem.prompt_nodes + len(steps))
            if said.kind == "answer":
                answer = _answer_text(said.result)
        kind = said.kind if said else None
        steps.append(CheckedStep(text=line, start=start, end=end, kind=kind, **vars(judgement)))
    return CheckedSolution(tuple(steps), answer, answer == problem.answer)


def _answer_text(value: int | bool) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
