"""Write one HTML index of all executed notebooks and claims, to be read without a network."""

from __future__ import annotations

import argparse
from pathlib import Path

from rg_helpers.course.folders import repository
from rg_helpers.course.report import write_report


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `rgh report`."""
    parser.add_argument("--output", type=Path, help="folder of the runs (runs/)")


def run(arguments: argparse.Namespace) -> int:
    """Run `rgh report`."""
    print(f"report: {write_report(arguments.output or repository() / 'runs')}")
    return 0
