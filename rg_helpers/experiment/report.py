"""The answer of a sweep: accuracies, paired comparisons, data ratios, errors, graphs, costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas

from rg_helpers.error_prediction.metrics import reliability
from rg_helpers.experiment.arms import kind_of, title_of
from rg_helpers.experiment.crossed import MARGIN, crossed_mean, crossed_share
from rg_helpers.experiment.outcomes import ERRORS, graph_table, outcome_array, outcome_table
from rg_helpers.experiment.plan import Plan, Recipe
from rg_helpers.experiment.sample_efficiency import data_ratio
from rg_helpers.experiment.sweep import Sweep
from rg_helpers.statistics import holm

AGAINST = ("base", "ce", "ce_equal_time", "alignment_shuffled", "entropy_only")
REFERENCE = "ce_equal_time"
HARDEST = "hardest"
GRAPH_MEASURES = ("attention", "attention_mean", "gold_share", "intervention", "agreement")

Row = dict[str, Any]


def experiment_report(
    sweep: Sweep, plan: Plan, recipe: Recipe, origin: Mapping[str, Any]
) -> tuple[Row, pandas.DataFrame]:
    """Return the report as plain values for JSON, and the table of all outcomes.

    rows: one for each family, arm, size and cell. comparisons: paired differences in solved
    problems, with p-values adjusted (Holm) over all arms of one kind and all families of one
    question, that is of one rival, size and cell. data_ratios: see `data_ratio`. graphs: how true
    the graphs are, and how much truer than the reference's. tuning, timing, chosen: how the
    settings came about.
    """
    table = outcome_table(sweep.records)
    cubes = _Cubes(table, plan.seeds)
    report: Row = {
        "what": "fine-tuning on harder problems with and without graph terms: greedy solutions "
        "judged step by step",
        "rows": _accuracy_rows(cubes),
        "comparisons": comparisons(cubes),
        "data_ratios": _data_ratios(cubes, plan),
        "graphs": _graph_rows(graph_table(sweep.records), plan.seeds),
        "arms": {n: {"title": title_of(n), "kind": kind_of(n)} for n in cubes.names("arm")},
        "cells": [asdict(cell) for cell in recipe.cells()],
        "tuning": sweep.tuning,
        "timing": sweep.timing,
        "chosen": sweep.chosen,
        "plan": plan.as_dict(),
        "recipe": asdict(recipe),
        "margin": MARGIN,
        "cost": _costs(sweep.records),
        "provenance": dict(origin),
    }
    return report, table


class _Cubes:
    """Outcomes by (family trained on, arm, size, cell), each an array (seeds, problems)."""

    def __init__(self, table: pandas.DataFrame, seeds: int) -> None:
        self.seeds = seeds
        keys = ["trained", "arm", "size", "cell"]
        groups = table.groupby(keys, observed=True, sort=False)
        self.parts = {(*names, int(n), cell): part for (*names, n, cell), part in groups}
        self._read: dict[tuple, np.ndarray] = {}

    def names(self, which: str) -> list[str]:
        """Return the families ("trained"), arms, sizes or cells in order of appearance."""
        place = ("trained", "arm", "size", "cell").index(which)
        return list(dict.fromkeys(key[place] for key in self.parts))

    def get(self, trained: str, arm: str, size: int, cell: str) -> np.ndarray | None:
        """Return solved problems; of what trains nothing the same array serves at every size."""
        key = next(
            (k for k in ((trained, arm, size, cell), (trained, arm, 0, cell)) if k in self.parts),
            None,
        )
        if key is None:
            return None
        if key not in self._read:
            self._read[key] = outcome_array(self.parts[key], "solved", self.seeds)
        return self._read[key]


def comparisons(cubes: _Cubes) -> list[Row]:
    """Return the paired difference in solved problems of every arm to every rival."""
    rows = []
    sizes = [size for size in cubes.names("size") if size]
    for against in AGAINST:
        for size in sizes or [0]:
            for cell in cubes.names("cell"):
                rows += _one_question(cubes, against, size, cell)
    return rows


def _one_question(cubes: _Cubes, against: str, size: int, cell: str) -> list[Row]:
    rows = []
    for trained in cubes.names("trained"):
        rival = cubes.get(trained, against, size, cell)
        for arm in cubes.names("arm"):
            own = cubes.get(trained, arm, size, cell)
            if rival is None or own is None or arm == against or own.shape != rival.shape:
                continue
            rows.append(
                {"family": trained, "arm": arm, "against": against, "size": size, "cell": cell,
                 **crossed_mean(own - rival).as_dict()}
            )  # fmt: skip
    for kind in {kind_of(row["arm"]) for row in rows}:
        asked = [row for row in rows if kind_of(row["arm"]) == kind]
        for row, p in zip(asked, holm([row["p"] for row in asked]), strict=True):
            row["p_holm"] = p
    return rows


def _accuracy_rows(cubes: _Cubes) -> list[Row]:
    rows = []
    for (trained, arm, size, cell), part in cubes.parts.items():
        solved = cubes.get(trained, arm, size, cell)
        confidence = np.exp(part["log_probability"].to_numpy(np.float64))
        right = part["solved"].to_numpy(bool)
        wrong = int(part[list(ERRORS)].to_numpy().sum())
        steps = int(part["steps"].sum())
        rows.append(
            {
                "family": trained,
                "arm": arm,
                "size": size,
                "cell": cell,
                "solved": crossed_share(solved).as_dict(),
                "answer_right": float(part["answer_right"].mean()),
                "truncated": float(part["truncated"].mean()),
                "length": float(part["tokens"].sum() / part["gold_tokens"].sum()),
                "wrong_steps": wrong / max(1, steps),
                "step_errors": {name: int(part[name].sum()) for name in ERRORS if part[name].sum()},
                "first_errors": {
                    str(name): int(count)
                    for name, count in part["first_error"].value_counts().items()
                    if count
                },
                "brier": float(((confidence - right) ** 2).mean()),
                "calibration_error": calibration_error(confidence, right),
                "confidence": float(confidence.mean()),
                "solutions": len(part),
            }
        )
    return rows


def calibration_error(confidence: np.ndarray, right: np.ndarray) -> float:
    """Return the expected calibration error over ten bins of equally many solutions.

    confidence: (solutions,) probability of the whole solution; right: (solutions,) bool. The mean
    over bins of |mean confidence - share right|, weighted by size (Guo et al. 2017, arXiv
    1706.04599).
    """
    rows = reliability(1 - confidence, ~right)
    total = sum(row["n"] for row in rows)
    return sum(row["n"] * abs(row["predicted"] - row["observed"]) for row in rows) / total


def _data_ratios(cubes: _Cubes, plan: Plan) -> list[Row]:
    rows = []
    sizes = sorted(plan.sizes)
    for trained in cubes.names("trained"):
        reference = {n: cubes.get(trained, REFERENCE, n, HARDEST) for n in sizes}
        for arm in plan.ladder_arms:
            mine = {n: cubes.get(trained, arm, n, HARDEST) for n in sizes}
            whole = all(part is not None for part in (*reference.values(), *mine.values()))
            if len(sizes) < 2 or not whole:
                continue
            found = data_ratio(mine, reference, plan.draws)
            rows.append({"family": trained, "arm": arm, "against": REFERENCE, **found})
    return rows


def _graph_rows(table: pandas.DataFrame, seeds: int) -> list[Row]:
    if not len(table):
        return []
    table = table.assign(family=table["trained"])
    found: dict[tuple, np.ndarray] = {}
    for (trained, arm, size), part in table.groupby(["trained", "arm", "size"]):
        for measure in GRAPH_MEASURES:
            known = part[part[measure].notna()]
            if known["problem"].nunique() > 1:
                found[trained, arm, size, measure] = outcome_array(known, measure, seeds)
    rows = []
    for (trained, arm, size, measure), values in found.items():
        row = {"family": trained, "arm": arm, "size": int(size), "measure": measure}
        rival = found.get((trained, REFERENCE, size, measure))
        if rival is None:
            rival = found.get((trained, "ce", size, measure))
        row |= {"value": crossed_mean(values).as_dict()}
        if rival is not None and rival is not values and rival.shape == values.shape:
            row["gain"] = crossed_mean(values - rival).as_dict()
        rows.append(row)
    gains = [row for row in rows if "gain" in row]
    for measure in GRAPH_MEASURES:
        asked = [row for row in gains if row["measure"] == measure]
        for row, p in zip(asked, holm([r["gain"]["p"] for r in asked]) if asked else []):
            row["gain"]["p_holm"] = p
    return rows


def _costs(records: Sequence[Mapping[str, Any]]) -> Row:
    """Return how long units took, and what training alone took, by arm."""
    trained: dict[str, list[float]] = {}
    for record in records:
        if record["training"]:
            trained.setdefault(record["unit"]["arm"], []).append(record["training"]["seconds"])
    return {
        "units": len(records),
        "unit_seconds": float(np.median([record["seconds"] for record in records])),
        "unit_cpu_seconds": float(np.median([record["cpu_seconds"] for record in records])),
        "training_seconds": {arm: float(np.median(found)) for arm, found in trained.items()},
    }
