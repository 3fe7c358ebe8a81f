"""Which problems are trained on, tuned on and tested on: the same for every arm, never shared."""

from __future__ import annotations

from functools import lru_cache

from rg_helpers.experiment.plan import Cell, Recipe
from rg_helpers.problems import FAMILIES, Problem, generate_problems

TEST_SEED = 50_000
FIT_SEED = 60_000  # of the problems that the error predictor is fitted on
UNLABELLED_SEED = 70_000  # of problems whose solutions self-training writes itself


@lru_cache(maxsize=64)
def fit_problems(family: str, recipe: Recipe) -> tuple[Problem, ...]:
    """Return training problems that no arm trains on, for the graph error predictor."""
    return tuple(
        generate_problems(
            family,
            recipe.fit_problems,
            "train",
            FIT_SEED,
            operations=recipe.fit_operations,
            distractors=recipe.distractors,
        )
    )


@lru_cache(maxsize=64)
def training_problems(family: str, size: int, seed: int, recipe: Recipe) -> tuple[Problem, ...]:
    """Return the problems of a seed: a smaller set is the beginning of a larger one."""
    return _training(family, size, seed, recipe)


@lru_cache(maxsize=16)
def unlabelled_problems(family: str, size: int, seed: int, recipe: Recipe) -> tuple[Problem, ...]:
    """Return as many other training problems, whose solutions self-training may not look at."""
    taken = {problem.problem_id for problem in training_problems(family, size, seed, recipe)}
    drawn = _training(family, 2 * size, UNLABELLED_SEED + seed, recipe)
    return tuple(problem for problem in drawn if problem.problem_id not in taken)[:size]


@lru_cache(maxsize=64)
def cell_problems(cell: Cell, family: str, split: str = "test") -> tuple[Problem, ...]:
    """Return a cell's problems of one family; "validation" gives those that arms are tuned on."""
    return tuple(
        generate_problems(
            family,
            cell.problems,
            split,
            TEST_SEED,
            operations=(cell.operations, cell.operations),
            distractors=(cell.distractors, cell.distractors),
        )
    )


def families_asked(cell: Cell, family: str) -> tuple[str, ...]:
    """Return the families that a cell tests a model of `family` on."""
    return (family,) if cell.of == "trained" else tuple(f for f in FAMILIES if f != family)


def _training(family: str, size: int, seed: int, recipe: Recipe) -> tuple[Problem, ...]:
    """Draw problems and leave out those that the error predictor knows."""
    known = {problem.problem_id for problem in fit_problems(family, recipe)}
    drawn = generate_problems(
        family,
        size + len(known),
        "train",
        seed,
        operations=recipe.operations,
        distractors=recipe.distractors,
    )
    return tuple(problem for problem in drawn if problem.problem_id not in known)[:size]
