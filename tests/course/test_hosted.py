"""The set-up cell fetches the course where it is absent and does nothing elsewhere."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from rg_helpers.course import cli, hosted
from rg_helpers.course.notebook_files import read_notebook

ROOT = Path(__file__).resolve().parents[2]
URL = "https://github.com/somebody/reasoning-graphs"


def set_repository(checkout, url: str) -> None:
    (checkout / "pyproject.toml").write_text(f'[project.urls]\nRepository = "{url}"\n')


def run_cell(monkeypatch, tmp_path, installed: bool) -> list[list[str]]:
    commands: list[list[str]] = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(subprocess, "run", lambda command, check: commands.append(command))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object() if installed else None)
    monkeypatch.setattr(sys, "path", list(sys.path))
    exec(compile(hosted.CELL.format(url=URL), "set-up", "exec"), {})
    return commands


def test_an_installed_course_is_left_alone(monkeypatch, tmp_path):
    assert run_cell(monkeypatch, tmp_path, installed=True) == []


def test_an_absent_course_is_cloned_once_and_installed(monkeypatch, tmp_path):
    course = str(tmp_path / "course")
    clone, install = run_cell(monkeypatch, tmp_path, installed=False)
    assert clone == ["git", "clone", "--quiet", "--depth", "1", URL, course]
    assert install == [
        sys.executable, "-m", "pip", "install", "--quiet", "-e", f"{course}[course]",
    ]  # fmt: skip
    assert sys.path[0] == course
    (tmp_path / "course").mkdir()  # a second try after a failed installation
    assert len(run_cell(monkeypatch, tmp_path, installed=False)) == 1


def test_the_cell_comes_before_all_code_and_is_written_once():
    cells = [nbformat.v4.new_markdown_cell("# T"), nbformat.v4.new_code_cell("import torch")]
    first = hosted.with_set_up(nbformat.v4.new_notebook(cells=cells), URL)
    assert [cell.source for cell in first.cells] == [
        "# T",
        hosted.CELL.format(url=URL),
        "import torch",
    ]
    again = hosted.with_set_up(first, URL + "2")
    assert len(again.cells) == 3
    assert URL + "2" in again.cells[1].source
    assert len(again.cells[1].source.splitlines()) <= 20
    nbformat.validate(again)


def test_links_open_the_notebook_itself():
    path = "notebooks/00_start_here.ipynb"
    assert hosted.colab_link(URL, path) == (
        "https://colab.research.google.com/github/somebody/reasoning-graphs/blob/main/"
        "notebooks/00_start_here.ipynb"
    )
    assert hosted.binder_link(URL + ".git", path) == (
        "https://mybinder.org/v2/gh/somebody/reasoning-graphs/main?urlpath="
        "lab/tree/notebooks/00_start_here.ipynb"
    )


CHECK = """\
def check(function):
    assert function([1, 2]) == 3, "add"


attempt(check, my_sum);"""
EXERCISE = [
    ("markdown", "### Exercise 1 · Sums (●○○, importance ★☆☆, 5 minutes)", None),
    ("code", "def my_sum(values):\n    raise NotImplementedError", "exercise"),
    ("code", CHECK, "check"),
    ("markdown", "<details><summary>Hint</summary>\n\nAdd.\n</details>", "hint"),
    ("code", "def total(values):\n    return sum(values)\n\n\ncheck(total)", "solution"),
]


def add_exercise(path):
    notebook = read_notebook(path)
    for kind, source, tag in EXERCISE:
        cell = getattr(nbformat.v4, f"new_{kind}_cell")(source)
        cell.metadata = {"tags": [tag] if tag else []}
        notebook.cells.append(cell)
    nbformat.write(notebook, path)


def test_the_command_writes_buttons_and_the_cell_where_people_start(checkout, add_notebook, capsys):
    path = add_notebook("00_a", "from rg_helpers.course.exercises import attempt")
    add_exercise(path)
    readme = checkout / "README.md"
    readme.write_text((ROOT / "README.md").read_text())
    set_repository(checkout, URL)
    before = path.read_bytes()
    assert cli.main(["launch"]) == 0
    assert path.read_bytes() == before
    made = checkout / "notebooks" / "exercises" / path.name
    assert not made.exists()
    link = hosted.binder_link(URL, "notebooks/exercises/00_a.ipynb")
    assert link in capsys.readouterr().out
    assert cli.main(["launch", "--write"]) == 0
    assert path.read_bytes() == before  # the executed notebook stays as it was executed
    cells = read_notebook(made).cells
    code = [cell for cell in cells if cell.cell_type == "code"]
    assert code[0].source == hosted.CELL.format(url=URL)
    assert [cell.metadata.get("tags", []) for cell in code][1] == ["parameters"]
    assert link in cells[1].source
    assert link in readme.read_text()
    capsys.readouterr()
    assert cli.main(["exercises", "--check"]) == 0
    assert cli.main(["claims", "--readme"]) == 0
    assert link in readme.read_text()
    made_before = made.read_bytes()
    assert cli.main(["launch", "--write"]) == 0
    assert made.read_bytes() == made_before


def test_what_somebody_has_worked_in_is_left_and_the_rest_is_written(
    checkout, add_notebook, capsys
):
    for name in ("00_a", "01_b"):
        add_exercise(add_notebook(name, "from rg_helpers.course.exercises import attempt"))
    readme = checkout / "README.md"
    readme.write_text((ROOT / "README.md").read_text())
    assert cli.main(["exercises"]) == 0
    mine, other = (checkout / "notebooks/exercises" / f"{name}.ipynb" for name in ("00_a", "01_b"))
    mine.write_text(mine.read_text().replace("raise NotImplementedError", "return sum(values)"))
    before = mine.read_bytes()
    set_repository(checkout, URL)
    assert cli.main(["launch", "--write"]) == 1
    assert "00_a.ipynb holds work of yours" in capsys.readouterr().err
    assert mine.read_bytes() == before
    fetched = [c for c in read_notebook(other).cells if hosted.TAG in c.metadata.get("tags", [])]
    assert len(fetched) == 1
    assert "mybinder.org" in readme.read_text()


@pytest.mark.parametrize("url", ["", "https://example.org/x"])
def test_without_an_address_the_cure_is_named(checkout, add_notebook, capsys, url):
    add_notebook("00_a", "x = 1")
    if url:
        set_repository(checkout, url)
    assert cli.main(["launch"]) == 2
    assert "Repository" in capsys.readouterr().err


def test_binder_and_conda_hand_pip_only_what_a_requirements_file_may_hold():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    (lines,) = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    for line in lines:  # conda writes them to a file; pip refuses options such as --no-deps there
        assert line == "-e ." or Requirement(line)
    assert environment["channels"] == ["conda-forge"]
    assert not (ROOT / ".binder").exists()  # repo2docker would read that in place of this file
    assert not (ROOT / "binder").exists()


def test_the_dev_container_has_a_python_that_fits_and_builds_the_locked_environment():
    container = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    version = container["image"].partition(":")[2].partition("-")[0]
    assert SpecifierSet(project["requires-python"]).contains(version)
    assert container["postCreateCommand"] == "make environment"
    assert "\nenvironment:" in (ROOT / "Makefile").read_text()
