"""Write the cell that lets a notebook fetch the course on Colab, and print the buttons.

The address of the repository is the one in pyproject.toml ([project.urls], Repository).
"""

from __future__ import annotations

import argparse

import nbformat

from rg_helpers.artefacts import write_text
from rg_helpers.course.folders import notebooks_folder, repository
from rg_helpers.course.hosted import badges, repository_url, with_set_up
from rg_helpers.course.notebook_files import find_notebooks, read_notebook


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `rgh launch`."""
    parser.add_argument("names", nargs="*", help="notebooks such as 03 (all)")
    parser.add_argument("--write", action="store_true", help="write the cell into the notebooks")


def run(arguments: argparse.Namespace) -> int:
    """Run `rgh launch`; without --write nothing is changed."""
    url = repository_url()
    for path in find_notebooks(notebooks_folder(), arguments.names):
        print(f"{path.stem}\n{badges(url, path.relative_to(repository()).as_posix())}\n")
        if arguments.write:
            write_text(path, nbformat.writes(with_set_up(read_notebook(path), url)) + "\n")
    return 0
