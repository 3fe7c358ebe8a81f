"""Problems by seed: deterministic, unlimited, each on one side of the split only."""

from __future__ import annotations

import random
from collections.abc import Callable

from rg_helpers.problems.arithmetic import generate_arithmetic
from rg_helpers.problems.deduction import generate_deduction
from rg_helpers.problems.problem import SPLITS, Problem, Split
from rg_helpers.problems.program import generate_program

GENERATORS: dict[str, Callable[[random.Random, int, int, int], Problem]] = {
    "arithmetic": generate_arithmetic,
    "deduction": generate_deduction,
    "program": generate_program,
}
FAMILIES: tuple[str, ...] = tuple(GENERATORS)


def generate_problem(
    family: str,
    seed: int | str,
    operations: int = 3,
    distractors: int = 2,
    joins: int | None = None,
    split: Split | None = None,
) -> Problem:
    """Generate the problem that belongs to a seed and a difficulty; the same every time.

    `joins=None` draws between 0 and half the operations. `split` keeps drawing until the problem
    falls into that split. Raises `ValueError` for an unknown family or split.
    """
    if family not in GENERATORS:
        raise ValueError(f"unknown family {family!r}: expected one of {', '.join(FAMILIES)}")
    if split is not None and split not in SPLITS:
        raise ValueError(f"unknown split {split!r}: expected one of {', '.join(SPLITS)}")
    rng = random.Random(f"{family}|{seed}|{operations}|{distractors}|{joins}|{split}")
    while True:
        drawn = rng.randint(0, operations // 2) if joins is None else joins
        problem = GENERATORS[family](rng, operations, distractors, drawn)
        if split is None or problem.split == split:
            return problem


def generate_problems(
    family: str,
    count: int,
    split: Split | None = "test",
    seed: int = 0,
    operations: tuple[int, int] = (2, 6),
    distractors: tuple[int, int] = (1, 3),
    joins: int | None = None,
) -> list[Problem]:
    """Generate `count` different problems with sizes drawn evenly from the given ranges."""
    rng = random.Random(f"{family}|{split}|{seed}|sizes")
    problems: dict[str, Problem] = {}
    attempts = 0
    while len(problems) < count:
        if attempts > 50 * count + 1000:
            raise ValueError(
                f"only {len(problems)} different {family} problems of this size were found, "
                f"{count} were asked for: ask for fewer, or for more operations or distractors"
            )
        size = rng.randint(*operations), rng.randint(*distractors)
        problem = generate_problem(family, f"{seed}|{attempts}", *size, joins, split)
        problems.setdefault(problem.problem_id, problem)
        attempts += 1
    return list(problems.values())
