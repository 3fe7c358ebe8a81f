"""Write the learner's notebooks, with stubs and folded answers, to notebooks/exercises/.

  rgh exercises                    write those that are missing or older than their source
  rgh exercises 03 --output mine   write one of them to a folder of your own
  rgh exercises --list             a table of all exercises
  rgh exercises --check            fail if a file is not what its source gives

The complete notebooks in notebooks/ are the source. A file that you have edited or executed is
never overwritten without --force; --beside writes the new version next to it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path

from rg_helpers.course.exercise_notebooks import (
    FOLDER,
    STARTED,
    Edition,
    drifted,
    editions,
    exercises_of,
    write_edition,
)
from rg_helpers.course.folders import notebooks_folder
from rg_helpers.course.notebook_files import find_notebooks


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("names", nargs="*", help="notebooks such as 03 (all)")
    parser.add_argument("--output", type=Path, help="folder to write to (notebooks/exercises)")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--check", action="store_true", help="write nothing, fail on differences")
    kind.add_argument("--list", action="store_true", help="print a table of all exercises")
    kind.add_argument("--beside", action="store_true", help="write NAME.new.ipynb beside your work")
    kind.add_argument("--force", action="store_true", help="overwrite files you have worked in")


def run(arguments: argparse.Namespace) -> int:
    """Write, list or check; 1 if files differ or could not be written."""
    folder = notebooks_folder()
    output = arguments.output or folder / FOLDER
    if arguments.list:
        print("\n".join(_table(find_notebooks(folder, arguments.names))))
        return 0
    if arguments.check:
        lines = drifted(folder, output, tuple(arguments.names))
        print("\n".join(lines or ["every learner's notebook is what its source gives"]))
        return 1 if lines else 0
    found = editions(folder, output, tuple(arguments.names))
    return write_editions(found, output, force=arguments.force, beside=arguments.beside)


def write_editions(
    found: Iterable[Edition], output: Path, force: bool = False, beside: bool = False
) -> int:
    """Write learner's notebooks and say which; 1 if one of them was left as somebody's work."""
    written, refused = 0, 0
    for edition in found:
        try:
            path = write_edition(edition, force=force, beside=beside)
        except ValueError as error:
            refused += 1
            print(error, file=sys.stderr)
            continue
        if path is not None:
            written += 1
            print(f"wrote {path.name}")
        elif edition.state == STARTED:
            print(f"kept {edition.path.name}: your work in the present version")
    print(f"{written} notebooks written to {output}")
    return 1 if refused else 0


def _table(notebooks: list[Path]) -> list[str]:
    """Return the lines of a table of the exercises, with their number and minutes at the end."""
    found = [exercise for path in notebooks for exercise in exercises_of(path)]
    width = max((len(exercise.title) for exercise in found), default=0)
    lines = [
        f"{exercise.notebook[:2]}.{exercise.number}  {exercise.title:{width}}  "
        f"{exercise.difficulty_dots}  {exercise.importance_stars}  {exercise.minutes:3} min"
        for exercise in found
    ]
    levels = ", ".join(
        f"{sum(exercise.difficulty == level for exercise in found)} {name}"
        for level, name in ((1, "a first look"), (2, "take thought"), (3, "research practice"))
    )
    minutes = sum(exercise.minutes for exercise in found)
    return [*lines, "", f"{len(found)} exercises, {minutes / 60:.1f} hours: {levels}"]
