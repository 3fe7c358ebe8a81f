"""What judging a line needs in every family: the state so far, workings, repeats, put-in values.

A verdict is local: a line is judged against the premises and what was *written* before it, so a
wrong value is one wrong step and the steps that build on it soundly are right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from rg_helpers.problems import arithmetic, deduction, program
from rg_helpers.problems.checked import Judgement
from rg_helpers.problems.problem import Problem, Quantity
from rg_helpers.problems.written import Written

Value = int | bool
APPLY = {"arithmetic": arithmetic.apply, "deduction": deduction.apply, "program": program.apply}
# How an operator is worked out on paper.
SIGN = {
    "more": "+",
    "fewer": "-",
    "together": "+",
    "plus": "+",
    "minus": "-",
    "add": "+",
    "twice": "*",
    "test": ">",
    "same": "same",
    "not": "not",
    "and": "and",
    "or": "or",
}
COMMUTATIVE = ("+", "*", "and", "or")


@dataclass(frozen=True)
class SolutionState:
    """What the solution has said up to now; all keys are those of the problem's quantities.

    `values` are the latest written values, `value_node` the lines that state them, `asked_node`
    the plan lines that ask for a quantity, `opened` the quantities whose plan line is written,
    `skipped` the program lines that are said not to be run.
    """

    values: Mapping[str, Value] = field(default_factory=dict)
    value_node: Mapping[str, int] = field(default_factory=dict)
    asked_node: Mapping[str, int] = field(default_factory=dict)
    opened: frozenset[str] = frozenset()
    skipped: frozenset[str] = frozenset()

    @property
    def planned(self) -> bool:
        """True when the solution writes a plan, so that every line has to be asked for."""
        return bool(self.opened)

    def with_value(self, key: str, value: Value | None, node: int) -> SolutionState:
        """Return the state after line `node` gave a quantity a value (None: it did not)."""
        if value is None:
            return self
        return replace(
            self,
            values={**self.values, key: value},
            value_node={**self.value_node, key: node},
        )

    def with_plan(self, key: str, sources: Sequence[str], node: int) -> SolutionState:
        """Return the state after line `node` planned a quantity from its sources."""
        asked = dict.fromkeys(sources, node)
        return replace(self, asked_node={**asked, **self.asked_node}, opened=self.opened | {key})


@dataclass(frozen=True)
class Working:
    """One way to work an operator out: a sign, and inputs with the quantity each comes from.

    The source is None for a constant of the premise.
    """

    sign: str
    inputs: tuple[tuple[Value, str | None], ...]

    def agreement(self, inputs: Sequence[Value]) -> tuple[int, int]:
        """Count the inputs, and the constants among them, that are as they should be."""
        matched = [
            source for (right, source), value in zip(self.inputs, inputs) if same(right, value)
        ]
        return len(matched), matched.count(None)


def same(first: Value | None, second: Value | None) -> bool:
    """Equal values of the same type: True is not 1."""
    return type(first) is type(second) and first == second


def nodes(*found: int | None) -> tuple[int, ...]:
    """Return node indices sorted, each once, without None."""
    return tuple(sorted({node for node in found if node is not None}))


def workings(quantity: Quantity, sources: Sequence[str], values: Sequence[Value]) -> list[Working]:
    """Return every working that is right for a quantity, given its sources' values."""
    constant = 2 if quantity.operator == "twice" else quantity.operand
    inputs: list[tuple[Value, str | None]] = list(zip(values, sources))
    if constant is not None:
        inputs.append((constant, None))
    sign = SIGN[quantity.operator]
    ways = [Working(sign, tuple(inputs))]
    if sign in COMMUTATIVE:
        ways.append(Working(sign, tuple(inputs[::-1])))
    if quantity.operator == "twice":
        ways.append(Working("+", (inputs[0], inputs[0])))
    return ways


