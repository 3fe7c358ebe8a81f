"""Measure how often a model solves the course's problems, by family and difficulty.

Writes data/results/base_accuracy.json and the claims base.accuracy.* when the model is the
course model and --record is given; prints the table in any case.
"""

from __future__ import annotations

import argparse

from rg_helpers.accuracy import EASY_OPERATIONS, HARDEST, Difficulty, measure_accuracy, pool_rows
from rg_helpers.artefacts import provenance, write_json
from rg_helpers.course.claims import claim_from_result, write_claims
from rg_helpers.course.folders import results_folder
from rg_helpers.language_model import COURSE, load_model
from rg_helpers.problems import FAMILIES

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
        solved, joins = row["solved"], row["joins"]
        print(
            f"{row['family']:<11} {row['operations']} operations, {row['distractors']} distractors"
            f", {'any' if joins is None else joins} joins: solved {solved['value']:.3f} "
            f"[{solved['low']:.3f}, {solved['high']:.3f}], answer right "
            f"{row['answer_right']['value']:.3f}, first errors {row['first_errors']}"
        )
    if arguments.record:
        _record(rows, arguments)
    return 0


def _record(rows: list[dict], arguments: argparse.Namespace) -> None:
    levels = {"easy": tuple(map(Difficulty, EASY_OPERATIONS)), "hard": (HARDEST,)}
    pooled = {
        family: {level: pool_rows(rows, family, sizes) for level, sizes in levels.items()}
        for family in FAMILIES
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
    said = {
        "easy": f"{EASY_OPERATIONS[0]} and {EASY_OPERATIONS[1]} operations",
        "hard": f"{HARDEST.operations} operations, {HARDEST.joins} joins and "
        f"{HARDEST.distractors} distractors",
    }
    claims = []
    for family in FAMILIES:
        for level, target in (("easy", ">= 0.9"), ("hard", "0.3 to 0.8")):
            claims.append(
                claim_from_result(
                    f"base.accuracy.{family}.{level}",
                    f"share of {family} test problems with {said[level]} that the course "
                    "model solves greedily, every step right",
                    source,
                    f"/pooled/{family}/{level}",
                    "problems",
                    target,
                )
            )
    write_claims(claims)
    print(f"written to {source} and to the ledger")
