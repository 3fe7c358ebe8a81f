"""Reading and judging the lines of a program trace against the code and the trace so far."""

from __future__ import annotations

import re

from rg_helpers.problems.check_planned import Judgement, SolutionState, judge_answer
from rg_helpers.problems.checked import Written
from rg_helpers.problems.problem import Problem, Quantity
from rg_helpers.problems.program import apply
from rg_helpers.problems.read_planned import NUMBER_ANSWER, integer

ATOM = r"(?:[a-z]\b|-?\d{1,18}\b|True\b|False\b)"
EXPRESSION = rf"({ATOM})(?:\s*([-+*>])\s*({ATOM}))?"
TRACE_LINE = re.compile(
    r"^(?:(L\d+)\s*:\s*)?(?:(if not|if) ([a-z])\s*:\s*)?([a-z])\s*=\s*(?P<rest>.+?)\.?$"
)
SIGNS = {"+": "plus", "-": "minus", "*": "twice", ">": "test"}


def read_trace_line(text: str, problem: Problem) -> Written | None:
    """Read "L4: c = b - 2 = 10 - 2 = 8"; None when the line is no assignment or answer.

    A trace line may leave out its label if only one line of code assigns like that.
    """
    answer = NUMBER_ANSWER.search(text)
    if answer:
        return Written("answer", result=integer(answer.group(1)))
    match = TRACE_LINE.match(text.strip())
    if not match:
        return None
    parts = [part.strip() for part in match["rest"].split("=")]
    parsed = [re.fullmatch(EXPRESSION, part) for part in parts]
    if not all(parsed) or len(parts) not in (1, 3):
        return None
    label, guard, flag, variable = match.group(1, 2, 3, 4)
    head = f"{guard} {flag}: {variable}" if guard else variable
    if label is None:
        label = next(
            (q.key for q in problem.quantities if _code(problem, q) == f"{head} = {parts[0]}"), None
        )
    kind = "value" if len(parts) == 1 else "compute"
    result = _value(parsed[-1].group(1)) if parsed[-1].group(2) is None else None
    used = (parsed[1].group(1), parsed[1].group(3)) if kind == "compute" else ()
    sign = parsed[1].group(2) if kind == "compute" else None
    # The restated code and the worked signs travel as text: they are compared as written.
    return Written(
        kind,
        label,
        sources=(f"{head} = {parts[0]}", sign or ""),
        used=tuple(_value(u) for u in used if u is not None),
        result=result,
    )


def judge_trace_line(problem: Problem, state: SolutionState, said: Written, node: int) -> Judgement:
    """Judge one trace line and note its value in `state`; `node` is the line's own index."""
    if said.kind == "answer":
        root = _asked(problem, state)
        return judge_answer(problem, state, said, root)
    by_key = {q.key: q for q in problem.quantities}
    line = by_key.get(said.subject)
    if line is None:
        return Judgement("irrelevant step", detail=f"the program has no line {said.subject}")
    judgement = _judge_line(problem, state, said, line)
    previous = state.values.get(line.key)
    if previous is not None and judgement.verdict == "right":
        judgement = Judgement(
            "irrelevant step" if previous == said.result else "contradiction",
            judgement.parents,
            judgement.needed,
            detail=f"{line.key} was traced before with {previous}",
        )
    if said.result is not None:
        state.values[line.key] = said.result
        state.value_node[line.key] = node
    return judgement


