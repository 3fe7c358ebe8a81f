"""A small checkout in a temporary folder, so that no test touches the real one."""

from __future__ import annotations

from pathlib import Path

import pytest

from rg_helpers.course.folders import REPOSITORY_VARIABLE


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch) -> Path:
    """An empty course: pyproject.toml, notebooks/, data/results/."""
    root = tmp_path / "clone"
    (root / "notebooks").mkdir(parents=True)
    (root / "data" / "results").mkdir(parents=True)
    (root / "pyproject.toml").write_text('[project]\nname = "rg_helpers"\n')
    monkeypatch.setenv(REPOSITORY_VARIABLE, str(root))
    return root
