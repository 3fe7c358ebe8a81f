"""The checker: any solution text in, every step with its verdict and its claimed graph out."""

from __future__ import annotations

from rg_helpers.problems.check_planned import Judgement, SolutionState, judge_planned
from rg_helpers.problems.check_program import judge_trace_line, read_trace_line
from rg_helpers.problems.checked import CheckedSolution, CheckedStep
from rg_helpers.problems.problem import Problem
from rg_helpers.problems.read_planned import read_arithmetic, read_deduction
from rg_helpers.problems.segment import segment_steps

READ = {"arithmetic": read_arithmetic, "deduction": read_deduction, "program": read_trace_line}
JUDGE = {"arithmetic": judge_planned, "deduction": judge_planned, "program": judge_trace_line}


def check_solution(problem: Problem, text: str) -> CheckedSolution:
    """Read a written solution of `problem` and judge every step; malformed text never raises.

    Steps after the answer line are judged too; they are irrelevant. Text that cannot be read is
    a step with the verdict "unreadable".
    """
    read, judge = READ[problem.family], JUDGE[problem.family]
    state = SolutionState()
    steps: list[CheckedStep] = []
    answer: str | None = None
    for start, end in segment_steps(text, problem.family):
        line = text[start:end]
        said = read(line, problem)
        node = problem.prompt_nodes + len(steps)
        if said is None or (said.kind == "answer" and said.result is None):
            judgement = Judgement("unreadable", detail="no statement of this family was found")
        elif answer is not None:
            judgement = Judgement("irrelevant step", detail="written after the answer")
        else:
            judgement = judge(problem, state, said, node)
            if said.kind == "answer":
                answer = _answer_text(said.result)
        kind = said.kind if said else None
        steps.append(CheckedStep(line, start, end, kind, **vars(judgement)))
    return CheckedSolution(tuple(steps), answer, answer == problem.answer)


def _answer_text(value: int | bool | str) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
