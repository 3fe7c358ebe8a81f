"""The instructor's notes cover every exercise, and name none that is not there."""

from __future__ import annotations

import math
import re
from pathlib import Path

import nbformat
import pytest

from rg_helpers.course.exercise_notebooks import exercises_of
from rg_helpers.course.notebook_files import find_notebooks, read_notebook

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


BLOCK = re.compile(
    r"^\| (?P<hour>\d+):(?P<minute>\d\d) \| (?P<length>\d+) \| "
    r"(?:(?P<notebook>\d\d)(?:: (?P<sections>[\d, ]+))?|(?P<pause>break|lunch)) \| "
    r"(?P<run>\d*) ?\| (?P<own>\d*) ?\| (?P<talk>\d*) ?\| (?P<tasks>[^|]*)\|",
    re.MULTILINE,
)
MEASURED = re.compile(r"\*\*Measured\*\*: (under )?([\d.]+) min")
BLOCKS = list(BLOCK.finditer(NOTES))


def test_the_day_is_a_timetable_without_gaps():
    assert "11" in [block["notebook"] for block in BLOCKS]
    assert {"break", "lunch"} < {block["pause"] for block in BLOCKS}
    now = 60 * int(BLOCKS[0]["hour"]) + int(BLOCKS[0]["minute"])
    for block in BLOCKS:
        assert f"{block['hour']}:{block['minute']}" == f"{now // 60}:{now % 60:02}", block[0]
        now += int(block["length"])
    assert f"The day ends at {now // 60}:{now % 60:02}." in NOTES
    rows = NOTES[NOTES.index("| from |") :].split("\n\n")[0].splitlines()[2:]
    assert len(rows) == len(BLOCKS), "a row of the timetable cannot be read"


@pytest.mark.parametrize("block", [b for b in BLOCKS if b["notebook"]], ids=lambda b: b["notebook"])
def test_a_block_of_the_day_takes_the_minutes_of_its_notebook(block):
    (path,) = find_notebooks(ROOT / "notebooks", (block["notebook"],))
    cells = read_notebook(path).cells
    stated = {f"{block['notebook']}.{e.number}": e for e in exercises_of(path)}
    asked = [stated[name] for name in re.findall(r"\d\d\.\d", block["tasks"])]
    own = sum(exercise.minutes for exercise in asked)
    assert int(block["own"]) == own > 0, "the exercises state other minutes"
    run = 5 * math.ceil(float(MEASURED.search(cells[0].source)[2]) / 5)
    assert int(block["run"]) == run, f"the head of {path.name} rounds up to {run} minutes"
    assert int(block["length"]) == run + own + int(block["talk"])
    if block["sections"]:
        named = set(block["sections"].split(", "))
        titles = {
            i: m for i, c in enumerate(cells) for m in re.findall(r"^## (.*)", c.source, re.M)
        }
        numbers = {title.split(" ")[0] for title in titles.values()}
        assert named <= numbers, f"{path.name} has no such section"
        for exercise in asked:  # one among "## Exercises", after the sections, can be done in any
            title = [t for place, t in titles.items() if place <= exercise.statement][-1]
            assert title.split(" ")[0] in {*named, "Exercises"}, f"{exercise.title}: {title}"


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
