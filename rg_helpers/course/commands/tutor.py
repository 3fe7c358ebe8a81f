"""Let a tutor find the gap planted in a student, and measure practice on it against controls.

`rgh tutor` teaches copies of the model one wrong rule each, locates the gap from their solutions
alone, and trains each on a few problems that ask for it, on as many at random, and on as many that
ask for something else. Students and lessons are kept in runs/tutor, so a killed run continues. With
--record the result goes to data/results, with its claims.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rg_helpers.artefacts import provenance, write_json
from rg_helpers.course import profiles
from rg_helpers.course.claims import Claim, claim_from_result, write_claims
from rg_helpers.course.folders import repository, results_folder
from rg_helpers.language_model import COURSE
from rg_helpers.problems import FAMILIES
from rg_helpers.tutor.lessons import TutorPlan
from rg_helpers.tutor.misconceptions import MISCONCEPTIONS
from rg_helpers.tutor.report import ClassroomOpening, tutor_report

RESULT_NAME = "tutor.json"
SMOKE = {"teaching": 4, "teaching_steps": 2, "diagnosis": 12, "practice": 2, "practice_steps": 1}
SMOKE |= {"test": 4, "seeds": 2, "operations": (2, 3)}
STUDENTS = tuple((one.family, one.skill.name) for one in MISCONCEPTIONS)
RIVALS = ("random", "other")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `rgh tutor`."""
    parser.add_argument("--profile", default="cpu", choices=tuple(profiles.PROFILES))
    parser.add_argument("--model", default=COURSE, help="course, a local folder or a hub id")
    parser.add_argument("--families", nargs="+", choices=FAMILIES)
    parser.add_argument("--jobs", type=int, default=1, help="lessons at once, a process each")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--output", type=Path, help="folder of the result (no claims then)")
    parser.add_argument("--record", action="store_true", help="write data/results and claims")


def run(arguments: argparse.Namespace) -> int:
    """Run `rgh tutor`; writes JSON and prints what was located and gained."""
    if arguments.record and (arguments.output or arguments.profile == "smoke"):
        raise ValueError("--record writes data/results, from profile cpu or gpu, without --output")
    size = profiles.sizes(
        arguments.profile,
        smoke={"plan": SMOKE},
        cpu={"plan": {}},
        gpu={"plan": {"seeds": 10, "test": 400, "diagnosis": 200}},
    )
    families = arguments.families or FAMILIES
    students = tuple(student for student in STUDENTS if student[0] in families)
    threads = profiles.threads(profiles.profile(arguments.profile), arguments.jobs)
    runs = repository() / "runs" / "tutor"
    opening = ClassroomOpening(
        str(arguments.model), arguments.device, TutorPlan(**size.plan), runs, threads
    )
    report = tutor_report(opening, students, arguments.jobs)
    command = f"rgh tutor --profile {arguments.profile} --families {' '.join(families)}"
    command += " --record" if arguments.record else ""
    report |= {
        "what": "gaps planted in students, located from their solutions, and practised",
        "model": str(arguments.model),
        "provenance": provenance(command, 0, arguments.profile),
    }
    folder = results_folder() if arguments.record else arguments.output or runs / "latest"
    path = write_json(folder / RESULT_NAME, report)
    for line in told(report):
        print(line)
    print(f"written: {path}")
    if arguments.record:
        print(f"claims merged into {write_claims(list(claims_of(report, path)))}")
    return 0


def told(report: Mapping[str, Any]) -> Iterator[str]:
    """Yield the result as lines of text."""
    for student in report["students"]:
        verdict = "right" if student["right"] else "not what was planted"
        yield f"{student['family']}, {student['says']}: located {student['located']} ({verdict})"
        named = {key: student[key] for key in ("family", "planted")}
        for row in _asked(report["lessons"], **named):
            solved = row["solved"]
            yield (
                f"  practice {row['arm']:8} {row['skill'] or '':24} solves {solved['value']:.3f} "
                f"[{solved['low']:.3f}, {solved['high']:.3f}]"
            )
        for row in _asked(report["gains"], **named):
            yield (
                f"  located minus {row['against']:7} ({row['of']}): {row['value']:+.3f} "
                f"[{row['low']:+.3f}, {row['high']:+.3f}], Holm p {row['p_holm']:.2g}"
            )
    for row in report["pooled"]:
        yield (
            f"{row['n']} students: located minus {row['against']:7} ({row['of']}): "
            f"{row['value']:+.3f} [{row['low']:+.3f}, {row['high']:+.3f}], "
            f"Holm p {row['p_holm']:.2g}"
        )


def claims_of(report: Mapping[str, Any], path: Path) -> Iterator[Claim]:
    """Yield what the ledger holds: gains over practice at random and on another, and pooled."""
    for row in report["gains"]:
        if row["of"] == "all" and row["against"] in RIVALS:
            planted = row["planted"].replace(" ", "_")
            yield claim_from_result(
                f"tutor.{row['family']}.{planted}.gain_vs_{row['against']}",
                f"{row['family']} problems solved after practice on the located gap "
                f"({row['planted']}), minus after as much practice: {row['against']}",
                path,
                f"/gains/family={row['family']}&planted={row['planted']}"
                f"&against={row['against']}&of=all",
                "problems",
            )
    for row in report["pooled"]:
        if row["against"] in RIVALS:
            asking = "" if row["of"] == "all" else ", of problems that ask for what was planted"
            yield claim_from_result(
                f"tutor.all_students.{row['of']}.gain_vs_{row['against']}",
                f"problems solved after practice on the located gap, minus after as much practice "
                f"({row['against']}), mean of {row['n']} students{asking}",
                path,
                f"/pooled/against={row['against']}&of={row['of']}",
                "students",
            )


def _asked(rows: Any, **wanted: Any) -> list[Mapping[str, Any]]:
    return [row for row in rows if all(row[key] == value for key, value in wanted.items())]
