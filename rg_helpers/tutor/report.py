"""Does practice on the located gap help more than practice at random? Students, seeds, controls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rg_helpers.experiment.crossed import crossed_mean, crossed_share
from rg_helpers.experiment.workers import in_processes
from rg_helpers.language_model import load_model
from rg_helpers.statistics import holm
from rg_helpers.tutor.gaps import SkillGap
from rg_helpers.tutor.lessons import (
    ARMS,
    Classroom,
    TutorPlan,
    diagnosis,
    lesson,
    misconception_of,
    other_skill,
    student_of,
)
from rg_helpers.tutor.skills import Skill

Student = tuple[str, str]  # family, name of the skill that the planted rule is about
_opened: dict[ClassroomOpening, Classroom] = {}


@dataclass(frozen=True)
class ClassroomOpening:
    """What a process needs to open the classroom by itself."""

    model: str
    device: str
    plan: TutorPlan
    runs: Path
    threads: int | None = None

    def classroom(self) -> Classroom:
        """Return the classroom, opened once a process."""
        if self not in _opened:
            if self.threads is not None:
                torch.set_num_threads(self.threads)
            model, tokenizer = load_model(self.model, device=self.device)
            _opened[self] = Classroom(model, tokenizer, self.plan, self.runs)
        return _opened[self]


def tutor_report(
    opening: ClassroomOpening, students: Sequence[Student], jobs: int = 1, progress: bool = True
) -> dict[str, Any]:
    """Teach, diagnose and let practise; return `students`, `lessons`, `gains` and `pooled`.

    students: the planted skill, what the tutor located, its table of gaps. lessons: the share
    of test problems solved a student and arm, over seeds. gains: practice on the located gap minus
    each other arm, paired in seeds and problems, on all test problems (`of` "all") and on those
    that ask for the planted skill ("asking"); p-values adjusted over all students (Holm 1979),
    for each rival and set of problems. pooled: see `pooled_gains`.
    """
    diagnosed = dict(
        zip(students, in_processes(_diagnose, opening, students, jobs, "students", progress))
    )
    tasks = [
        (student, arm, skill, seed)
        for student in students
        for arm, skill in _arms(diagnosed[student]).items()
        for seed in range(opening.plan.seeds if arm != "none" else 1)
    ]
    rows = in_processes(_learn, opening, tasks, jobs, "lessons", progress)
    found: dict[tuple[Student, str], list[dict[str, Any]]] = {}
    for (student, arm, _, _), row in zip(tasks, rows, strict=True):
        found.setdefault((student, arm), []).append(row)
    return {
        "students": [_student_row(student, diagnosed[student]) for student in students],
        "lessons": [_lesson_row(*named, rows) for named, rows in found.items()],
        "gains": (gains := _gains(found)),
        "pooled": pooled_gains(gains),
        "plan": asdict(opening.plan),
    }


def pooled_gains(gains: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the mean of the students' gains, a row a rival and set of problems.

    n: students. The interval (Student's t) is over students, each counted once: it asks what the
    next wrong rule would show. p-values are adjusted over rivals (Holm 1979). A rival that fewer
    than two students were held against has no row.
    """
    rows = []
    for of in ("all", "asking"):
        mine = []
        for rival in ARMS:
            values = [r["value"] for r in gains if (r["of"], r["against"]) == (of, rival)]
            if len(values) > 1:
                found = crossed_mean(np.array([values]))
                mine.append({"against": rival, "of": of} | found.as_dict())
        for row, p in zip(mine, holm([row["p"] for row in mine]), strict=True):
            row["p_holm"] = p
        rows += mine
    return rows


def _diagnose(opening: ClassroomOpening, student: Student) -> dict[str, Any]:
    classroom = opening.classroom()
    model = student_of(classroom, misconception_of(*student))
    gaps, located = diagnosis(classroom, model, student[0])
    return {"gaps": gaps, "located": located, "other": located and other_skill(gaps, located)}


def _arms(found: Mapping[str, Any]) -> dict[str, Skill | None]:
    """Return what each arm practises; without a located gap there is nothing to compare."""
    located, other = found["located"], found["other"]
    skills = {"none": None, "random": None}
    if located is not None:
        skills["located"] = located.skill
    if other is not None:
        skills["other"] = other
    return {arm: skills[arm] for arm in ARMS if arm in skills}


def _learn(opening: ClassroomOpening, task: tuple[Student, str, Skill | None, int]) -> dict:
    student, arm, skill, seed = task
    return lesson(opening.classroom(), misconception_of(*student), arm, skill, seed)


def _student_row(student: Student, found: Mapping[str, Any]) -> dict[str, Any]:
    misconception = misconception_of(*student)
    located: SkillGap | None = found["located"]
    return {
        "family": student[0],
        "planted": student[1],
        "kind": misconception.skill.kind,
        "says": misconception.says,
        "located": str(located.skill) if located else None,
        "right": located is not None and located.skill == misconception.skill,
        "gaps": [_gap_row(gap) for gap in found["gaps"]],
    }


def _gap_row(gap: SkillGap) -> dict[str, Any]:
    return {
        "skill": str(gap.skill),
        "steps": gap.steps,
        "wrong": gap.wrong.as_dict(),
        "others": gap.others.as_dict(),
        "gap": gap.gap.as_dict(),
        "p_holm": gap.p_holm,
        "explains": gap.explains,
    }


def _lesson_row(student: Student, arm: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    solved = np.array([row["solved"] for row in rows], float)
    return {
        "family": student[0],
        "planted": student[1],
        "arm": arm,
        "skill": rows[0]["skill"],
        "solved": crossed_share(solved).as_dict(),
    }


def _gains(found: Mapping[tuple[Student, str], Sequence[Mapping[str, Any]]]) -> list[dict]:
    gains = []
    for rival in (arm for arm in ARMS if arm != "located"):
        for of in ("all", "asking"):
            mine = []
            for student in dict.fromkeys(student for student, _ in found):
                row = _gain(found, student, rival, of)
                if row is not None:
                    mine.append(row)
            for row, p in zip(mine, holm([row["p"] for row in mine]), strict=True):
                row["p_holm"] = p
            gains += mine
    return gains


def _gain(found: Mapping, student: Student, rival: str, of: str) -> dict[str, Any] | None:
    if (student, "located") not in found or (student, rival) not in found:
        return None
    located, others = found[student, "located"], found[student, rival]
    solved = np.array([row["solved"] for row in located], float)
    against = np.array([row["solved"] for row in others], float)  # one row of "none" serves all
    asked = np.array(located[0]["asks"], bool) | (of == "all")
    if asked.sum() < 2:
        return None
    named = {"family": student[0], "planted": student[1], "against": rival, "of": of}
    return named | crossed_mean((solved - against)[:, asked]).as_dict()
