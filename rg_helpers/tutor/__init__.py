"""A tutor: where a student's knowledge has a gap, told from its solutions, and what to practise."""

from rg_helpers.tutor.gaps import SkillGap, located_gap, skill_gaps
from rg_helpers.tutor.misconceptions import MISCONCEPTIONS, Misconception, misconceived
from rg_helpers.tutor.practice import practice_problems
from rg_helpers.tutor.skills import Skill, practised_steps

__all__ = [
    "MISCONCEPTIONS",
    "Misconception",
    "Skill",
    "SkillGap",
    "located_gap",
    "misconceived",
    "practice_problems",
    "practised_steps",
    "skill_gaps",
]
