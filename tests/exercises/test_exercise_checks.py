"""Every check takes the reference, waits for the stub, and rejects wrong answers by their name.

Of each notebook only the cells run that its exercises need, once, at smoke size; the notebooks
as a whole, solutions included, are executed by `make notebook-tests`.
"""

from __future__ import annotations

import ast
import contextlib
import io
import random
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from planted import Planted, notebook, planted_for

from rg_helpers.course.cell_names import cell_names, cells_needed
from rg_helpers.course.exercise_cells import Exercise, read_exercises
from rg_helpers.course.exercises import attempt
from rg_helpers.course.notebook_files import read_notebook

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = [
    path
    for path in sorted((ROOT / "notebooks").glob("*.ipynb"))
    if read_exercises(read_notebook(path).cells, path.stem)
]


def _answer(source: str, exercise: Exercise) -> str:
    """The statements of a solution cell up to the check of its reference."""
    kept = []
    for statement in ast.parse(source).body:
        kept.append(ast.get_source_segment(source, statement))
        called = (node.func for node in ast.walk(statement) if isinstance(node, ast.Call))
        if any(getattr(function, "id", None) == exercise.check for function in called):
            return "\n".join(kept)
    raise AssertionError(f"{exercise.notebook}: no call of {exercise.check} in the solution")


def _run(path: Path) -> tuple[tuple[Exercise, ...], dict[str, Any], str]:
    """Run what the exercises need; return them, the names bound and all that was printed."""
    cells = read_notebook(path).cells
    exercises = read_exercises(cells, path.stem)
    sources = {i: cell.source for i, cell in enumerate(cells) if cell.cell_type == "code"}
    own = [place for e in exercises for place in (e.stub, *e.checks, e.solution)]
    for exercise in exercises:
        sources[exercise.solution] = _answer(sources[exercise.solution], exercise)
    settings = next(
        place for place, source in sources.items() if source.startswith("PROFILE = start(")
    )
    names = {place: cell_names(source) for place, source in sources.items()}
    namespace: dict[str, Any] = {"__name__": "__main__"}
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        for place in cells_needed(names, [*own, settings]):
            code = compile(sources[place], f"<{path.stem}, cell {place}>", "exec")
            exec(code, namespace)
    return exercises, namespace, printed.getvalue()


def _verdict(check, wrong: Planted) -> str | None:
    """Say what is amiss with a check's answer to a wrong one; None if it names the mistake."""
    name = wrong.function.__name__
    try:
        with contextlib.redirect_stdout(io.StringIO()), np.errstate(all="ignore"):
            attempt(check, wrong.function)
    except AssertionError as error:
        said = str(error).splitlines()[0] if str(error) else "nothing"
        return None if wrong.says in str(error) else f"{name} ({wrong.mistake}) hears: {said}"
    except Exception as error:
        return f"{name} crashes the check: {type(error).__name__}: {error}"
    return f"{name} is let through: {wrong.mistake}"


@pytest.fixture
def smoke(monkeypatch):
    """Smoke size, and everything that a notebook's start sets put back afterwards."""
    monkeypatch.setenv("RGH_PROFILE", "smoke")
    threads, state = torch.get_num_threads(), (random.getstate(), np.random.get_state())
    with warnings.catch_warnings():
        yield
    torch.set_num_threads(threads)
    random.setstate(state[0])
    np.random.set_state(state[1])
    vars(notebook).clear()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_checks_reject_planted_wrong_answers(path, smoke):
    exercises, namespace, printed = _run(path)
    vars(notebook).update(namespace)
    planted = planted_for(path.stem[:2])
    assert {wrong.exercise for wrong in planted} <= {e.number for e in exercises}
    amiss = []
    for exercise in exercises:
        assert f"{' and '.join(exercise.functions)}: not solved yet" in printed
        check = namespace[exercise.check]
        mine = [wrong for wrong in planted if wrong.exercise == exercise.number]
        found = [_verdict(check, wrong) for wrong in mine]
        amiss += [f"exercise {exercise.number}: {text}" for text in found if text]
        if len({wrong.says for wrong in mine}) < 2:
            amiss.append(f"exercise {exercise.number}: plant two wrong answers of two kinds")
        with pytest.raises(AssertionError, match="returned None"):
            attempt(check, lambda *arguments, **options: None)
    assert not amiss, "\n".join(["", *amiss])


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_assertion_of_a_check_says_what_is_wrong(path):
    cells = read_notebook(path).cells
    for exercise in read_exercises(cells, path.stem):
        for place in exercise.checks:
            for node in ast.walk(ast.parse(cells[place].source)):
                if isinstance(node, ast.Assert):
                    assert node.msg is not None, (
                        f"{path.stem}: name the mistake: {ast.unparse(node)}"
                    )


def test_the_course_has_thirty_exercises_from_a_first_look_to_research():
    exercises = [
        e for path in NOTEBOOKS for e in read_exercises(read_notebook(path).cells, path.stem)
    ]
    assert len(exercises) >= 30
    for level in (1, 2, 3):
        assert sum(exercise.difficulty == level for exercise in exercises) >= 5
    first = read_exercises(read_notebook(NOTEBOOKS[0]).cells, "first")[0]
    assert (first.difficulty, first.minutes) == (1, 5)