def _judge_line(problem, state, said: Written, line: Quantity) -> Judgement:
    guard, words = _reads(problem, line)
    guard_line = _latest(problem, state, guard[1], line) if guard else None
    source_lines = [_latest(problem, state, word, line) for word in words]
    behind = [s.key for s in (*source_lines, guard_line) if s is not None]
    nodes = {state.value_node[key] for key in behind if key in state.value_node}
    needed = tuple(sorted({line.premise, *nodes}))
    code, sign = said.sources
    if code != _code(problem, line):
        wrong = [w for w in re.findall(r"\b[a-z]\b", code.split("=")[1]) if w not in words]
        other = _latest(problem, state, wrong[0], line) if wrong else None
        used = state.value_node.get(other.key, other.premise) if other else None
        claimed = (
            nodes if not wrong else nodes - {state.value_node.get(s.key) for s in source_lines if s}
        )
        claimed = {line.premise, *claimed} | ({used} - {None})
        return Judgement(
            "wrong operand",
            tuple(sorted(claimed)),
            needed,
            line.premise,
            used,
            f"the code says {_code(problem, line)!r}",
        )
    for source in (guard_line, *source_lines):
        if source is not None and source.key not in state.values:
            return Judgement(
                "missing step", needed, needed, detail=f"{source.key} was not traced before"
            )
    if guard_line is not None and state.values[guard_line.key] != (guard[0] == "if"):
        return Judgement("irrelevant step", needed, needed, detail="this branch is not taken")
    values = [state.values[s.key] for s in source_lines]
    if line.operator == "given":
        if said.kind != "value":
            return Judgement("unreadable", needed, needed, detail="a constant needs no working")
        if said.result == line.operand:
            return Judgement("right", needed, needed)
        return Judgement("wrong operand", needed, needed, line.premise, None, "misread constant")
    if said.kind == "value" or said.result is None:
        return Judgement("unreadable", needed, needed, detail="the result is not worked out")
    inputs = list(said.used)
    expected_inputs = [*values, *([2] if line.operator == "twice" else [])]
    if line.operator in ("plus", "minus", "test"):
        expected_inputs.append(line.operand)
    for position, (given, expected) in enumerate(zip(inputs, expected_inputs)):
        if given == expected and isinstance(given, bool) == isinstance(expected, bool):
            continue
        other = next(
            (k for k in reversed(state.values) if state.values[k] == given and k not in behind),
            None,
        )
        at = position < len(source_lines)
        ignored = state.value_node[source_lines[position].key] if at else line.premise
        used = state.value_node[other] if other else None
        claimed = tuple(sorted({n for n in needed if n != ignored} | ({used} - {None})))
        verdict = "wrong operand" if other or not at else "contradiction"
        detail = f"{words[position] if at else 'the constant'} is {expected}, the step puts {given}"
        return Judgement(verdict, claimed, needed, ignored, used, detail)
    signs = {"plus": "+", "minus": "-", "twice": "*", "add": "+", "test": ">"}
    if len(inputs) != len(expected_inputs) or sign != signs[line.operator]:
        return Judgement("unreadable", needed, needed, detail="the working is incomplete")
    expected = apply(line.operator, line.operand, values)
    if said.result != expected or isinstance(said.result, bool) != isinstance(expected, bool):
        return Judgement("arithmetic slip", needed, needed, detail=f"it should be {expected}")
    return Judgement("right", needed, needed)


def _code(problem: Problem, line: Quantity) -> str:
    """The line of code without its label."""
    return problem.nodes[line.premise].text.split(": ", 1)[1]


def _reads(problem: Problem, line: Quantity) -> tuple[tuple[str, str] | None, list[str]]:
    """Return a line's guard ("if" or "if not", flag) and the variables its expression reads."""
    code = _code(problem, line)
    guard = re.match(r"(if not|if) ([a-z]): ", code)
    words = re.findall(r"\b[a-z]\b", code.split(" = ", 1)[1])
    return (guard.group(1, 2) if guard else None), words


def _latest(
    problem: Problem, state: SolutionState, variable: str, before: Quantity | None
) -> Quantity | None:
    """Return the line that last assigned `variable` before a line, by the branches as traced."""
    found = None
    for line in problem.quantities:
        if before is not None and line.premise >= before.premise:
            break
        if line.name != variable:
            continue
        guard, _ = _reads(problem, line)
        if guard:
            test = _latest(problem, state, guard[1], line)
            taken = state.values.get(test.key) if test else None
            if taken is not None and taken != (guard[0] == "if"):
                continue
            if taken is None and line.value is None:
                continue
        found = line
    return found


def _asked(problem: Problem, state: SolutionState) -> str:
    variable = problem.nodes[problem.prompt_nodes - 1].text.split()[2]
    return _latest(problem, state, variable, None).key


def _value(text: str) -> int | bool | None:
    if text in ("True", "False"):
        return text == "True"
    return integer(text)
