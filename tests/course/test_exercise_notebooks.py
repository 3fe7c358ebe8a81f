"""The learner's notebooks: made from their source, runnable unsolved, and never overwritten."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import nbformat
import pytest

from rg_helpers.course import cli
from rg_helpers.course.exercise_notebooks import (
    CURRENT,
    FOREIGN,
    METADATA,
    MISSING,
    OUTDATED,
    STARTED,
    STARTED_OUTDATED,
    drifted,
    editions,
    learners_edition,
)
from rg_helpers.course.exercises import answer
from rg_helpers.course.folders import REPOSITORY_VARIABLE, repository

ROOT = Path(__file__).resolve().parents[2]
CELLS = (
    ("markdown", "# Title\n\n<!-- measured -->**Measured**: 9 min<!-- /measured -->", None),
    ("code", "from rg_helpers.course.exercises import attempt", None),
    ("code", "ten = 10\nprint(ten)", None),
    ("markdown", "### Exercise 1 · Double it (●○○, importance ★★☆, 5 minutes)", None),
    ("code", "def my_double(x):\n    raise NotImplementedError", "exercise"),
    (
        "code",
        "def check_double(function):\n    assert function(3) == 6, 'squared?'\n\n\n"
        "attempt(check_double, my_double);",
        "check",
    ),
    ("markdown", "<details><summary>Hint</summary>\n\nAdd.\n</details>", "hint"),
    ("code", "def double(x):\n    return x + x\n\n\ncheck_double(double)\nkept = ten", "solution"),
    ("markdown", "See [next](05_next.ipynb), [the rest](../README.md), [a](https://a.b/c).", None),
    ("code", "total = double(ten)", None),
)


def write_source(checkout: Path, name="04_here", replace=("", "")) -> Path:
    cells = []
    for number, (kind, source, tag) in enumerate(CELLS):
        new = nbformat.v4.new_code_cell if kind == "code" else nbformat.v4.new_markdown_cell
        cell = new(source.replace(*replace) if replace[0] else source)
        cell.id = f"cell-{number}"
        if tag:
            cell.metadata["tags"] = [tag]
        if kind == "code":
            cell.execution_count = number
            cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text="10\n")]
        cells.append(cell)
    path = checkout / "notebooks" / f"{name}.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


def rgh(*arguments: str) -> tuple[int, str]:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        code = cli.main(["exercises", *arguments])
    return code, printed.getvalue()


def states(checkout: Path) -> list[str]:
    folder = checkout / "notebooks"
    return [edition.state for edition in editions(folder, folder / "exercises")]


@pytest.fixture
def source(checkout) -> Path:
    return write_source(checkout)


@pytest.fixture
def learners(source) -> Path:
    """The learner's notebook, just written."""
    assert rgh()[0] == 0
    return source.parent / "exercises" / source.name


def change(path: Path, place: int, source: str) -> None:
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[place].source = source
    nbformat.write(notebook, path)


def test_the_edition_has_stubs_folded_answers_and_no_outputs(learners):
    notebook = nbformat.read(learners, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)
    assert any("raise NotImplementedError" in cell.source for cell in code)
    assert not any("return x + x" in cell.source for cell in code), "an answer would be executed"
    (answer,) = [c for c in notebook.cells if "<summary>Answer</summary>" in c.source]
    assert answer.cell_type == "markdown"
    assert "```python\ndef double(x):\n    return x + x\n" in answer.source
    assert "Measured" not in notebook.cells[0].source, "this file was not measured"
    note = notebook.cells[1].source
    assert "1 exercise, about 5 minutes" in note
    assert "(../04_here.ipynb)" in note


def test_links_still_lead_somewhere(checkout, source):
    write_source(checkout, "05_next")
    rgh()
    text = nbformat.read(source.parent / "exercises" / source.name, as_version=4).cells
    (links,) = [cell.source for cell in text if cell.source.startswith("See")]
    assert links == "See [next](05_next.ipynb), [the rest](../../README.md), [a](https://a.b/c)."


def test_a_learner_who_skips_the_exercise_can_go_on(learners, capsys):
    namespace = {}
    for cell in nbformat.read(learners, as_version=4).cells:
        if cell.cell_type == "code":
            exec(cell.source, namespace)
    assert "my_double: not solved yet" in capsys.readouterr().out
    assert namespace["total"] == 20
    assert namespace["double"](4) == 8


def test_an_answer_that_is_no_longer_there_says_so(source):
    with pytest.raises(ValueError, match=r"no exercise 2 .* write it anew with `rgh exercises`"):
        answer({}, "04_here", 2, "double")
    namespace = {"check_double": lambda function: None, "ten": 10}
    with pytest.raises(ValueError, match="no longer binds triple"):
        answer(namespace, "04_here", 1, "double", "triple")
    assert answer(namespace, "04_here", 1, "kept") == 10


def test_an_answer_that_a_cell_cannot_take_is_refused(checkout):
    path = write_source(checkout, replace=("total = double(ten)", "total = undefined(ten)"))
    with pytest.raises(ValueError, match="reads undefined"):
        learners_edition(nbformat.read(path, as_version=4), "04_here")


