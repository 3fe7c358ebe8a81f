"""Judging arithmetic and deduction steps against the premises and what was written before."""

from __future__ import annotations

from rg_helpers.problems.checked import Judgement
from rg_helpers.problems.judgement import (
    SolutionState,
    holder,
    judge_answer,
    judge_repetition,
    judge_working,
    nodes,
    same,
)
from rg_helpers.problems.problem import Problem, Quantity
from rg_helpers.problems.written import Written

NOT_NEEDED = "the answer does not need it"


def judge_planned(
    problem: Problem, state: SolutionState, said: Written, node: int
) -> tuple[Judgement, SolutionState]:
    """Judge one line, whose own index is `node`; return the state with what it says added."""
    root = problem.quantities[0]
    if said.kind == "answer":
        return judge_answer(problem, state, said, root.key), state
    quantity = _find(problem, said.subject)
    if quantity is None:
        return Judgement("irrelevant step", detail=f"the problem knows no {said.subject}"), state
    if said.kind == "plan":
        judgement = _judge_plan(problem, state, said, quantity)
        known = [source for source in said.sources if _find(problem, source)]
        return judgement, state.with_plan(quantity.key, known, node)
    if said.kind == "compute":
        judgement = _judge_computation(problem, state, said, quantity)
    elif quantity.operator == "given":
        judgement = _judge_given(problem, state, said, quantity)
    else:
        judgement = _judge_result(problem, state, said, quantity)
    judgement = judge_repetition(judgement, state, quantity, said)
    if judgement.verdict == "right" and not quantity.relevant:
        judgement = Judgement(
            "irrelevant step", judgement.parents, judgement.needed, detail=NOT_NEEDED
        )
    return judgement, state.with_value(quantity.key, said.result, node)


def _find(problem: Problem, key: str | None) -> Quantity | None:
    return next((q for q in problem.quantities if q.key == key), None)


def _asker(problem: Problem, state: SolutionState, quantity: Quantity) -> int | None:
    """Return the line that asks for a quantity: the question for the root, else a plan line."""
    if quantity.key == problem.quantities[0].key:
        return problem.prompt_nodes - 1
    return state.asked_node.get(quantity.key)


def _judge_plan(
    problem: Problem, state: SolutionState, said: Written, quantity: Quantity
) -> Judgement:
    """Judge "Ana needs Bo and Cal.": the premise's own sources, asked for by an earlier line."""
    asker = _asker(problem, state, quantity)
    needed = nodes(quantity.premise, asker)
    wrong = [source for source in said.sources if source not in quantity.sources]
    if wrong or len(said.sources) != len(quantity.sources):
        other = next((q.premise for key in wrong if (q := _find(problem, key))), None)
        detail = f"{quantity.name} depends on {_listed(quantity)}"
        claimed = nodes(*needed, other)
        return Judgement("wrong operand", claimed, needed, quantity.premise, other, detail)
    misquoted = _misquoted(said, quantity)
    if misquoted:
        return Judgement("wrong operand", needed, needed, quantity.premise, None, misquoted)
    if quantity.key in state.opened:
        return Judgement("irrelevant step", needed, needed, detail="planned before")
    if not quantity.relevant:
        return Judgement("irrelevant step", needed, needed, detail=NOT_NEEDED)
    if asker is None:
        return _nobody_asks(quantity, needed)
    return Judgement("right", needed, needed)


def _judge_given(
    problem: Problem, state: SolutionState, said: Written, quantity: Quantity
) -> Judgement:
    """Judge "Ana has 8." or "It is dated: yes." where a premise says so itself."""
    asker = _asker(problem, state, quantity)
    needed = nodes(quantity.premise, asker)
    if not same(said.result, quantity.value):
        other = holder(problem, state, said.result, quantity.key)
        return Judgement(
            "contradiction" if other is None else "wrong operand",
            nodes(*(set(needed) - {quantity.premise}), other),
            needed,
            quantity.premise,
            other,
            f"the premise says {quantity.value}, the step {said.result}",
        )
    if quantity.relevant and state.planned and asker is None:
        return _nobody_asks(quantity, needed)
    return Judgement("right", needed, needed)


def _judge_result(
    problem: Problem, state: SolutionState, said: Written, quantity: Quantity
) -> Judgement:
    """Judge "Ana has 11." where 11 must be worked out: right if its sources are written."""
    missing = [source for source in quantity.sources if source not in state.values]
    needed = nodes(quantity.premise, *(state.value_node.get(s) for s in quantity.sources))
    if missing:
        return _not_worked_out(missing[0], needed)
    values = [state.values[source] for source in quantity.sources]
    return judge_working(problem, state, said, quantity, quantity.sources, values, needed)


def _judge_computation(
    problem: Problem, state: SolutionState, said: Written, quantity: Quantity
) -> Judgement:
    """Judge "Ana has 3 more than Bo, so 8 + 3 = 11.": the definition, the inputs, the result."""
    needed = nodes(
        quantity.premise, *(_value_node(problem, state, key) for key in quantity.sources)
    )
    if quantity.operator == "given":
        detail = f"{quantity.name} is given, not worked out"
        return Judgement("wrong operand", needed, needed, quantity.premise, None, detail)
    wrong = [source for source in said.sources if source not in quantity.sources]
    if wrong or (said.sources and len(said.sources) != len(quantity.sources)):
        claimed = nodes(
            quantity.premise if not wrong else None,
            *(_value_node(problem, state, source) for source in said.sources),
        )
        used = next((n for s in wrong if (n := _value_node(problem, state, s)) is not None), None)
        detail = f"{quantity.name} depends on {_listed(quantity)}"
        return Judgement("wrong operand", claimed, needed, quantity.premise, used, detail)
    misquoted = _misquoted(said, quantity)
    if misquoted:
        used = None
        if said.operand is not None and said.operand != quantity.operand:
            used = next((q.premise for q in problem.quantities if q.operand == said.operand), None)
        claimed = nodes(*needed, used)
        return Judgement("wrong operand", claimed, needed, quantity.premise, used, misquoted)
    values = []
    for source in quantity.sources:
        value = state.values.get(source)
        if value is None and not state.planned:  # without a plan, facts need not be copied out
            origin = _find(problem, source)
            value = origin.value if origin.operator == "given" else None
        if value is None:
            return _not_worked_out(source, needed)
        values.append(value)
    return judge_working(problem, state, said, quantity, quantity.sources, values, needed)


def _misquoted(said: Written, quantity: Quantity) -> str:
    """Say how a restated definition differs from the premise's; empty when it does not."""
    if said.operator is None:
        return ""
    if said.operator != quantity.operator:
        return f"the premise says {quantity.operator!r}, the step {said.operator!r}"
    if said.operand != quantity.operand:
        return f"the premise says {quantity.operand}, the step {said.operand}"
    return ""


def _value_node(problem: Problem, state: SolutionState, key: str) -> int | None:
    """Return where a quantity's value stands: its own step, or the premise that gives it."""
    if key in state.value_node:
        return state.value_node[key]
    quantity = _find(problem, key)
    return quantity.premise if quantity and quantity.operator == "given" else None


def _listed(quantity: Quantity) -> str:
    return " and ".join(quantity.sources) or "nothing, it is given"


def _nobody_asks(quantity: Quantity, needed: tuple[int, ...]) -> Judgement:
    detail = f"no earlier line asks for {quantity.name}"
    return Judgement("missing step", needed, needed, detail=detail)


def _not_worked_out(source: str, needed: tuple[int, ...]) -> Judgement:
    detail = f"{source} was not worked out before"
    return Judgement("missing step", needed, needed, detail=detail)
