"""Fitting an error predictor on a scored file, and applying one that was fitted elsewhere."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas

from rg_helpers.artefacts import atomic_path
from rg_helpers.error_prediction.graph_columns import Columns
from rg_helpers.error_prediction.labels import Target
from rg_helpers.scoring.columns import chunk_columns
from rg_helpers.scoring.draw import Scored
from rg_helpers.scoring.predictor import ErrorPredictor, fit_predictor, measured_risks

PREDICTIONS = "predictions.parquet"


@dataclass(frozen=True, eq=False)
class Predictions:
    """Risks of a file: `table` has a row a solution, in the file's order; `auroc` where labels of
    problems that the predictor has not seen allow it; `notes` what to know before trusting them."""

    table: pandas.DataFrame
    auroc: dict[str, float] | None
    judged: int
    notes: tuple[str, ...]


def predictor_of(
    scored: Scored, model: str, target: Target = "wrong_answer", seed: int = 0
) -> ErrorPredictor:
    """Fit a predictor on the labelled solutions of a scored file; `model` names the reader.

    Solutions that were fitted on, or that break off, are left out. Raises `ValueError` where labels
    are missing or of one class.
    """
    parts: list[Columns] = []
    wrong: list[bool] = []
    ids: list[str] = []
    fitted = scored.fitted_on
    for chunk in scored.chunks():
        labels = [solution.labels.target(target) for solution in chunk.solutions]
        chosen = [
            row
            for row, (solution, label) in enumerate(zip(chunk.solutions, labels, strict=True))
            if label is not None and solution.trace.problem_id not in fitted
        ]
        if chosen:
            parts.append(chunk_columns(chunk.where(chosen)))
            wrong += [bool(labels[row]) for row in chosen]
            ids += [chunk.solutions[row].trace.problem_id for row in chosen]
    if not parts:
        raise ValueError(
            f"no solution has a label {target}: a predictor is fitted on a column such as "
            "`correct`; add it, or leave --save-predictor out"
        )
    columns = Columns(np.vstack([part.values for part in parts]), parts[0].names)
    making = {
        "target": target,
        "methods": scored.methods,
        "steps": scored.solutions.steps,
        "model": model,
        "model_hash": scored.model_key,
    }
    return fit_predictor(columns, np.array(wrong), ids, making, scored.fit, seed)


def apply_predictor(scored: Scored, predictor: ErrorPredictor, seed: int = 0) -> Predictions:
    """Return the risk of every solution, and write it to `predictions.parquet`.

    Raises `ValueError` if columns are missing that the predictor was fitted on.
    """
    rows = []
    for chunk in scored.chunks():
        risks = predictor.risks(chunk_columns(chunk))
        for solution, risk in zip(chunk.solutions, risks, strict=True):
            label = solution.labels.target(predictor.making.target)
            trace = solution.trace
            rows.append((solution.line, trace.trace_id, trace.problem_id, float(risk), label))
    names = ["line", "trace_id", "problem_id", "risk", predictor.making.target]
    table = pandas.DataFrame(rows, columns=names).astype({names[-1]: "boolean"})
    with atomic_path(scored.folder / PREDICTIONS) as temporary:
        table.to_parquet(temporary, index=False)
    seen = table["problem_id"].isin(predictor.making.problem_ids)
    judged = table[~seen & table[names[-1]].notna()]
    auroc = measured_risks(
        judged["risk"].to_numpy(),
        judged[names[-1]].to_numpy(bool),
        judged["problem_id"].tolist(),
        seed,
    )
    return Predictions(table, auroc, len(judged), tuple(_notes(scored, predictor, int(seen.sum()))))


def _notes(scored: Scored, predictor: ErrorPredictor, seen: int) -> list[str]:
    making, notes = predictor.making, []
    if making.model_hash != scored.model_key:
        notes.append(
            f"the predictor was fitted on what {making.model} reads, and this is another model or "
            "another precision: its risks may be off"
        )
    if making.steps != scored.solutions.steps:
        notes.append(
            f"the predictor was fitted on steps cut by {making.steps!r}, these are cut by "
            f"{scored.solutions.steps!r}: its risks may be off"
        )
    if seen:
        notes.append(f"{seen} solutions belong to problems that the predictor was fitted on")
    return notes
