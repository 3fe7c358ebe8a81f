"""Print the buttons that open the course on Colab and Binder; write them where people start.

The address of the repository is the one in pyproject.toml ([project.urls], Repository). With
--write the README gets its buttons, and the learner's notebooks theirs with the cell that fetches
the course on a machine that lacks it. A notebook that somebody has worked in is left as it is and
named (exit code 1); the others are written.
"""

from __future__ import annotations

import argparse

from rg_helpers.course.commands.exercises import write_editions
from rg_helpers.course.exercise_notebooks import FOLDER, editions
from rg_helpers.course.folders import notebooks_folder
from rg_helpers.course.hosted import CURE, badges, repository_url
from rg_helpers.course.readme import update_readme


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `rgh launch`."""
    parser.add_argument("names", nargs="*", help="notebooks such as 03 (all)")
    parser.add_argument("--write", action="store_true", help="write buttons and cells")


def run(arguments: argparse.Namespace) -> int:
    """Run `rgh launch`; without --write nothing is changed; 1 if a notebook was left as it is."""
    url = repository_url()
    if url is None:
        raise ValueError(f"Repository under [project.urls] in pyproject.toml is not set: {CURE}")
    output = notebooks_folder() / FOLDER
    found = editions(notebooks_folder(), output, tuple(arguments.names))
    for edition in found:
        name = edition.path.stem
        print(f"{name}\n{badges(url, f'notebooks/{FOLDER}/{name}.ipynb')}\n")
    if not arguments.write:
        return 0
    update_readme()
    return write_editions(found, output)
