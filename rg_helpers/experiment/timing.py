"""What a step of each arm costs, and how many steps of plain cross-entropy that time buys.

Arms take turns in short blocks within one process, so that whatever else the machine does slows all
of them alike; medians of steps are compared.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rg_helpers.comparison.stages import load_rows, save_rows
from rg_helpers.experiment.arms import ARMS
from rg_helpers.experiment.fitted_predictor import family_predictor
from rg_helpers.experiment.place import Place
from rg_helpers.experiment.training_inputs import training_inputs
from rg_helpers.training import train_with_graphs

BLOCK = 6  # steps in a row, of which the first (allocation, probes) is not counted
ROUNDS = 3


def timing_rows(
    place: Place,
    family: str,
    arms: Mapping[str, Mapping[str, float]],
    size: int,
    learning_rate: float,
) -> list[dict[str, Any]]:
    """Return a row for plain cross-entropy and one for each arm: seconds a step, against CE.

    arms: strengths of the terms by the name of the arm. Kept, so that a resumed sweep gives the
    wall-time arm the same budget.
    """
    key = place.key(__name__, family=family, arms={n: dict(s) for n, s in arms.items()}, size=size)
    path = place.path(family, "timing", key)
    kept = load_rows(path, key)
    if kept is not None:
        return kept
    seconds: dict[str, list[float]] = {name: [] for name in ("ce", *arms)}
    for _ in range(ROUNDS):
        for name in seconds:
            seconds[name] += step_seconds(
                place, name, family, size, learning_rate, arms.get(name, {})
            )
    plain = float(np.median(seconds["ce"]))
    rows = [
        {
            "family": family,
            "arm": name,
            "seconds": float(np.median(found)),
            "against_ce": float(np.median(found)) / plain,
            "steps": len(found),
        }
        for name, found in seconds.items()
    ]
    save_rows(path, rows, key)
    return rows


def step_seconds(
    place: Place,
    name: str,
    family: str,
    size: int,
    learning_rate: float,
    strengths: Mapping[str, float],
) -> list[float]:
    """Return the wall time of the steps of one block, without the first, from the real trainer."""
    predictor = family_predictor(place, family) if "error_feedback" in strengths else None
    inputs = training_inputs(
        place, ARMS[name], family, size, 0, learning_rate, strengths, BLOCK, predictor
    )
    marks: list[float] = []

    def mark(model: Any, step: int) -> Mapping[str, Any]:
        marks.append(time.perf_counter())
        return {}

    train_with_graphs(
        place.model,
        place.tokenizer,
        inputs.data,
        inputs.terms,
        inputs.settings,
        evaluate=mark,
        look_every=1,
        progress=False,
    )
    return np.diff(marks[1 : BLOCK + 1]).tolist()


def equal_time_steps(steps: int, rows: Sequence[Mapping[str, Any]]) -> int:
    """Return the steps that plain cross-entropy does in the time of the slowest graph arm.

    steps: those of the graph arms; rows: `timing_rows`. Never fewer than `steps`: the reference
    must not be short of anything, so it gets the largest budget of all arms.
    """
    largest = max((row["against_ce"] for row in rows if row["arm"] != "ce"), default=1.0)
    return math.ceil(steps * max(1.0, largest))
