"""The next problems for a student: those that ask most often for what went wrong."""

from __future__ import annotations

from collections.abc import Collection

from rg_helpers.problems import Problem, generate_problems
from rg_helpers.tutor.skills import Skill, practised_steps

CHOICE = 6  # candidates drawn for every problem that is handed out


def candidate_problems(
    family: str,
    count: int,
    seed: int,
    operations: tuple[int, int],
    distractors: tuple[int, int],
    taken: Collection[str] = (),
) -> list[Problem]:
    """Return `CHOICE` x `count` training problems that are not `taken`, the same for a seed."""
    wanted = CHOICE * count
    drawn = generate_problems(
        family, wanted + len(taken), "train", seed, operations=operations, distractors=distractors
    )
    return [problem for problem in drawn if problem.problem_id not in taken][:wanted]


def practice_problems(candidates: list[Problem], count: int, skill: Skill | None) -> list[Problem]:
    """Return the `count` candidates with the largest share of steps that ask for `skill`.

    Without a skill the first ones are returned: practice at random. Raises `ValueError` where
    there are fewer candidates, or none of them asks for the skill.
    """
    if len(candidates) < count:
        raise ValueError(f"{len(candidates)} candidates for {count} problems: draw more of them")
    if skill is None:
        return candidates[:count]
    shares = {problem.problem_id: skill_share(problem, skill) for problem in candidates}
    if not any(shares.values()):
        raise ValueError(
            f"none of {len(candidates)} problems asks for {skill}: draw longer problems, or name a "
            "skill of this family"
        )
    return sorted(candidates, key=lambda problem: -shares[problem.problem_id])[:count]


def skill_share(problem: Problem, skill: Skill) -> float:
    """Return the share of the gold solution's steps that ask for a skill."""
    steps = practised_steps(problem, problem.solution)
    return sum(skill in step.skills for step in steps) / max(1, len(steps))
