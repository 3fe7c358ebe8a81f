"""Print the ledger of claims, check it against its sources, or refresh the README from it.

Every figure that the README or a notebook quotes as a result stands in
data/results/claims.json, written by the code that measured it.
"""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `rgh claims`."""
    parser.add_argument("ids", nargs="*", metavar="ID", help="only claims whose id starts so")
    parser.add_argument(
        "--check", action="store_true", help="read every claim again from its source file"
    )
    parser.add_argument(
        "--readme", action="store_true", help="rewrite the generated blocks of README.md"
    )


def run(arguments: argparse.Namespace) -> int:
    """Run `rgh claims`; 1 when a check found a claim that its source does not support."""
    raise RuntimeError("the ledger is not written yet")
