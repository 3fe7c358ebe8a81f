"""Measure how often a model solves the course's problems, by family and difficulty.

Writes data/results/base_accuracy.json and the claims base.accuracy.* when the model is the
course model and --record is given; prints the table in any case.
"""

from __future__ import annotations

import argparse

from rg_helpers.accuracy import EASY_OPERATIONS, TEST_OPERATIONS, measure_accuracy, pool_rows
from rg_helpers.artefacts import provenance, write_json
from rg_helpers.course.claims import claim_from_result, write_claims
from rg_helpers.course.folders import results_folder
from rg_helpers.language_model import COURSE, load_model

RESULT = "base_accuracy.json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `rgh accuracy`."""
    parser.add_argument("--model", default=COURSE, help="course, a folder or a hub id")
    parser.add_argument("--problems", type=int, default=500, help="problems a cell")
    parser.add_argument("--split", default="test", choices=("validation", "test"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--record", action="store_true", help="write the table and the claims of the course model"
    )


def run(arguments: argparse.Namespace) -> int:
    """Run `rgh accuracy`."""
    if arguments.record and (arguments.model != COURSE or arguments.split != "test"):
        raise ValueError(
            "--record keeps the course model's accuracy on test problems: leave out --model and "
            "--split, or leave out --record"
        )
    model, tokenizer = load_model(arguments.model, device=arguments.device)
    rows = measure_accuracy(
        model, tokenizer, problems=arguments.problems, split=arguments.split, seed=arguments.seed
    )
    for row in rows:
        solved = row["solved"]
        print(
            f"{row['family']:<11} {row['operations']} operations: solved {solved['value']:.3f} "
            f"[{solved['low']:.3f}, {solved['high']:.3f}], answer right "
            f"{row['answer_right']['value']:.3f}, first errors {row['first_errors']}"
        )
    if arguments.record:
        _record(rows, arguments)
    return 0


def _record(rows: list[dict], arguments: argparse.Namespace) -> None:
    pooled = {
        family: {
            "easy": pool_rows(rows, family, EASY_OPERATIONS),
            "hard": pool_rows(rows, family, hardest_operations(family)),
        }
        for family in TEST_OPERATIONS
    }
    command = f"rgh accuracy --record --problems {arguments.problems} --seed {arguments.seed}"
    source = write_json(
        results_folder() / RESULT,
        {
            "what": "greedy solutions of the course model, judged step by step by the checker",
            "rows": rows,
            "pooled": pooled,
            "provenance": provenance(command, arguments.seed, "cpu"),
        },
    )
    claims = []
    for family in pooled:
        for level, target in (("easy", ">= 0.9"), ("hard", "0.3 to 0.8")):
            numbers = EASY_OPERATIONS if level == "easy" else hardest_operations(family)
            named = " and ".join(map(str, numbers))
            claims.append(
                claim_from_result(
                    f"base.accuracy.{family}.{level}",
                    f"share of {family} test problems with {named} operations that the course "
                    "model solves greedily, every step right",
                    source,
                    f"/pooled/{family}/{level}",
                    "problems",
                    target,
                )
            )
    write_claims(claims)
    print(f"written to {source} and to the ledger")


def hardest_operations(family: str) -> tuple[int, ...]:
    """The hardest number of operations of a family's test range, as a tuple of one."""
    return TEST_OPERATIONS[family][-1:]
