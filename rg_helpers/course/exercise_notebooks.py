"""Make the notebook a learner works in from the complete one, and never lose a learner's work.

The complete notebook is the only source. The learner's edition has its cells without outputs,
the answers as text in a fold, and, where the notebook goes on with an answer, a cell that takes
the course's own, so that a skipped exercise stops nobody. Where the course has a public address,
it has buttons that open it on hosted machines, and the cell that fetches the course there.
"""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass
from pathlib import Path

import nbformat

from rg_helpers.artefacts import sha256_of, write_text
from rg_helpers.course.cell_names import cell_names, readers, unbound_names
from rg_helpers.course.exercise_cells import Exercise, read_exercises
from rg_helpers.course.hosted import badges, repository_url, with_set_up
from rg_helpers.course.notebook_files import MEASURED, find_notebooks, read_notebook, source_text

FOLDER = "exercises"
METADATA = "rgh_exercises"
TAKEN_TAG = "course-answer"
LINK = re.compile(r"(\]\(|<(?:img|a)\s[^>]*?(?:src|href)=\")(?![a-z]+:|#|/)([^)\"\s]+)")

# What lies where a learner's notebook is to be written.
MISSING, CURRENT, OUTDATED, STARTED, STARTED_OUTDATED, FOREIGN = (
    "missing",
    "current",
    "outdated",
    "started",
    "started, outdated",
    "not generated",
)


@dataclass(frozen=True)
class Edition:
    """A learner's notebook: where it belongs, what it should be, and what lies there now."""

    path: Path
    fresh: nbformat.NotebookNode
    state: str


def editions(folder: Path, output: Path, names: tuple[str, ...] = ()) -> list[Edition]:
    """Return the learner's edition of each notebook of `folder` that has exercises.

    Raises `ValueError` for a notebook whose exercises cannot be read, `FileNotFoundError` without
    notebooks.
    """
    found = []
    with_exercises = {path.name for path in find_notebooks(folder) if exercises_of(path)}
    url = repository_url()
    for source in find_notebooks(folder, names):
        if source.name in with_exercises:
            fresh = learners_edition(read_notebook(source), source.stem, with_exercises, url)
            path = output / source.name
            found.append(Edition(path, fresh, _state(path, fresh)))
    return found


def exercises_of(path: Path) -> tuple[Exercise, ...]:
    """Return the exercises of a notebook file; raises `ValueError` if they cannot be read."""
    return read_exercises(read_notebook(path).cells, path.stem)


def learners_edition(
    notebook: nbformat.NotebookNode,
    name: str,
    siblings: frozenset[str] | set[str] = frozenset(),
    url: str | None = None,
) -> nbformat.NotebookNode:
    """Return the edition of a complete notebook that a learner works in.

    `siblings` are the file names that exist in the learner's folder too; other relative links
    lead one folder up. `url` is the public address that hosted machines fetch. Raises `ValueError`
    if a cell would read a name that is nowhere bound.
    """
    exercises = read_exercises(notebook.cells, name)
    solutions = {exercise.solution: exercise for exercise in exercises}
    code = {i: cell.source for i, cell in enumerate(notebook.cells) if cell.cell_type == "code"}
    needed = readers({i: cell_names(source) for i, source in code.items()}, list(solutions))
    cells = []
    for place, cell in enumerate(notebook.cells):
        if place in solutions:
            cells.append(_folded_answer(cell))
            if needed[place]:
                cells.append(_taken_answer(cell, name, solutions[place], needed[place]))
        else:
            cells.append(_unexecuted(cell, siblings))
        if place == 0:
            cells.append(_note(name, exercises, url))
    made = copy.copy(notebook)
    made.cells = cells
    _refuse_gaps(cells, name)
    if url is not None:
        made = with_set_up(made, url)
    made.metadata = copy.deepcopy(notebook.metadata)
    made.metadata[METADATA] = {"source": f"{name}.ipynb", "hash": sha256_of(source_text(made))}
    return made


def write_edition(edition: Edition, force: bool = False, beside: bool = False) -> Path | None:
    """Write a learner's notebook and return its path; None if there is nothing to do.

    A file that somebody has worked in stays as it is: raises `ValueError` with the cure where the
    course has moved on since, unless `force` overwrites it or `beside` writes NAME.new.ipynb.
    """
    path = edition.path
    if edition.state == CURRENT or (edition.state == STARTED and not force):
        return None
    if edition.state in (STARTED_OUTDATED, FOREIGN) and not force:
        if not beside:
            what = "holds work of yours" if edition.state != FOREIGN else "was not generated"
            raise ValueError(
                f"{path.name} {what} and was left as it is, though the course has another version: "
                "`rgh exercises --beside` writes that to "
                f"{_beside(path).name}, `--output FOLDER` all of them elsewhere, and `--force` "
                "overwrites what you have"
            )
        path = _beside(path)
    return write_text(path, nbformat.writes(edition.fresh) + "\n")


