"""Judging arithmetic and deduction steps against the premises and what was written before."""

from __future__ import annotations

from dataclasses import dataclass, field

from rg_helpers.problems import arithmetic, deduction
from rg_helpers.problems.checked import Verdict, Written
from rg_helpers.problems.problem import Problem, Quantity

APPLY = {"arithmetic": arithmetic.apply, "deduction": deduction.apply}
COMMUTATIVE = ("together", "and", "or")


@dataclass(frozen=True)
class Judgement:
    """A verdict with the edges behind it; the fields are those of `CheckedStep`."""

    verdict: Verdict
    parents: tuple[int, ...] = ()
    needed: tuple[int, ...] = ()
    ignored: int | None = None
    used: int | None = None
    detail: str = ""


@dataclass
class SolutionState:
    """What the solution has said up to now: values, who asked for what, whether it has a plan."""

    values: dict[str, int | bool] = field(default_factory=dict)
    value_node: dict[str, int] = field(default_factory=dict)
    asked_node: dict[str, int] = field(default_factory=dict)
    opened: set[str] = field(default_factory=set)
    planned: bool = False


def judge_planned(problem: Problem, state: SolutionState, said: Written, node: int) -> Judgement:
    """Judge one read line and note in `state` what it says; `node` is the line's own index."""
    by_key = {q.key: q for q in problem.quantities}
    if said.kind == "answer":
        return judge_answer(problem, state, said, problem.quantities[0].key)
    quantity = by_key.get(said.subject)
    if quantity is None:
        return Judgement("irrelevant step", detail=f"the problem knows no {said.subject}")
    if said.kind == "plan":
        return _judge_plan(problem, state, said, quantity, by_key, node)
    if said.kind == "value":
        judgement = _judge_value(problem, state, said, quantity, by_key)
    else:
        judgement = _judge_computation(problem, state, said, quantity, by_key)
    repeated = state.values.get(quantity.key)
    if repeated is not None and judgement.verdict == "right":
        same = repeated == said.result
        judgement = Judgement(
            "irrelevant step" if same else "contradiction",
            judgement.parents,
            judgement.needed,
            detail=f"{quantity.name} was already said to be {repeated}",
        )
    if said.result is not None:
        state.values[quantity.key] = said.result
        state.value_node[quantity.key] = node
    return judgement


def judge_answer(problem: Problem, state: SolutionState, said: Written, root: str) -> Judgement:
    """Judge the answer line: it must repeat the value written for what was asked."""
    question = problem.prompt_nodes - 1
    if root not in state.values:
        return Judgement(
            "missing step", (question,), (question,), detail="the asked value was never worked out"
        )
    needed = (question, state.value_node[root])
    if state.values[root] == said.result:
        return Judgement("right", needed, needed)
    other = _holder(problem, state, said.result, root)
    claimed = (question,) if other is None else (question, other)
    return Judgement(
        "contradiction" if other is None else "wrong operand",
        claimed,
        needed,
        ignored=None,
        used=other,
        detail=f"the steps say {state.values[root]}, the answer {said.result}",
    )


def _judge_plan(problem, state, said, quantity, by_key, node) -> Judgement:
    asker = state.asked_node.get(quantity.key)
    is_root = quantity.key == problem.quantities[0].key
    if is_root:
        asker = problem.prompt_nodes - 1
    needed = tuple(sorted({quantity.premise, *([asker] if asker is not None else [])}))
    again = quantity.key in state.opened
    state.planned = True
    state.opened.add(quantity.key)
    for source in said.sources:
        state.asked_node.setdefault(source, node)
    if set(said.sources) != set(quantity.sources):
        wrong = [s for s in said.sources if s not in quantity.sources]
        used = by_key[wrong[0]].premise if wrong and wrong[0] in by_key else None
        claimed = tuple(sorted({*needed, *([used] if used is not None else [])}))
        true_sources = " and ".join(quantity.sources) or "nothing, it is given"
        return Judgement(
            "wrong operand",
            claimed,
            needed,
            ignored=quantity.premise,
            used=used,
            detail=f"{quantity.name} depends on {true_sources}",
        )
    if again:
        return Judgement("irrelevant step", needed, needed, detail="planned before")
    if not quantity.relevant:
        return Judgement("irrelevant step", needed, needed, detail="the answer does not need it")
    if asker is None:
        return Judgement(
            "missing step", needed, needed, detail=f"no earlier line asks for {quantity.name}"
        )
    return Judgement("right", needed, needed)


def _judge_value(problem, state, said, quantity, by_key) -> Judgement:
    asker = state.asked_node.get(quantity.key)
    if quantity.operator != "given":
        return _judge_unworked_value(problem, state, said, quantity)
    needed = tuple(sorted({quantity.premise, *([asker] if asker is not None else [])}))
    if said.result != quantity.value:
        return _wrong_value(problem, state, said.result, quantity, needed)
    if not quantity.relevant:
        return Judgement("irrelevant step", needed, needed, detail="the answer does not need it")
    if state.planned and asker is None:
        return Judgement(
            "missing step", needed, needed, detail=f"no earlier line asks for {quantity.name}"
        )
    return Judgement("right", needed, needed)


