"""A student taught a wrong rule, its diagnosis, and practice by what the tutor chose.

Everything is kept in files by the hash of what it was made with, so that a killed run goes on.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rg_helpers.artefacts import read_json, write_json
from rg_helpers.comparison.stages import key_of, model_hash, source_hash
from rg_helpers.fine_tuning import FineTuning, fine_tune
from rg_helpers.language_model import WEIGHTS_SUFFIX, load_model, save_model
from rg_helpers.problems import Problem, check_solution, generate_problems
from rg_helpers.traces import sample_traces
from rg_helpers.tutor.gaps import SkillGap, located_gap, skill_gaps
from rg_helpers.tutor.misconceptions import MISCONCEPTIONS, Misconception, misconceived
from rg_helpers.tutor.practice import candidate_problems, practice_problems, skill_share
from rg_helpers.tutor.skills import Skill

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

ARMS = ("none", "located", "random", "other")
TEACHING_SEED, DIAGNOSIS_SEED, PRACTICE_SEED, TEST_SEED = 11_000, 12_000, 13_000, 14_000
TRIED = 6  # problems tried for every one that the wrong rule changes


@dataclass(frozen=True)
class TutorPlan:
    """How large the experiment is.

    A student is the model after `teaching_steps` optimiser steps on `teaching` solutions that a
    wrong rule wrote. The tutor reads its solutions of `diagnosis` validation problems. Practice:
    `practice_steps` on the right solutions of `practice` training problems, drawn anew for each
    of `seeds`. Tested on `test` problems. All problems are of one range of sizes.
    """

    teaching: int = 64
    teaching_steps: int = 40
    diagnosis: int = 80
    practice: int = 16
    practice_steps: int = 20
    test: int = 100
    seeds: int = 5
    operations: tuple[int, int] = (3, 5)
    distractors: tuple[int, int] = (1, 3)
    learning_rate: float = 3e-4
    batch_size: int = 8

    def __post_init__(self) -> None:
        for name in ("teaching", "diagnosis", "practice", "test", "seeds"):
            if getattr(self, name) < 2:
                raise ValueError(f"{name}={getattr(self, name)}: expected at least 2")


@dataclass(frozen=True)
class Classroom:
    """The model that all students start from, the plan, and where students are kept."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast
    plan: TutorPlan
    folder: Path
    source: str = field(default_factory=lambda: source_hash("rg_helpers.tutor.lessons"))

    def path(self, name: str, suffix: str = ".json", **parts: Any) -> Path:
        """Return where something is kept, named by the hash of all that it depends on."""
        key = key_of(
            name=name, plan=asdict(self.plan), model=model_hash(self.model), source=self.source,
            **parts,
        )  # fmt: skip
        return self.folder / f"{name}-{key[:16]}{suffix}"


def misconception_of(family: str, skill: str) -> Misconception:
    """Return the planted rule of a skill, by its name; `ValueError` naming those there are."""
    for one in MISCONCEPTIONS:
        if (one.family, one.skill.name) == (family, skill):
            return one
    there = ", ".join(f"{one.family} {one.skill.name}" for one in MISCONCEPTIONS)
    raise ValueError(f"no misconception about {family} {skill}: there are {there}")


def taught_problems(misconception: Misconception, plan: TutorPlan) -> list[Problem]:
    """Return training problems with the solutions that the wrong rule writes."""
    drawn = generate_problems(
        misconception.family, TRIED * plan.teaching, "train", TEACHING_SEED,
        operations=plan.operations, distractors=plan.distractors,
    )  # fmt: skip
    written = [misconceived(problem, misconception) for problem in drawn]
    found = [problem for problem in written if problem is not None][: plan.teaching]
    if len(found) < plan.teaching:
        raise ValueError(
            f"{misconception.says}: the rule changes {len(found)} of {len(drawn)} problems, "
            f"{plan.teaching} are wanted: ask for longer problems, or fewer of them"
        )
    return found