def test_generating_twice_writes_nothing_and_check_agrees(learners):
    before = learners.read_bytes()
    code, said = rgh()
    assert (code, learners.read_bytes()) == (0, before)
    assert "0 notebooks written" in said
    assert rgh("--check") == (0, "every learner's notebook is what its source gives\n")


def test_outputs_and_minutes_of_the_source_do_not_matter(checkout, learners):
    write_source(checkout, replace=("9 min", "7 min"))
    assert states(checkout) == [CURRENT]


def test_drift_is_named_and_mended(checkout, learners):
    write_source(checkout, replace=("squared?", "did you square it?"))
    assert states(checkout) == [OUTDATED]
    code, said = rgh("--check")
    assert code == 1
    assert "04_here.ipynb is older than its source: run `rgh exercises`" in said
    assert rgh()[0] == 0
    assert states(checkout) == [CURRENT]
    assert "did you square it?" in learners.read_text(encoding="utf-8")


def test_missing_and_orphaned_files_are_drift(checkout, learners):
    learners.rename(learners.with_name("99_gone.ipynb"))
    folder = checkout / "notebooks"
    missing, orphan = drifted(folder, learners.parent)
    assert states(checkout) == [MISSING]
    assert "04_here.ipynb is missing" in missing
    assert "99_gone.ipynb has no source" in orphan
    assert drifted(folder, learners.parent, ("04",)) == [missing]


def test_a_started_file_is_kept(checkout, learners):
    change(learners, 5, "def my_double(x):\n    return 2 * x")
    mine = learners.read_bytes()
    assert states(checkout) == [STARTED]
    code, said = rgh()
    assert (code, learners.read_bytes()) == (0, mine)
    assert "kept 04_here.ipynb: your work in the present version" in said
    code, said = rgh("--check")
    assert code == 1
    assert "was edited or executed" in said


def test_a_started_file_is_refused_when_the_course_has_moved_on(checkout, learners):
    change(learners, 5, "def my_double(x):\n    return 2 * x")
    mine = learners.read_bytes()
    write_source(checkout, replace=("squared?", "did you square it?"))
    assert states(checkout) == [STARTED_OUTDATED]
    code, said = rgh()
    assert (code, learners.read_bytes()) == (1, mine)
    assert "04_here.ipynb holds work of yours" in said
    assert all(cure in said for cure in ("--beside", "--output", "--force"))
    assert rgh("--beside")[0] == 0
    assert learners.read_bytes() == mine
    beside = learners.with_suffix(".new.ipynb")
    assert "did you square it?" in beside.read_text(encoding="utf-8")
    beside.unlink()
    assert rgh("--force")[0] == 0
    assert states(checkout) == [CURRENT]


def test_running_a_file_makes_it_the_learners_own(checkout, learners):
    notebook = nbformat.read(learners, as_version=4)
    notebook.cells[2].execution_count = 1
    nbformat.write(notebook, learners)
    assert states(checkout) == [STARTED]


def test_saving_a_file_unchanged_does_not(checkout, learners):
    notebook = nbformat.read(learners, as_version=4)
    notebook.metadata["language_info"] = {"name": "python", "version": "3.12.1"}
    nbformat.write(notebook, learners)
    assert states(checkout) == [OUTDATED]
    assert rgh()[0] == 0
    assert states(checkout) == [CURRENT]


def test_a_file_that_was_not_generated_is_refused(checkout, learners):
    notebook = nbformat.read(learners, as_version=4)
    del notebook.metadata[METADATA]
    nbformat.write(notebook, learners)
    assert states(checkout) == [FOREIGN]
    code, said = rgh()
    assert code == 1
    assert "04_here.ipynb was not generated" in said


def test_a_folder_of_ones_own(checkout, learners, tmp_path):
    code, _ = rgh("04", "--output", str(tmp_path / "mine"))
    assert code == 0
    assert (tmp_path / "mine" / "04_here.ipynb").read_bytes() == learners.read_bytes()


def test_the_list_says_title_level_minutes_and_sums(checkout, source):
    write_source(checkout, "05_next", replace=("●○○", "●●●"))
    code, said = rgh("--list")
    assert code == 0
    first, second, _, total = said.splitlines()
    assert first.split() == ["04.1", "Double", "it", "●○○", "★★☆", "5", "min"]
    assert second.startswith("05.1")
    assert total == "2 exercises, 0.2 hours: 1 a first look, 0 take thought, 1 research practice"


def test_the_committed_files_are_what_their_sources_give(monkeypatch):
    monkeypatch.delenv(REPOSITORY_VARIABLE, raising=False)
    assert repository() == ROOT
    code, said = rgh("--check")
    assert code == 0, said
    written = list((ROOT / "notebooks" / "exercises").glob("*.ipynb"))
    assert len(written) >= 11
    assert all(path.stat().st_size < 150_000 for path in written)
