"""Read and tidy notebook files without running them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import nbformat

MEASURED = re.compile(r"\s*<!-- measured -->.*?<!-- /measured -->", re.DOTALL)


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


def find_notebooks(folder: Path, names: Iterable[str] = ()) -> list[Path]:
    """Return the notebooks of `folder` that `names` choose, all of them without names, sorted.

    A name is a whole file name with or without .ipynb, or a beginning that only one notebook
    has ("03"). Raises `ValueError` for a name that chooses none or several.
    """
    notebooks = sorted(folder.glob("*.ipynb"))
    if not notebooks:
        raise FileNotFoundError(f"there are no notebooks in {folder}")
    chosen = set()
    for name in names:
        wanted = Path(name).name.removesuffix(".ipynb")
        found = [path for path in notebooks if path.stem == wanted]
        found = found or [path for path in notebooks if path.stem.startswith(wanted)]
        if len(found) != 1:
            among = ", ".join(path.stem for path in found or notebooks)
            count = "several notebooks start" if found else "no notebook starts"
            raise ValueError(f"{count} with {name!r}: choose among {among}")
        chosen.update(found)
    return sorted(chosen) if chosen else notebooks


def source_text(notebook: nbformat.NotebookNode) -> str:
    """Return what decides a run: types, tags and sources of the cells, and no output.

    The generated line with minutes and memory is left out, so that writing it does not make
    the run it was measured in look out of date.
    """
    return repr(
        [
            (cell.cell_type, sorted(cell.metadata.get("tags", [])), MEASURED.sub("", cell.source))
            for cell in notebook.cells
        ]
    )


def is_widget_view(output: nbformat.NotebookNode) -> bool:
    """Say whether an output is a widget with no picture or page to show in its stead."""
    kinds = set(output.get("data", {}))
    return any("widget-view" in kind for kind in kinds) and all(
        "widget-view" in kind or kind == "text/plain" for kind in kinds
    )