def student_of(classroom: Classroom, misconception: Misconception) -> PreTrainedModel:
    """Return the model that was taught a wrong rule, from its kept file if there is one."""
    folder = classroom.path(f"student-{_file_name(misconception)}", "", rule=misconception.says)
    if not list(folder.glob(f"*{WEIGHTS_SUFFIX}")):
        problems = taught_problems(misconception, classroom.plan)
        settings = _settings(classroom.plan, classroom.plan.teaching_steps, 0)
        student, _ = fine_tune(
            classroom.model, classroom.tokenizer, problems, settings, progress=False
        )
        save_model(folder, student, classroom.tokenizer, student.dtype)
    return load_model(folder)[0].to(classroom.model.device)


def diagnosis(
    classroom: Classroom, student: PreTrainedModel, family: str
) -> tuple[list[SkillGap], SkillGap | None]:
    """Return the tutor's table of gaps, from the student's solutions alone, and the gap located."""
    plan = classroom.plan
    problems = generate_problems(
        family, plan.diagnosis, "validation", DIAGNOSIS_SEED,
        operations=plan.operations, distractors=plan.distractors,
    )  # fmt: skip
    traces = sample_traces(student, classroom.tokenizer, problems, progress=False)
    gaps = skill_gaps(problems, [trace.solution for trace in traces])
    return gaps, located_gap(gaps)


def other_skill(gaps: list[SkillGap], located: SkillGap) -> Skill | None:
    """Return the control's skill: of the operations without a sure gap the most practised one.

    It is as focused as the practice on the gap, and focused on the wrong thing.
    """
    lines = ("plan", "copy a fact", "skip a line", "answer")
    sound = [
        row for row in gaps
        if row.skill.kind == "operation" and row.skill.name not in lines
        and not row.sure and row.skill != located.skill
    ]  # fmt: skip
    return max(sound, key=lambda row: row.steps).skill if sound else None


def lesson(
    classroom: Classroom, misconception: Misconception, arm: str, skill: Skill | None, seed: int
) -> dict[str, Any]:
    """Let the student practise, and return which test problems it then solves.

    `skill` is what is practised (None: problems at random); arm "none" practises nothing. The row
    holds `solved` (every step right), a list over the test problems, and `asks`: which of them ask
    for the skill that was planted.
    """
    plan, family = classroom.plan, misconception.family
    given = {"family": family, "planted": str(misconception.skill), "arm": arm}
    given |= {"skill": str(skill) if skill else None, "seed": seed}
    path = classroom.path(f"lesson-{_file_name(misconception)}-{arm}-{seed}", **given)
    if path.is_file():
        return read_json(path)
    student = student_of(classroom, misconception)
    sizes = {"operations": plan.operations, "distractors": plan.distractors}
    if arm != "none":
        taken = {problem.problem_id for problem in taught_problems(misconception, plan)}
        seeded = PRACTICE_SEED + seed
        candidates = candidate_problems(family, plan.practice, seeded, **sizes, taken=taken)
        problems = practice_problems(candidates, plan.practice, skill)
        settings = _settings(plan, plan.practice_steps, seed)
        student, _ = fine_tune(
            student, classroom.tokenizer, problems, settings, in_place=True, progress=False
        )
    tested = generate_problems(family, plan.test, "test", TEST_SEED, **sizes)
    traces = sample_traces(student, classroom.tokenizer, tested, progress=False)
    row = given | {
        "solved": [
            check_solution(problem, trace.solution).all_right
            for problem, trace in zip(tested, traces, strict=True)
        ],
        "asks": [skill_share(problem, misconception.skill) > 0 for problem in tested],
    }
    write_json(path, row)
    return row


def _file_name(misconception: Misconception) -> str:
    return f"{misconception.family}-{misconception.skill.name.replace(' ', '_')}"


def _settings(plan: TutorPlan, steps: int, seed: int) -> FineTuning:
    return FineTuning(
        steps=steps, batch_size=plan.batch_size, learning_rate=plan.learning_rate, seed=seed
    )
