"""Stability: does a step get the same graph when the problem is solved again in other words?

Two samples of one problem share their prompt nodes. Where both hold a step that is about the same
quantity, of the same kind ("plan", "value", "compute", "answer"), and right, the two rows of
weights on the prompt nodes, their *premise-usage profiles*, should be alike. Pairs of steps with
the very same text before them are left out: a causal model gives them the same row, which proves
nothing. Stability is the mean Pearson correlation of the two profiles. `chance` is the same mean
over pairs of steps about *different* quantities in the same two samples: what a graph gains from
habits alone (first premises, nearness) it gains there too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rg_helpers.comparison.pairs import Pairs
from rg_helpers.comparison.solutions import Solution
from rg_helpers.problems.checker import READ
from rg_helpers.statistics import Bootstrap, bootstrap_mean, cluster_weights

MOST_DIFFERENT = 3  # pairs of different quantities per pair of the same one
LEAST_PREMISES = 3  # profiles of fewer entries correlate by accident


@dataclass(frozen=True, eq=False)
class StepPairs:
    """Rows of two samples of one problem; arrays (step pairs,), rows as in `Pairs`."""

    first: np.ndarray
    second: np.ndarray
    prompt: np.ndarray  # number of prompt nodes, equal in both
    same: np.ndarray  # about the same quantity?
    clusters: np.ndarray  # the problem's number
    problems: int


def step_pairs(solutions: Sequence[Solution], pairs: Pairs, seed: int = 0) -> StepPairs | None:
    """List the pairs of steps to compare; None where fewer than two problems have any."""
    generator = np.random.default_rng(seed)
    first_row = np.searchsorted(pairs.row_graphs, np.arange(len(solutions)))
    samples: dict[str, list[int]] = {}
    for index, solution in enumerate(solutions):
        samples.setdefault(solution.problem.problem_id, []).append(index)
    rows: list[tuple[int, int, int, bool, int]] = []
    problems = 0
    for members in samples.values():
        found = []
        for place, i in enumerate(members):
            for j in members[place + 1 :]:
                found += _between(solutions[i], solutions[j], generator, first_row[i], first_row[j])
        rows += [(*pair, problems) for pair in found]
        problems += bool(found)
    if problems < 2:
        return None
    first, second, prompt, same, clusters = (np.array(column) for column in zip(*rows, strict=True))
    return StepPairs(first, second, prompt, same.astype(bool), clusters, problems)


def stability(
    weights: np.ndarray, pairs: Pairs, steps: StepPairs, draws: int, seed: int = 0
) -> tuple[Bootstrap, Bootstrap]:
    """Return (stability, chance) of flat weights (pairs,), bootstrapped over problems.

    A profile that is constant (nothing on the prompt, say) correlates with nothing: it counts 0.
    """
    values = np.zeros(len(steps.first))
    for number, (one, other, count) in enumerate(
        zip(steps.first, steps.second, steps.prompt, strict=True)
    ):
        starts = pairs.row_starts[one], pairs.row_starts[other]
        values[number] = _correlation(*(weights[start : start + count] for start in starts))
    drawn = cluster_weights(steps.problems, draws, seed)
    same, other = steps.same, ~steps.same
    return (
        bootstrap_mean(values[same], steps.clusters[same], drawn),
        bootstrap_mean(values[other], steps.clusters[other], drawn),
    )


def _between(
    one: Solution, other: Solution, generator: np.random.Generator, first: int, second: int
) -> list[tuple[int, int, int, bool]]:
    """Return (row, row, prompt nodes, same quantity?) of the comparable steps of two samples."""
    prompt = one.problem.prompt_nodes
    if prompt < LEAST_PREMISES or one.trace.solution == other.trace.solution:
        return []
    subjects, others = _subjects(one), _subjects(other)
    found = []
    for subject, i in subjects.items():
        if subject not in others:
            continue
        j = others[subject]
        if _text_until(one, i) == _text_until(other, j):
            continue
        found.append((first + i, second + j, prompt, True))
        different = [k for name, k in others.items() if name[1] != subject[1]]
        for k in generator.permutation(different)[:MOST_DIFFERENT]:
            found.append((first + i, second + int(k), prompt, False))
    return found


def _subjects(solution: Solution) -> dict[tuple[str, str | None], int]:
    """Return (kind, quantity) -> step number of the right steps; the first one counts."""
    read = READ[solution.problem.family]
    found: dict[tuple[str, str | None], int] = {}
    for number, step in enumerate(solution.checked.steps):
        said = read(step.text, solution.problem) if step.verdict == "right" else None
        if said is not None:
            found.setdefault((said.kind, said.subject), number)
    return found


def _text_until(solution: Solution, step: int) -> str:
    return solution.trace.solution[: solution.checked.steps[step].end]


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    one, other = one - one.mean(), other - other.mean()
    lengths = np.sqrt((one @ one) * (other @ other))
    return float(one @ other / lengths) if lengths > 1e-12 else 0.0
