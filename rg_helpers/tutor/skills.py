"""What a written step asks of its writer: an operation, and a kind of dependency to look up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rg_helpers.problems import CheckedStep, Problem, check_solution
from rg_helpers.problems.checker import READ

SkillKind = Literal["operation", "dependency"]
PREMISE_ALONE, STEP_BEFORE, FURTHER_BACK = "premise alone", "the step before", "a step further back"
TWO_STEPS = "two steps"
LINE_NAMES = {"plan": "plan", "value": "copy a fact", "skip": "skip a line", "answer": "answer"}


@dataclass(frozen=True)
class Skill:
    """One thing to be good at: an operation ("fewer"), or a dependency ("two steps")."""

    kind: SkillKind
    name: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.name}"


@dataclass(frozen=True)
class PractisedStep:
    """One written step: the skills that it asks for, and whether it is wrong."""

    step: int
    skills: tuple[Skill, Skill]
    wrong: bool


def practised_steps(problem: Problem, solution: str) -> list[PractisedStep]:
    """Return the steps of a solution up to and with the first wrong one, with their skills.

    What stands after a wrong step may be wrong because of it, and says nothing of the skill. A
    step that names nothing of the problem asks for no known skill and ends the list.
    """
    found = []
    for index, step in enumerate(check_solution(problem, solution).steps):
        operation = _operation(problem, step)
        if operation is None:
            break
        node = problem.prompt_nodes + index
        dependency = _dependency(problem, step.needed, node)
        skills = Skill("operation", operation), Skill("dependency", dependency)
        wrong = step.verdict != "right"
        found.append(PractisedStep(index, skills, wrong))
        if wrong:
            break
    return found


def _operation(problem: Problem, step: CheckedStep) -> str | None:
    """Name what a line does: an operator of the family, or the kind of a line without one."""
    if step.kind is None:
        return None
    if step.kind in LINE_NAMES:
        return LINE_NAMES[step.kind]
    said = READ[problem.family](step.text, problem)
    return next((q.operator for q in problem.quantities if q.key == said.subject), None)


def _dependency(problem: Problem, needed: Sequence[int], node: int) -> str:
    """Name what has to be looked up beside premises: nothing, one step (which?), or two steps."""
    steps = [source for source in needed if source >= problem.prompt_nodes]
    if not steps:
        return PREMISE_ALONE
    if len(steps) > 1:
        return TWO_STEPS
    return STEP_BEFORE if node - steps[0] == 1 else FURTHER_BACK
