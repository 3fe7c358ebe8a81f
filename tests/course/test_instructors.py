"""The instructor's notes cover every exercise, and name none that is not there."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[2]
NOTES = (ROOT / "notebooks" / "INSTRUCTORS.md").read_text(encoding="utf-8")
HEADING = re.compile(r"^### Exercise (\d+)\s*[·:]\s*(.+?)\s*(?:\(●.*)?$", re.MULTILINE)
ROW = re.compile(r"^\| (\d\d\.\d) ([^|]+?) \|", re.MULTILINE)


def exercises() -> dict[str, str]:
    found = {}
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.cell_type == "markdown":
                for number, title in HEADING.findall(cell.source):
                    found[f"{path.name[:2]}.{number}"] = title
    return found


def test_every_exercise_has_objective_answer_and_misconception():
    rows = dict(ROW.findall(NOTES))
    assert len(rows) >= 30
    assert rows == exercises(), "bring the table of notebooks/INSTRUCTORS.md up to date"
    table = NOTES[NOTES.index("| exercise | objective") :].split("\n\n")[0].splitlines()[2:]
    for line in table:
        assert all(len(cell.strip()) > 5 for cell in line.strip("|").split("|")), line


def test_the_paths_name_only_exercises_that_exist():
    paths = NOTES[: NOTES.index("## Exercises:")]
    named = set(re.findall(r"\b\d\d\.\d\b", paths))
    assert named <= set(exercises())


def test_the_semester_uses_every_exercise_of_its_notebooks():
    semester = NOTES[NOTES.index("## A path of one semester") : NOTES.index("## Exercises:")]
    handed_in = re.findall(r"\b\d\d\.\d\b", semester)
    assert len(handed_in) == len(set(handed_in)), "an exercise is handed in twice"
    assert {name for name in exercises() if name < "11"} <= set(handed_in)


@pytest.mark.parametrize("command", re.findall(r"`rgh ([a-z-]+)", NOTES))
def test_its_commands_exist(command):
    from rg_helpers.course.commands import COMMANDS

    assert command.replace("-", "_") in COMMANDS


def test_contributing_is_one_screen():
    lines = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 60
    assert max(map(len, lines)) <= 110
