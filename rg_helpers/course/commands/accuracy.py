"""Measure how often a model solves the course's problems, by family and difficulty.

Writes data/results/base_accuracy.json and the claims base.accuracy.* when the model is the
course model and --record is given; prints the table in any case. With --choose it says, on
validation problems, where each family's test range should end (kept as HARDEST in accuracy.py).
"""

from __future__ import annotations

import argparse
from dataclasses import asdict

from transformers import PreTrainedModel, PreTrainedTokenizerFast

from rg_helpers.accuracy import (
    CANDIDATES,
    EASY_OPERATIONS,
    HARDEST,
    Difficulty,
    choose_hardest,
    measure_accuracy,
    pool_rows,
)
from rg_helpers.artefacts import provenance, write_json
from rg_helpers.course.claims import claim_from_result, write_claims
from rg_helpers.course.folders import results_folder
from rg_helpers.language_model import COURSE, load_model
from rg_helpers.problems import FAMILIES

RESULT = "base_accuracy.json"
CHOICE = "hardest_choice.json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `rgh accuracy`."""
    parser.add_argument("--model", default=COURSE, help="course, a folder or a hub id")
    parser.add_argument("--problems", type=int, default=500, help="problems a cell")
    parser.add_argument("--split", default="test", choices=("validation", "test"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--choose",
        action="store_true",
        help="measure the candidates for the hardest size on validation problems and choose",
    )
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
    if arguments.record and arguments.choose:
        raise ValueError("--choose measures validation problems, --record test problems: give one")
    model, tokenizer = load_model(arguments.model, device=arguments.device)
    if arguments.choose:
        _choose(model, tokenizer, arguments)
        return 0
    rows = measure_accuracy(
        model, tokenizer, problems=arguments.problems, split=arguments.split, seed=arguments.seed
    )
    _print(rows)
    if arguments.record:
        _record(rows, arguments)
    return 0


def _choose(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, arguments: argparse.Namespace
) -> None:
    """Measure the candidates on validation problems, print the choice, keep it beside results."""
    chosen, kept = {}, []
    for family in FAMILIES:
        rows = measure_accuracy(
            model,
            tokenizer,
            (family,),
            CANDIDATES,
            arguments.problems,
            split="validation",
            seed=arguments.seed,
        )
        _print(rows)
        chosen[family] = choose_hardest(rows)
        kept += rows
        print(f"{family}: the test range ends at {chosen[family]}")
    if arguments.model == COURSE:
        command = f"rgh accuracy --choose --problems {arguments.problems} --seed {arguments.seed}"
        path = write_json(
            results_folder() / CHOICE,
            {
                "what": "validation problems solved at the candidates for each hardest size",
                "chosen": {family: asdict(size) for family, size in chosen.items()},
                "rows": kept,
                "provenance": provenance(command, arguments.seed, "cpu"),
            },
        )
        print(f"written to {path}")


def _print(rows: list[dict]) -> None:
    for row in rows:
        solved, joins = row["solved"], row["joins"]
        print(
            f"{row['family']:<11} {row['operations']} operations, {row['distractors']} distractors"
            f", {'any' if joins is None else joins} joins: solved {solved['value']:.3f} "
            f"[{solved['low']:.3f}, {solved['high']:.3f}], answer right "
            f"{row['answer_right']['value']:.3f}, first errors {row['first_errors']}"
        )


def _record(rows: list[dict], arguments: argparse.Namespace) -> None:
    easy = tuple(map(Difficulty, EASY_OPERATIONS))
    pooled = {
        family: {
            "easy": pool_rows(rows, family, easy),
            "hard": pool_rows(rows, family, (HARDEST[family],)),
        }
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
    claims = []
    for family in FAMILIES:
        said = {
            "easy": f"{EASY_OPERATIONS[0]} and {EASY_OPERATIONS[1]} operations",
            "hard": str(HARDEST[family]),
        }
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
