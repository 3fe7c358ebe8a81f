"""A learner who solves nothing gets through: every edition, by what its cells say; two, by running.

The stubs raise in the complete notebooks too, which are all executed, so what an edition adds is
small: its solutions do not run, and some cells take the course's answer. What follows is proved for
all editions; two are executed whole: a short one, and one that takes as many answers as any.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from rg_helpers.course.cell_names import cell_names, unbound_names
from rg_helpers.course.exercise_cells import read_exercises
from rg_helpers.course.exercise_notebooks import FOLDER, TAKEN_TAG
from rg_helpers.course.hosted import TAG as SET_UP_TAG
from rg_helpers.course.notebook_files import find_notebooks, read_notebook
from rg_helpers.course.profiles import PROFILE_VARIABLE
from rg_helpers.course.worker import ThisInterpreter

ROOT = Path(__file__).resolve().parents[2]
COMPLETE = {path.stem: read_notebook(path) for path in find_notebooks(ROOT / "notebooks")}
LEARNERS = {path.stem: read_notebook(path) for path in find_notebooks(ROOT / "notebooks" / FOLDER)}
EXECUTED = ("00_start_here", "09_graph_aware_loss")
RELATIVE = re.compile(r"(?:\.{1,2}|data|runs|notebooks)/.*")


def tagged(cell: nbformat.NotebookNode, tag: str) -> bool:
    return tag in cell.metadata.get("tags", [])


def _is_answer(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and getattr(node.func, "id", "") == "answer"


def taken_cells(name: str) -> dict[int, tuple[str, str]]:
    """Return, by place, each cell that takes an answer, and the solution that it runs."""
    cells = COMPLETE[name].cells
    solutions = {e.number: cells[e.solution].source for e in read_exercises(cells, name)}
    found = {}
    for place, cell in enumerate(LEARNERS[name].cells):
        if tagged(cell, TAKEN_TAG):
            (call,) = [node for node in ast.walk(ast.parse(cell.source)) if _is_answer(node)]
            notebook, number, *_ = [part.value for part in call.args[1:]]
            assert notebook == name
            found[place] = (cell.source, solutions[number])
    return found


def test_every_notebook_has_an_edition():
    assert list(LEARNERS) == list(COMPLETE)
    assert len(LEARNERS) >= 13


@pytest.mark.parametrize("name", LEARNERS)
def test_an_edition_runs_the_cells_of_the_complete_notebook_but_the_solutions(name):
    cells = [c for c in COMPLETE[name].cells if c.cell_type == "code"]
    kept = [(c.id, c.source) for c in cells if not tagged(c, "solution")]
    run = [c for c in LEARNERS[name].cells if c.cell_type == "code"]
    added = [c for c in run if tagged(c, TAKEN_TAG) or tagged(c, SET_UP_TAG)]
    ran = [(c.id, c.source) for c in run if c not in added]
    assert ran == kept, "other cells than the complete notebook's: run `rgh exercises`"
    assert len(cells) > len(kept), "an edition without an exercise"
    before = {c.id: place for place, c in enumerate(LEARNERS[name].cells)}
    for solution in (c for c in cells if tagged(c, "solution")):
        folded = LEARNERS[name].cells[before[f"{solution.id}-answer"]]
        assert (folded.cell_type, solution.source in folded.source) == ("markdown", True)
        assert before.get(f"{solution.id}-taken", before[folded.id] + 1) == before[folded.id] + 1


@pytest.mark.parametrize("name", LEARNERS)
def test_whatever_a_cell_of_an_edition_reads_is_bound_without_the_solutions(name):
    taken = taken_cells(name)
    names = {}
    for place, cell in enumerate(LEARNERS[name].cells):
        if cell.cell_type == "code":
            names[place] = cell_names(taken[place][1] if place in taken else cell.source)
    assert unbound_names(names) == {}
    for place, (source, solution) in taken.items():
        wanted = cell_names(source).bound - {"answer"}
        assert wanted <= cell_names(solution).bound, f"cell {place} takes what is not there"
        assert wanted


@pytest.mark.parametrize("name", LEARNERS)
def test_a_solution_that_nobody_takes_leaves_nothing_behind(name):
    """It must neither rebind nor change in place what a later cell reads."""
    ran = {solution for _, solution in taken_cells(name).values()}
    cells = [c for c in COMPLETE[name].cells if c.cell_type == "code"]
    for place, cell in enumerate(cells):
        if tagged(cell, "solution") and cell.source not in ran:
            left = cell_names(cell.source)
            for later in map(cell_names, (c.source for c in cells[place + 1 :])):
                read = (left.bound | left.changed) & (later.read | later.later)
                assert not read, f"later cells read {sorted(read)}"


@pytest.mark.parametrize("name", LEARNERS)
def test_no_path_depends_on_the_folder_of_the_notebook(name):
    for cell in LEARNERS[name].cells:
        if cell.cell_type == "code":
            words = (getattr(n, "value", None) for n in ast.walk(ast.parse(cell.source)))
            paths = [w for w in words if isinstance(w, str) and RELATIVE.fullmatch(w)]
            assert not paths, "learners' notebooks lie one folder down: use rg_helpers' folders"


@pytest.mark.slow
@pytest.mark.parametrize("name", EXECUTED)
def test_an_edition_runs_from_top_to_bottom_with_nothing_solved(name, monkeypatch):
    monkeypatch.setenv(PROFILE_VARIABLE, "smoke")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    notebook = nbformat.from_dict(LEARNERS[name])
    place = {"metadata": {"path": str(ROOT / "notebooks" / FOLDER)}}
    limits = {"timeout": 240, "startup_timeout": 120}
    kernel = {"kernel_manager_class": ThisInterpreter, "resources": place}
    NotebookClient(notebook, **limits, **kernel).execute()
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in code)
    said = [o.get("text", "") for cell in code for o in cell.outputs if o.output_type == "stream"]
    exercises = read_exercises(COMPLETE[name].cells, name)
    assert "".join(said).count("not solved yet") == len(exercises) > 1