def judge_working(
    problem: Problem,
    state: SolutionState,
    said: Written,
    quantity: Quantity,
    sources: Sequence[str],
    values: Sequence[Value],
    needed: tuple[int, ...],
) -> Judgement:
    """Judge the values a line puts in and its result, given its sources' written values."""
    if said.inputs:
        ways = workings(quantity, sources, values)
        written = len(said.inputs)
        if all(len(way.inputs) != written for way in ways):
            return Judgement("unreadable", needed, needed, detail="the working is incomplete")
        closest = max(
            (way for way in ways if len(way.inputs) == written),
            key=lambda way: (way.sign == said.sign, way.agreement(said.inputs)),
        )
        if closest.sign != said.sign:
            detail = f"{quantity.operator!r} is worked out by {closest.sign!r}, not {said.sign!r}"
            return Judgement("wrong operand", needed, needed, quantity.premise, None, detail)
        for (right, source), value in zip(closest.inputs, said.inputs):
            if not same(right, value):
                return wrong_input(problem, state, quantity, source, right, value, needed)
    expected = APPLY[problem.family](quantity.operator, quantity.operand, list(values))
    if not same(said.result, expected):
        return Judgement("arithmetic slip", needed, needed, detail=f"it should be {expected}")
    return Judgement("right", needed, needed)


def judge_answer(
    problem: Problem, state: SolutionState, said: Written, asked: str | None
) -> Judgement:
    """Judge the answer line: it must repeat the value written for the quantity asked for."""
    question = problem.prompt_nodes - 1
    if asked not in state.values:
        detail = "the asked value was never worked out"
        return Judgement("missing step", (question,), (question,), detail=detail)
    needed = (question, state.value_node[asked])
    if same(state.values[asked], said.result):
        return Judgement("right", needed, needed)
    other = holder(problem, state, said.result, asked)
    detail = f"the steps say {state.values[asked]}, the answer {said.result}"
    return Judgement(
        "contradiction" if other is None else "wrong operand",
        nodes(question, other),
        needed,
        state.value_node[asked],
        other,
        detail,
    )


def judge_repetition(
    judgement: Judgement, state: SolutionState, quantity: Quantity, said: Written
) -> Judgement:
    """A right line about a quantity whose value was written before repeats or contradicts it."""
    former = state.values.get(quantity.key)
    if former is None or judgement.verdict != "right":
        return judgement
    return replace(
        judgement,
        verdict="irrelevant step" if same(former, said.result) else "contradiction",
        detail=f"{quantity.name} was already said to be {former}",
    )


def holder(
    problem: Problem, state: SolutionState, value: Value | None, other_than: str
) -> int | None:
    """Return a node that states `value` for another quantity: the latest step, else a premise.

    A truth value is held by half of everything and points at nothing: None.
    """
    if value is None or isinstance(value, bool):
        return None
    steps = [
        state.value_node[key]
        for key, held in state.values.items()
        if key != other_than and same(held, value)
    ]
    if steps:
        return max(steps)
    for quantity in problem.quantities:
        is_stated = quantity.operator == "given" and same(quantity.value, value)
        if quantity.key != other_than and (is_stated or quantity.operand == value):
            return quantity.premise
    return None


def wrong_input(
    problem: Problem,
    state: SolutionState,
    quantity: Quantity,
    source: str | None,
    right: Value,
    value: Value,
    needed: tuple[int, ...],
) -> Judgement:
    """Judge a put-in or restated value that is not its source's nor the premise's own."""
    if source is None:
        used = next((q.premise for q in problem.quantities if q.operand == value), None)
        detail = f"the premise says {right}, the step puts in {value}"
        claimed = nodes(*needed, used)
        return Judgement("wrong operand", claimed, needed, quantity.premise, used, detail)
    used = holder(problem, state, value, source)
    ignored = state.value_node.get(source)
    if ignored is None:
        ignored = next(q.premise for q in problem.quantities if q.key == source)
    detail = f"{source} was said to be {right}, the step puts in {value}"
    return Judgement(
        "contradiction" if used is None else "wrong operand",
        nodes(*(set(needed) - {ignored}), used),
        needed,
        ignored,
        used,
        detail,
    )
