"""Read and tidy notebook files without running them."""

from __future__ import annotations

from pathlib import Path

import nbformat


def read_notebook(path: str | Path) -> nbformat.NotebookNode:
    """Read a notebook (format 4); raises an error that names the file and the cure."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: see the folder {path.parent} for names")
    try:
        return nbformat.read(path, as_version=4)
    except (ValueError, AttributeError, KeyError) as error:  # nbformat leaks all three
        raise ValueError(
            f"{path} is not a readable notebook ({error}): restore it with `git checkout {path}`"
        ) from error


def notebook_title(path: str | Path) -> str:
    """Return the text of the notebook's first heading, or its file name without one."""
    for cell in read_notebook(path).cells:
        if cell.cell_type == "markdown":
            for line in cell.source.splitlines():
                if line.startswith("# "):
                    return line[2:].strip().replace("|", "\\|")
    return Path(path).stem