def _judge_unworked_value(problem, state, said, quantity) -> Judgement:
    """Judge "Ana has 11." where 11 must be worked out: right if its sources are written."""
    missing = [s for s in quantity.sources if s not in state.values]
    nodes = [state.value_node[s] for s in quantity.sources if s in state.value_node]
    needed = tuple(sorted({quantity.premise, *nodes}))
    if missing:
        return Judgement(
            "missing step", needed, needed, detail=f"{' and '.join(missing)} was not worked out"
        )
    values = [state.values[s] for s in quantity.sources]
    expected = APPLY[problem.family](quantity.operator, quantity.operand, values)
    if said.result == expected:
        if quantity.relevant:
            return Judgement("right", needed, needed)
        return Judgement("irrelevant step", needed, needed, detail="the answer does not need it")
    return Judgement("arithmetic slip", needed, needed, detail=f"it should be {expected}")


def _judge_computation(problem, state, said, quantity, by_key) -> Judgement:
    nodes = [_value_node(problem, state, by_key[s]) for s in quantity.sources]
    needed = tuple(sorted({quantity.premise, *(n for n in nodes if n is not None)}))
    misquoted = _misquoted(said, quantity)
    if misquoted:
        wrong = [s for s in said.sources if s not in quantity.sources and s in by_key]
        used = None
        if wrong:
            used = _value_node(problem, state, by_key[wrong[0]])
        elif said.operand is not None and said.operand != quantity.operand:
            used = next((q.premise for q in problem.quantities if q.operand == said.operand), None)
        claimed = {quantity.premise} if not wrong else set()
        claimed |= {
            node
            for s in said.sources
            if s in by_key and (node := _value_node(problem, state, by_key[s])) is not None
        }
        return Judgement(
            "wrong operand", tuple(sorted(claimed)), needed, quantity.premise, used, misquoted
        )
    stated = {}
    for source in quantity.sources:
        if source in state.values:
            stated[source] = state.values[source]
        elif by_key[source].operator == "given" and not state.planned:
            stated[source] = by_key[source].value
        else:
            return Judgement(
                "missing step", needed, needed, detail=f"{source} was not worked out before"
            )
    used_values = dict(zip(said.sources or quantity.sources, said.used))
    if quantity.operator in COMMUTATIVE and sorted(said.used) == sorted(stated.values()):
        used_values = stated
    for source in quantity.sources:
        if used_values.get(source) != stated[source]:
            return _wrong_input(problem, state, used_values.get(source), source, quantity, needed)
    operands = [stated[s] for s in quantity.sources]
    expected = APPLY[problem.family](quantity.operator, quantity.operand, operands)
    if said.result != expected:
        return Judgement("arithmetic slip", needed, needed, detail=f"it should be {expected}")
    if not quantity.relevant:
        return Judgement("irrelevant step", needed, needed, detail="the answer does not need it")
    return Judgement("right", needed, needed)


def _misquoted(said: Written, quantity: Quantity) -> str:
    """Say how a line restates another definition than the premise's; empty when it does not."""
    if quantity.operator == "given":
        return f"{quantity.name} is given, not worked out"
    sources_differ = set(said.sources) != set(quantity.sources)
    if said.sources and sources_differ:
        return f"{quantity.name} depends on {' and '.join(quantity.sources)}"
    if said.operator is not None and said.operator != quantity.operator:
        return f"the premise says {quantity.operator!r}, the step {said.operator!r}"
    if said.operator is not None and said.operand != quantity.operand:
        return f"the premise says {quantity.operand}, the step {said.operand}"
    return ""


def _wrong_input(problem, state, value, source, quantity, needed) -> Judgement:
    other = _holder(problem, state, value, source)
    ignored = state.value_node.get(source, quantity.premise)
    claimed = tuple(sorted({n for n in needed if n != ignored} | ({other} - {None})))
    return Judgement(
        "contradiction" if other is None else "wrong operand",
        claimed,
        needed,
        ignored=ignored,
        used=other,
        detail=f"{source} was said to be {state.values.get(source)}, the step puts in {value}",
    )


def _wrong_value(problem, state, value, quantity, needed) -> Judgement:
    other = _holder(problem, state, value, quantity.key)
    claimed = tuple(sorted({n for n in needed if n != quantity.premise} | ({other} - {None})))
    return Judgement(
        "contradiction" if other is None or isinstance(value, bool) else "wrong operand",
        claimed,
        needed,
        ignored=quantity.premise,
        used=other,
        detail=f"the premise says {quantity.value}, the step {value}",
    )


def _holder(problem: Problem, state: SolutionState, value, other_than: str) -> int | None:
    """Return a node that states `value` for another quantity: a step if any, else a premise."""
    if value is None or isinstance(value, bool):
        return None  # a truth value is held by half of everything and points at nothing
    for key in reversed(state.values):
        if key != other_than and state.values[key] == value:
            return state.value_node[key]
    for quantity in problem.quantities:
        if quantity.key != other_than and value in (
            quantity.operand,
            quantity.value if quantity.operator == "given" else None,
        ):
            return quantity.premise
    return None


def _value_node(problem: Problem, state: SolutionState, quantity: Quantity) -> int | None:
    """Return where a quantity's value stands: its own step, or the premise that gives it."""
    if quantity.key in state.value_node:
        return state.value_node[quantity.key]
    return quantity.premise if quantity.operator == "given" else None
