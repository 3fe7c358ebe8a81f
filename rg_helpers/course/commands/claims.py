"""Print the ledger of claims, check it against its sources, or refresh the README from it.

Every figure that the README or a notebook quotes as a result stands in
data/results/claims.json, written by the code that measured it.
"""

from __future__ import annotations

import argparse

from rg_helpers.course.claim_forms import check_ids
from rg_helpers.course.claims import Claim, check_claims, ledger_path, read_claims


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `rgh claims`."""
    parser.add_argument("ids", nargs="*", metavar="ID", help="only claims whose id starts so")
    parser.add_argument(
        "--check",
        action="store_true",
        help="read every claim again from its source file, list unknown and missing ones; "
        "exit code 1 if any",
    )
    parser.add_argument(
        "--readme", action="store_true", help="rewrite the generated blocks of README.md"
    )


def run(arguments: argparse.Namespace) -> int:
    """Run `rgh claims`; 1 when the check found a claim that does not hold or is missing."""
    ledger = read_claims()
    wanted = tuple(arguments.ids)
    claims = [claim for id, claim in ledger.items() if not wanted or id.startswith(wanted)]
    if wanted and not claims:
        raise ValueError(
            f"no claim in {ledger_path()} starts with {' or '.join(wanted)}: run `rgh claims` "
            "to see all"
        )
    if arguments.readme:
        from rg_helpers.course.readme import update_readme

        print("README.md rewritten" if update_readme() else "README.md is up to date")
    if arguments.check:
        return _check(claims, everything=not wanted)
    if not arguments.readme:
        _print_table(claims)
    return 0


def _check(claims: list[Claim], everything: bool) -> int:
    problems = check_claims(claims)
    if everything:
        problems += check_ids(claims)
    for problem in problems:
        print(f"{problem.id}: {problem.problem}\n    cure: {problem.cure}")
    print(f"{len(claims)} claims checked, {len(problems)} problems")
    return 1 if problems else 0


def _print_table(claims: list[Claim]) -> None:
    if not claims:
        print(f"no claims yet in {ledger_path()}")
        return
    rows = [("id", "value", "95 % interval", "n", "target", "profile", "date", "statement")]
    for claim in claims:
        interval = f"{claim.low:.4g} to {claim.high:.4g}" if claim.low is not None else ""
        met = {None: "", True: "met", False: "MISSED"}[claim.target_met()]
        rows.append(
            (
                claim.id,
                f"{claim.value:.4g}",
                interval,
                f"{claim.n} {claim.unit}" if claim.n else claim.unit,
                f"{claim.target} {met}" if claim.target else "",
                claim.profile or "",
                claim.date,
                claim.statement,
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())
