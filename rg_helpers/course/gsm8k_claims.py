"""The claims that results on GSM8K support: each is read out of its result file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rg_helpers.course.claims import Claim, claim_from_result
from rg_helpers.datasets.model_solutions import FAMILY
from rg_helpers.datasets.real_edges import MEANINGS
from rg_helpers.datasets.solution_report import INCREMENT

EVERY = "every_baseline_graphs"  # the increment of `rgh predict` that is claimed
LEAST_CONSISTENT = ">= 0.97"


def annotation_claims(found: Mapping[str, Any], path: Path) -> Iterator[Claim]:
    """Yield the claims about annotations."""
    for name, words in (
        ("lines_parsed", "annotated lines of GSM8K's training solutions that are parsed"),
        ("operands_resolved", "operands of these lines whose source is found"),
        ("lines_consistent", "annotated lines that give a consistent graph"),
    ):
        bar = LEAST_CONSISTENT if name == "lines_consistent" else None
        unit = "operands" if name.startswith("operands") else "lines"
        id, words = f"gsm8k.annotations.{name}", f"Share of {words}"
        yield claim_from_result(id, words, path, f"/{name}", unit, bar)


def reader_claims(found: Mapping[str, Any], path: Path) -> Iterator[Claim]:
    """Yield the claims about the reader."""
    yield claim_from_result(
        "gsm8k.reader.perplexity",
        "Perplexity of the reader on reference solutions of GSM8K's test problems",
        path,
        "/losses/name=test_references/perplexity",
        "problems",
    )
    for name, words in (
        ("accuracy", "that the reader solves greedily"),
        ("most_common_answer", "solved by the most common answer of the training problems"),
    ):
        yield claim_from_result(
            f"gsm8k.reader.{name}",
            f"Share of GSM8K's test problems {words}",
            path,
            f"/solving/{name}",
            "problems",
        )


def edge_claims(found: Mapping[str, Any], path: Path) -> Iterator[Claim]:
    """Yield the claims about edges on real text."""
    for row in found["rows"]:
        name = row["name"]
        for metric in (metric for metric in MEANINGS if row[metric] is not None):
            yield claim_from_result(
                f"gsm8k.edges.{name}.{metric}",
                f"{name.replace('_', ' ')} on GSM8K: {MEANINGS[metric]}",
                path,
                f"/rows/name={name}/{metric}",
                "problems",
            )


def report_claims(found: Mapping[str, Any], path: Path) -> Iterator[Claim]:
    """Yield the claims about predicting wrong answers of real models' solutions."""
    within = {"auroc": "AUROC", "within_problem_auc": "Within-problem AUC"}
    family = found["families"][FAMILY]
    for row in family.get("rows", ()):
        for metric, words in within.items():
            if row["kind"] in ("baseline", "graph") and row[metric] is not None:
                yield claim_from_result(
                    f"gsm8k.predict.{row['name']}.{metric}",
                    f"{words} for wrong answers of real models on GSM8K: {row['title']}",
                    path,
                    f"/families/{FAMILY}/rows/name={row['name']}/{metric}",
                    "problems",
                )
    writers = found["writers"] or {"rows": (), "increments": {}}
    for row in writers["rows"]:
        if row["kind"] in ("baseline", "graph"):
            yield claim_from_result(
                f"gsm8k.predict.{row['name']}.within_writer_auc",
                f"AUC among solutions of one writer on GSM8K: {row['title']}",
                path,
                f"/writers/rows/name={row['name']}/within_writer_auc",
                "problems",
            )
    gains = {
        EVERY: (f"/families/{FAMILY}/increments", family.get("increments", {})),
        INCREMENT: ("/writers/increments", writers["increments"]),
    }
    for name, (place, rows) in gains.items():
        if name in rows:
            yield claim_from_result(
                f"gsm8k.increment.{name}.delta_auroc",
                f"AUROC gained on GSM8K by all graphs over {rows[name]['over'].replace('_', ' ')}",
                path,
                f"{place}/{name}",
                "problems",
            )
