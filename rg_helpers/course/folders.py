"""Where the course keeps its things: one place that knows the folders of the repository."""

from __future__ import annotations

import os
from pathlib import Path

REPOSITORY_VARIABLE = "RGH_REPOSITORY"


def repository() -> Path:
    """Return the root of the checkout that holds notebooks/ and data/.

    The environment variable RGH_REPOSITORY wins over the checkout this package was installed
    from. Raises `FileNotFoundError` when neither holds the course.
    """
    chosen = os.environ.get(REPOSITORY_VARIABLE)
    root = Path(chosen).resolve() if chosen else Path(__file__).resolve().parents[2]
    if not (root / "pyproject.toml").is_file():
        raise FileNotFoundError(
            f"{root} is not a checkout of the course (no pyproject.toml): install the package "
            f"from its clone with `pip install -e .`, or set {REPOSITORY_VARIABLE} to the clone"
        )
    return root


def notebooks_folder() -> Path:
    """Return the folder of the course's notebooks."""
    return repository() / "notebooks"


def results_folder() -> Path:
    """Return the folder of measured results, which is committed and written only by code."""
    return repository() / "data" / "results"
