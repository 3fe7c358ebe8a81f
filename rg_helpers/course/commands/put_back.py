"""Put executed notebooks back into notebooks/, fit to be committed, with minutes and memory.

Takes finished, up-to-date runs from runs/<profile>/ and strips what belongs to one execution
or one machine; outputs and figures stay.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from rg_helpers.course.folders import notebooks_folder, repository
from rg_helpers.course.put_back import put_back


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `rgh put-back`."""
    parser.add_argument("names", nargs="*", metavar="NAME", help="notebook or its number (all)")
    parser.add_argument("--profile", default="cpu", help="the profile they ran in (cpu)")
    parser.add_argument("--output", type=Path, help="folder of the runs (runs/)")


def run(arguments: argparse.Namespace) -> int:
    """Run `rgh put-back`."""
    runs = arguments.output or repository() / "runs"
    changed = put_back(notebooks_folder(), arguments.names, arguments.profile, runs)
    for path in changed:
        print(f"rewritten: {path.relative_to(repository())}")
    print(f"{len(changed)} notebooks changed")
    return 0