def drifted(folder: Path, output: Path, names: tuple[str, ...] = ()) -> list[str]:
    """Return one line for each learner's notebook that is not what its source gives.

    Files without a source are named too, unless `names` choose some of the notebooks.
    """
    mine = (
        "keep work of your own with `rgh exercises --output FOLDER`, then `rgh exercises --force`"
    )
    cures = {
        MISSING: "is missing: run `rgh exercises`",
        OUTDATED: "is older than its source: run `rgh exercises`",
        STARTED: f"was edited or executed: {mine}",
        STARTED_OUTDATED: f"was edited or executed, and is older than its source: {mine}",
        FOREIGN: "was not generated: edit its source, then `rgh exercises --force`",
    }
    wanted = editions(folder, output, names)
    lines = [f"{e.path.name} {cures[e.state]}" for e in wanted if e.state != CURRENT]
    known = {edition.path for edition in wanted}
    for path in [] if names else sorted(output.glob("*.ipynb")):
        if path not in known:
            lines.append(f"{path.name} has no source with exercises in {folder.name}: remove it")
    return lines


def _beside(path: Path) -> Path:
    return path.with_suffix(".new.ipynb")


def _state(path: Path, fresh: nbformat.NotebookNode) -> str:
    if not path.is_file():
        return MISSING
    there = read_notebook(path)
    if there == fresh:
        return CURRENT
    mark = there.metadata.get(METADATA)
    if mark is None:
        return FOREIGN
    executed = any(cell.get("outputs") or cell.get("execution_count") for cell in there.cells)
    if sha256_of(source_text(there)) == mark["hash"] and not executed:
        return OUTDATED
    return STARTED if mark["hash"] == fresh.metadata[METADATA]["hash"] else STARTED_OUTDATED


def _unexecuted(cell: nbformat.NotebookNode, siblings: frozenset[str] | set[str]):
    """Return a cell as it is before anybody ran it; its relative links still lead there."""
    made = copy.deepcopy(cell)
    if made.cell_type == "code":
        made.outputs, made.execution_count = [], None
        return made
    made.source = MEASURED.sub("", made.source)
    made.source = LINK.sub(
        lambda match: match[0] if match[2] in siblings else f"{match[1]}../{match[2]}", made.source
    )
    return made


def _note(name: str, exercises: tuple[Exercise, ...], url: str | None) -> nbformat.NotebookNode:
    minutes = sum(exercise.minutes for exercise in exercises)
    count = f"{len(exercises)} exercise{'s' if len(exercises) > 1 else ''}"
    buttons = f"{badges(url, f'notebooks/{FOLDER}/{name}.ipynb')}\n\n" if url else ""
    return _markdown(
        "exercise-edition",
        f"{buttons}> **Exercise edition** of [{name}](../{name}.ipynb): {count}, about {minutes} "
        "minutes of your own work.\n"
        ">\n"
        "> Run the cells from the top. In each exercise replace `raise NotImplementedError` and "
        "run the check below it: it says *correct*, or names the likely mistake. Hints and answers "
        "are folded. What you skip prints *not solved yet*, and everything below still runs.\n"
        ">\n"
        "> ●○○ a first look · ●●○ takes thought · ●●● research practice. Stars say how much of "
        "the course leans on it. The complete notebook shows every figure; `rgh exercises "
        "--output FOLDER` writes you a copy of your own.",
    )


def _folded_answer(cell: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Return a solution as text: it shows when unfolded and never runs."""
    return _markdown(
        f"{cell.id}-answer",
        f"<details><summary>Answer</summary>\n\n```python\n{cell.source}\n```\n\n</details>",
        tags=["answer"],
    )


def _taken_answer(
    cell: nbformat.NotebookNode, notebook: str, exercise: Exercise, names: list[str]
) -> nbformat.NotebookNode:
    """Return a cell that binds what later cells read, from the complete notebook."""
    listed = ", ".join(names)
    quoted = ", ".join(f'"{name}"' for name in names)
    source = (
        f"# Cells below go on with {listed}. Solved or not, this takes the course's version.\n"
        "from rg_helpers.course.exercises import answer\n\n"
        f'{listed} = answer(\n    globals(), "{notebook}", {exercise.number}, {quoted}\n)'
    )
    made = nbformat.v4.new_code_cell(source, metadata={"tags": [TAKEN_TAG]})
    made.id = f"{cell.id}-taken"
    return made


def _markdown(identity: str, source: str, **metadata: object) -> nbformat.NotebookNode:
    made = nbformat.v4.new_markdown_cell(source, metadata=metadata)
    made.id = identity
    return made


def _refuse_gaps(cells: list[nbformat.NotebookNode], name: str) -> None:
    names = {i: cell_names(cell.source) for i, cell in enumerate(cells) if cell.cell_type == "code"}
    for place, missing in unbound_names(names).items():
        raise ValueError(
            f"{name}: without the answers, cell {place} reads {', '.join(missing)}, which no "
            "cell before it binds: bind them outside the cell tagged `solution`"
        )
