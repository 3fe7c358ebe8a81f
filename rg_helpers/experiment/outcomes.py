"""All outcomes of a sweep as one table: a row a solution, and as arrays (seeds, problems)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas

from rg_helpers.problems import VERDICTS

ERRORS = tuple(verdict.replace(" ", "_") for verdict in VERDICTS if verdict != "right")
WORDS = ("trained", "arm", "cell", "family", "problem", "first_error")


def outcome_table(records: Iterable[Mapping[str, Any]]) -> pandas.DataFrame:
    """Return one row a test solution of every record.

    trained: the family trained on; arm, size, seed: of the unit; then the columns of
    `evaluation.judged_row`, with one column of wrong steps for each verdict instead of `errors`.
    """
    rows = []
    for record in records:
        unit = record["unit"]
        for arm, judged in record["rows"].items():
            for row in judged:
                plain = {key: value for key, value in row.items() if key != "errors"}
                errors = {
                    verdict.replace(" ", "_"): count for verdict, count in row["errors"].items()
                }
                rows.append(
                    {"trained": unit["family"], "arm": arm, "size": unit["size"],
                     "seed": unit["seed"], **plain, **dict.fromkeys(ERRORS, 0), **errors}
                )  # fmt: skip
    table = pandas.DataFrame(rows)
    return table.astype(
        dict.fromkeys(WORDS, "category") | dict.fromkeys(ERRORS, "int16")
        | {"size": "int32", "seed": "int32", "steps": "int16", "tokens": "int16",
           "gold_tokens": "int16", "log_probability": "float32"}
    )  # fmt: skip


def graph_table(records: Iterable[Mapping[str, Any]]) -> pandas.DataFrame:
    """Return one row a gold solution whose graph was drawn: `evaluation.graph_rows`."""
    rows = [
        {"trained": record["unit"]["family"], "arm": record["unit"]["arm"],
         "size": record["unit"]["size"], "seed": record["unit"]["seed"], **row}
        for record in records
        for row in record["graphs"]
    ]  # fmt: skip
    return pandas.DataFrame(rows)


def outcome_array(table: pandas.DataFrame, column: str, seeds: int) -> np.ndarray:
    """Return a column of one arm, size and cell as float64 (seeds, problems).

    Problems come in the order of their names, so that arrays of two arms are paired. What has one
    seed only (no training) is repeated for every seed. Raises `ValueError` where a seed lacks a
    problem: the sweep is not complete then.
    """
    wide = table.pivot_table(
        index="seed", columns=["family", "problem"], values=column, observed=True, aggfunc="first"
    ) if column in table else None  # fmt: skip
    if wide is None or not len(wide) or wide.isna().to_numpy().any() or len(wide) not in (1, seeds):
        raise ValueError(
            f"the outcomes {column!r} of some seeds are missing: run the experiment to its end"
        )
    return np.repeat(wide.to_numpy(np.float64), seeds // len(wide), axis=0)
