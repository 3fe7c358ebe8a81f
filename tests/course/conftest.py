"""A small checkout in a temporary folder, so that no test touches the real one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import nbformat
import pytest

from rg_helpers.course.folders import REPOSITORY_VARIABLE
from rg_helpers.course.profiles import PROFILE_VARIABLE

PARAMETERS = 'PROFILE = "cpu"\nSEED = 0\nsteps = 3\nrate = 0.5\nverbose = False\nname = "a"'


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch) -> Path:
    """An empty course: pyproject.toml, notebooks/, data/results/."""
    root = tmp_path / "clone"
    (root / "notebooks").mkdir(parents=True)
    (root / "data" / "results").mkdir(parents=True)
    (root / "pyproject.toml").write_text('[project]\nname = "rg_helpers"\n')
    monkeypatch.setenv(REPOSITORY_VARIABLE, str(root))
    monkeypatch.delenv(PROFILE_VARIABLE, raising=False)
    return root


@pytest.fixture
def add_notebook(checkout) -> Callable[..., Path]:
    """Return a function that writes a tiny notebook of the given code cells."""

    def add(name: str, *sources: str, parameters: str = PARAMETERS, tags: Sequence[str] = ()):
        cells = [nbformat.v4.new_markdown_cell(f"# Title of {name}\n\nWhat it is about.")]
        cells.append(nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]}))
        cells += [nbformat.v4.new_code_cell(source) for source in sources]
        path = checkout / "notebooks" / f"{name}.ipynb"
        nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
        return path

    return add
