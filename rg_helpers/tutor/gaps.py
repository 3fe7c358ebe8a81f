"""Where a student's knowledge has a gap: error rates by skill, beside those of all other steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rg_helpers.problems import Problem
from rg_helpers.statistics import (
    Interval,
    bootstrap_mean,
    cluster_numbers,
    cluster_weights,
    holm,
)
from rg_helpers.tutor.skills import Skill, practised_steps

DRAWS = 2000
LEAST_STEPS = 10  # fewer steps with a skill say too little of it
SURE = 0.05  # adjusted p-value below which a gap is believed


@dataclass(frozen=True)
class SkillGap:
    """How often steps that ask for a skill are wrong, and how much more often than the others.

    `wrong` and `others` are error rates of steps with and without the skill, `gap` is their
    difference; intervals draw whole problems (95 %). `p_holm`: of "there is no gap", adjusted for
    the number of skills (Holm 1979). `explains`: how much better two error rates, with and without
    the skill, account for all right and wrong steps than one rate does (log-likelihood, in nats).
    """

    skill: Skill
    steps: int
    wrong: Interval
    others: Interval
    gap: Interval
    p_holm: float
    explains: float

    @property
    def sure(self) -> bool:
        """True where steps with the skill are wrong more often, beyond doubt."""
        return self.gap.value > 0 and self.p_holm < SURE


def skill_gaps(
    problems: Sequence[Problem], solutions: Sequence[str], draws: int = DRAWS, seed: int = 0
) -> list[SkillGap]:
    """Return one row a skill that at least `LEAST_STEPS` steps ask for, largest gap first.

    `solutions` are texts, one a problem; several of one problem are drawn together. A skill is
    held against all other steps of the same solutions. Raises `ValueError` for other lengths, or
    where no skill was asked for often enough.
    """
    if len(problems) != len(solutions):
        raise ValueError(
            f"{len(problems)} problems and {len(solutions)} solutions: give one problem a solution"
        )
    found = [
        (problem.problem_id, step)
        for problem, solution in zip(problems, solutions, strict=True)
        for step in practised_steps(problem, solution)
    ]
    skills = list(dict.fromkeys(skill for _, step in found for skill in step.skills))
    clusters = cluster_numbers([name for name, _ in found])
    wrong = np.array([step.wrong for _, step in found], float)
    asks = {s: np.array([s in step.skills for _, step in found], bool) for s in skills}
    asks = {s: has for s, has in asks.items() if LEAST_STEPS <= has.sum() <= len(has) - LEAST_STEPS}
    if not asks:
        raise ValueError(
            f"{len(found)} steps of {len(problems)} solutions: no skill was asked for in at least "
            f"{LEAST_STEPS} of them, so nothing can be located; give more solutions"
        )
    weights = cluster_weights(int(clusters.max()) + 1, draws, seed)
    rows = []
    for skill, has in asks.items():
        with_skill = bootstrap_mean(wrong[has], clusters[has], weights)
        without = bootstrap_mean(wrong[~has], clusters[~has], weights)
        rows.append((skill, int(has.sum()), with_skill, without, with_skill.minus(without)))
    adjusted = holm([difference.p_value() for *_, difference in rows])
    gaps = [
        SkillGap(
            skill, steps, a.interval(), b.interval(), difference.interval(), p,
            _log_likelihood(wrong[asks[skill]]) + _log_likelihood(wrong[~asks[skill]])
            - _log_likelihood(wrong),
        )
        for (skill, steps, a, b, difference), p in zip(rows, adjusted, strict=True)
    ]  # fmt: skip
    return sorted(gaps, key=lambda row: -row.gap.value)


def located_gap(gaps: Sequence[SkillGap]) -> SkillGap | None:
    """Return, of the gaps beyond doubt, the one that explains most; None: nothing to practise.

    Not the largest: who stumbles over every pair of facts stumbles over "and" and over "or", and
    by chance over one of them more often. As in growing a decision tree (Quinlan 1986), that skill
    is named which tells wrong steps from right ones best. Of an operation and the dependency that
    only it has ("together" reads two steps) the operation is named: problems are chosen by it.
    """
    sure = [row for row in gaps if row.sure]
    return max(
        sure,
        key=lambda row: (round(row.explains, 9), row.skill.kind == "operation"),
        default=None,
    )


def _log_likelihood(wrong: np.ndarray) -> float:
    """Return the log-likelihood, in nats, of right and wrong steps under their own error rate."""
    rate = wrong.mean()
    return float(len(wrong) * sum(p * np.log(p) for p in (rate, 1 - rate) if p > 0))
