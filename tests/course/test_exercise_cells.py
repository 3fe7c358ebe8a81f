"""Exercises are read from a notebook's cells, and a form that nobody could use is refused."""

from __future__ import annotations

import nbformat
import pytest

from rg_helpers.course.exercise_cells import read_exercises

HEADING = "### Exercise 1 · Double it (●●○, importance ★☆☆, 15 minutes)\n\nWrite `double(x)`."
STUB = 'def double(x):\n    """Twice x."""\n    raise NotImplementedError("your turn")'
CHECK = (
    "def check_double(function):\n    assert function(3) == 6, 'squared?'\n\n\n"
    "attempt(check_double, double);"
)
HINT = "<details><summary>Hint</summary>\n\nAdd it to itself.\n</details>"
SOLUTION = "def doubled(x):\n    return x + x\n\n\ncheck_double(doubled)"


def cells_of(heading=HEADING, stub=STUB, check=CHECK, hint=HINT, solution=SOLUTION, order=None):
    new = nbformat.v4
    cells = [
        new.new_markdown_cell(heading),
        new.new_code_cell("given = 1"),
        new.new_code_cell(stub, metadata={"tags": ["exercise"]}),
        new.new_code_cell(check, metadata={"tags": ["check"]}),
        new.new_markdown_cell(hint, metadata={"tags": ["hint"]}),
        new.new_code_cell(solution, metadata={"tags": ["solution"]}),
    ]
    return [cells[i] for i in order] if order else cells


def test_an_exercise_is_read_with_all_its_parts():
    (exercise,) = read_exercises(cells_of(), "07_x")
    assert (exercise.notebook, exercise.number, exercise.title) == ("07_x", 1, "Double it")
    assert (exercise.difficulty, exercise.importance, exercise.minutes) == (2, 1, 15)
    assert (exercise.difficulty_dots, exercise.importance_stars) == ("●●○", "★☆☆")
    assert exercise.functions == ("double",)
    assert (exercise.check, exercise.references) == ("check_double", ("doubled",))
    places = (exercise.statement, exercise.stub, exercise.checks, exercise.hint, exercise.solution)
    assert places == (0, 2, (3,), 4, 5)


def test_two_exercises_and_a_value_that_the_check_returns():
    second = cells_of(
        HEADING.replace("Exercise 1", "Exercise 2"),
        solution="""def doubled(x):
    return x + x


speed = check_double(doubled)
print(speed)""",
    )
    exercises = read_exercises(cells_of() + second, "n")
    assert [exercise.number for exercise in exercises] == [1, 2]
    assert exercises[1].references == ("doubled",)
    assert exercises[1].stub == 8


def test_a_notebook_without_exercises_has_none():
    assert read_exercises([nbformat.v4.new_markdown_cell("# Title")], "n") == ()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"heading": "### Exercise 1: Double it"}, "cannot be read"),
        ({"heading": HEADING.replace("●●○", "●●")}, "three dots"),
        ({"heading": HEADING.replace("minutes", "min")}, "cannot be read"),
        ({"heading": HEADING.replace("Exercise 1", "Exercise 2")}, "numbered 2"),
        ({"heading": "Write it."}, "0 headings"),
        ({"stub": "def double(x):\n    return None"}, "NotImplementedError"),
        ({"stub": "double = 1"}, "defines no function"),
        ({"check": CHECK.replace("attempt(check_double, double);", "")}, "attempt"),
        ({"check": CHECK.replace(", double)", ", other)")}, "not the stubs"),
        ({"check": "attempt(check_double, double);"}, "not defined"),
        ({"hint": "Add it to itself."}, "fold the hint"),
        ({"solution": "def doubled(x):\n    return x + x"}, "must call check_double"),
        ({"solution": "check_double(double)"}, "must call check_double"),
        ({"order": [0, 1, 2, 3, 5, 4]}, "in this order"),
        ({"order": [0, 1, 2, 4, 5]}, "0 check"),
        ({"order": [0, 1, 2, 3, 4, 4, 5]}, "2 hint"),
        ({"order": [0, 1, 5, 2, 3, 4]}, "before any exercise"),
        ({"order": [1, 2, 3, 4, 5, 0]}, "must stand before"),
    ],
)
def test_what_nobody_could_use_is_refused_with_the_cure(changed, message):
    with pytest.raises(ValueError, match=message) as caught:
        read_exercises(cells_of(**changed), "07_x")
    assert "07_x" in str(caught.value)
