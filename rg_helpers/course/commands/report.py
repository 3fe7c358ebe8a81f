"""Write the gallery of all executed notebooks, claims, terms and works, to be read offline."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rg_helpers.course.folders import repository
from rg_helpers.course.gallery.links import broken_links
from rg_helpers.course.report import write_report


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `rgh report`."""
    parser.add_argument("--output", type=Path, help="folder of the runs (runs/)")
    parser.add_argument(
        "--committed", action="store_true", help="show the notebooks as committed, not their runs"
    )


def run(arguments: argparse.Namespace) -> int:
    """Run `rgh report`; fails if a link of the site leads nowhere."""
    index = write_report(arguments.output or repository() / "runs", arguments.committed)
    print(f"report: {index}")
    faults = broken_links(index.parent)
    for fault in faults:
        print(f"rgh report: {fault}", file=sys.stderr)
    return 1 if faults else 0
