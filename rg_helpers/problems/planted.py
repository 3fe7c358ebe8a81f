"""Wrong solutions made on purpose: one error of a known kind at a known step.

An error is planted into the gold solution; everything after it follows soundly from what is then
written, branches of programs included, so that exactly one step is wrong. Some tear a hole that
later lines fall into as well: a missing or unreadable step, a wrong name in a plan, and a program
line that is said to be skipped although it is run.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from rg_helpers.problems.checked import Verdict
from rg_helpers.problems.edits import (
    LARGEST,
    Edit,
    contradictions,
    irrelevant_steps,
    missing_steps,
    slips,
    unreadable_steps,
)
from rg_helpers.problems.judgement import Value
from rg_helpers.problems.problem import Problem
from rg_helpers.problems.script import ScriptLine, play
from rg_helpers.problems.segment import segment_steps
from rg_helpers.problems.wrong_operands import wrong_operands

EDITS: dict[Verdict, Callable[[Problem, list[ScriptLine]], Iterator[Edit]]] = {
    "arithmetic slip": slips,
    "wrong operand": wrong_operands,
    "irrelevant step": irrelevant_steps,
    "missing step": missing_steps,
    "contradiction": contradictions,
    "unreadable": unreadable_steps,
}
ERROR_KINDS: tuple[Verdict, ...] = tuple(EDITS)


@dataclass(frozen=True)
class PlantedError:
    """A whole wrong solution and what is wrong with it.

    `step` is the index of the wrong step among the written steps, the one that the checker ought
    to find first. `way` says how the error was made: "result", "name", "plan", "number",
    "clause", "value", "distractor", "branch", "skipped", "dropped", "fact", "answer" or "garbled".
    For a
    wrong operand or a contradiction `ignored` is the node that the step passes over and `used`
    the node it reads instead, counted like the parents of `CheckedStep`.
    """

    text: str
    step: int
    kind: Verdict
    way: str
    ignored: int | None = None
    used: int | None = None


def plant_error(problem: Problem, kind: Verdict, seed: int | str = 0) -> PlantedError | None:
    """Plant an error of a kind into the gold solution; the same every time for the same seed.

    None where the problem has no place for it: an irrelevant step needs a distractor whose
    sources are written or, in a program, a branch not taken; values that the error would push
    out of two digits are no place either. Raises `ValueError` for an unknown kind.
    """
    if kind not in EDITS:
        raise ValueError(f"unknown kind of error {kind!r}: expected one of {', '.join(EDITS)}")
    rng = random.Random(f"planted|{problem.problem_id}|{kind}|{seed}")
    lines = play(problem)
    by_way: dict[str, list[Edit]] = defaultdict(list)
    for edit in EDITS[kind](problem, lines):
        by_way[edit.way].append(edit)
    ways = list(by_way)
    rng.shuffle(ways)  # first the way, then the place: rare ways get their turn
    for way in ways:
        rng.shuffle(by_way[way])
        for edit in by_way[way]:
            texts = _apply(problem, edit)
            if texts is not None:
                step = edit.at if edit.step is None else edit.step
                text = problem.separator.join(texts)
                return PlantedError(text, step, kind, way, edit.ignored, edit.used)
    return None


def _apply(problem: Problem, edit: Edit) -> list[str] | None:
    """Write the edited solution; None when a value leaves two digits or a line cannot stand."""
    lines = play(problem, edit.changed)
    if any(not _is_small(line.value) for line in lines):
        return None
    texts = [line.text for line in lines]
    texts[edit.at : edit.at + (not edit.inserted)] = [edit.text] if edit.text else []
    if edit.text and segment_steps(edit.text, problem.family) != [(0, len(edit.text))]:
        return None
    return texts


def _is_small(value: Value | None) -> bool:
    return value is None or isinstance(value, bool) or 0 <= value <= LARGEST
