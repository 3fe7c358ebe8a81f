"""The whole sweep in phases: fit, tune on validation problems, time the steps, measure.

Every phase is a list of units, each kept on disk: a killed sweep goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rg_helpers.artefacts import read_json
from rg_helpers.experiment.arms import (
    ARMS,
    COMBINED,
    FACTORS,
    LEARNING_RATES,
    STRENGTHS,
    timed_arms,
)
from rg_helpers.experiment.plan import TUNING_SEED, Plan, Recipe
from rg_helpers.experiment.timing import equal_time_steps
from rg_helpers.experiment.unit import Unit
from rg_helpers.experiment.workers import (
    Opening,
    fit_predictor,
    in_processes,
    timed_steps,
    unit_record,
)

Strengths = dict[str, float]


@dataclass(frozen=True)
class Given:
    """Choices made by hand instead of on validation problems: for pilots, and said in the result.

    strengths: by the name of the arm.
    """

    learning_rate: float | None = None
    strengths: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        tuned = [name for name, arm in ARMS.items() if arm.tuned == "strength"]
        unknown = sorted(set(self.strengths) - set(tuned))
        if unknown:
            raise ValueError(f"no strength of {', '.join(unknown)}: there are {', '.join(tuned)}")


@dataclass(frozen=True)
class Sweep:
    """What a sweep found: records of all measured units, tuning and timing rows, chosen settings.

    chosen: by family "learning_rate", "equal_time_steps" and the strengths of every arm.
    """

    records: list[dict[str, Any]]
    tuning: list[dict[str, Any]]
    timing: list[dict[str, Any]]
    chosen: dict[str, dict[str, Any]]


def sweep(
    opening: Opening,
    plan: Plan,
    given: Given | None = None,
    jobs: int = 1,
    progress: bool = True,
    run_all: Callable[..., list[Any]] = in_processes,
) -> Sweep:
    """Run what is missing of a plan and return all of it; see `Sweep`.

    run_all: what runs a phase's items, with the arguments of `in_processes`, such as
        `on_nodes.units_on_nodes(Needs())`.
    """
    given = given or Given()
    recipe = opening.recipe
    trained = [name for name in plan.arms if ARMS[name].trains]

    def run(units: Sequence[Unit], title: str) -> list[dict[str, Any]]:
        return run_all(unit_record, opening, units, jobs, title, progress)

    if any(ARMS[name].predicts for name in plan.arms):
        run_all(fit_predictor, opening, plan.families, jobs, "error predictors", progress)
    tuning: list[dict[str, Any]] = []
    chosen: dict[str, dict[str, Any]] = {
        family: {"learning_rate": given.learning_rate or LEARNING_RATES[1], "strengths": {}}
        for family in plan.families
    }
    if trained:
        tuning += run(_rate_units(plan, recipe, given), "learning rates")
        for family in plan.families:
            best = _best(tuning, family, "ce")
            if best is not None:
                chosen[family]["learning_rate"] = best["unit"]["learning_rate"]
        tuning += run(_strength_units(plan, recipe, chosen, given), "strengths of terms")
        for family in plan.families:
            for name in _tuned_arms(plan):
                term = ARMS[name].terms[0]
                best = _best(tuning, family, name)
                untried = given.strengths.get(name, STRENGTHS[term][1])
                value = untried if best is None else _strengths(best)[term]
                chosen[family]["strengths"][name] = {term: value}
        if "combination" in plan.arms:
            tuning += run(_combined_units(plan, recipe, chosen, tuning), "combinations")
            for family in plan.families:
                best = _best(tuning, family, "combination")
                chosen[family]["strengths"]["combination"] = _strengths(best)
    timing: list[dict[str, Any]] = []
    if "ce_equal_time" in plan.arms:
        for family in plan.families:
            mine = chosen[family]
            arms = {name: mine["strengths"][name] for name in timed_arms(plan.arms)}
            item = (family, arms, plan.main_size, mine["learning_rate"])
            # One item a call: nothing else of this sweep runs while steps are timed.
            (rows,) = run_all(timed_steps, opening, [item], 1, f"times, {family}", progress)
            mine["equal_time_steps"] = equal_time_steps(recipe.steps, rows)
            timing += rows
    units = measured_units(plan, recipe, chosen)
    # What starts from the model of another unit comes when that one is there.
    first = [unit for unit in units if not ARMS[unit.arm].reranks]
    records = run(first, "units") + run([u for u in units if u not in first], "reranking")
    return Sweep(records, [_tuning_row(record) for record in tuning], timing, chosen)


def measured_units(
    plan: Plan, recipe: Recipe, chosen: Mapping[str, Mapping[str, Any]]
) -> list[Unit]:
    """Return the units of a plan under the settings that were chosen, seed by seed."""
    units = []
    for name, size, seed in plan.measured():
        for family in plan.families:
            mine = chosen[family]
            steps = mine["equal_time_steps"] if name == "ce_equal_time" else recipe.steps
            strengths = tuple(sorted(mine["strengths"].get(name, {}).items()))
            rate = mine["learning_rate"] if ARMS[name].trains else 0.0
            steps = steps if ARMS[name].trains else 0
            units.append(Unit(family, name, size, seed, rate, strengths, steps))
    return units


def unit_counts(plan: Plan, given: Given | None = None) -> dict[str, int]:
    """Return how many units a plan has: those that tune, and those that are measured."""
    given = given or Given()
    recipe = Recipe()
    chosen = {family: {"learning_rate": LEARNING_RATES[1]} for family in plan.families}
    tuned = len(_strength_units(plan, recipe, chosen, given))
    if any(ARMS[name].trains for name in plan.arms):
        tuned += len(_rate_units(plan, recipe, given))
    if "combination" in plan.arms:
        tuned += plan.tries * len(plan.families)
    return {"tuning": tuned, "test": len(plan.measured()) * len(plan.families)}


def unit_seconds(folder: Path) -> dict[str, dict[str, float]]:
    """Return, by purpose, median seconds and CPU seconds of the units kept below a folder."""
    found: dict[str, list[tuple[float, float]]] = {}
    for path in sorted(Path(folder).glob("*/t*-n*-s*.json")):
        record = read_json(path)
        if "cpu_seconds" in record:
            seconds = record["seconds"], record["cpu_seconds"]
            found.setdefault(record["unit"]["purpose"], []).append(seconds)
    return {
        purpose: {
            "units": len(values),
            "seconds": float(np.median([wall for wall, _ in values])),
            "cpu_seconds": float(np.median([cpu for _, cpu in values])),
        }
        for purpose, values in found.items()
    }


def _tuned_arms(plan: Plan) -> list[str]:
    """Return the arms whose strength is tuned: those of the plan, and what a combination needs."""
    names = [name for name in plan.arms if ARMS[name].tuned == "strength"]
    if "combination" in plan.arms:
        names += [name for name in COMBINED if name not in names]
    return names


def _tries(values: Sequence[float], count: int) -> Sequence[float]:
    """Return so many of three values: the middle one alone, the lower two, or all."""
    return values[1:2] if count == 1 else values[:count]


def _tuning_unit(
    plan: Plan, recipe: Recipe, family: str, name: str, rate: float, strengths: Strengths
) -> Unit:
    fields = tuple(sorted(strengths.items()))
    return Unit(family, name, plan.main_size, TUNING_SEED, rate, fields, recipe.steps, "tuning")


def _rate_units(plan: Plan, recipe: Recipe, given: Given) -> list[Unit]:
    if given.learning_rate is not None or plan.tries == 1:
        return []
    return [
        _tuning_unit(plan, recipe, family, "ce", rate, {})
        for family in plan.families
        for rate in _tries(LEARNING_RATES, plan.tries)
    ]


def _strength_units(
    plan: Plan, recipe: Recipe, chosen: Mapping[str, Mapping[str, Any]], given: Given
) -> list[Unit]:
    units = []
    for family in plan.families:
        for name in _tuned_arms(plan):
            term = ARMS[name].terms[0]
            values = _tries(STRENGTHS[term], plan.tries)
            if name in given.strengths:
                values = (given.strengths[name],)
            # A single value needs no try, unless a combination asks how good its terms are.
            if len(values) == 1 and not ("combination" in plan.arms and name in COMBINED):
                continue
            rate = chosen[family]["learning_rate"]
            units += [
                _tuning_unit(plan, recipe, family, name, rate, {term: value}) for value in values
            ]
    return units


def _combined_units(
    plan: Plan,
    recipe: Recipe,
    chosen: Mapping[str, Mapping[str, Any]],
    tuning: Sequence[Mapping[str, Any]],
) -> list[Unit]:
    """Return the tries of the combination: the two best single terms, weaker and stronger."""
    units = []
    for family in plan.families:
        ranked = sorted(COMBINED, key=lambda name: _score(_best(tuning, family, name)))[-2:]
        strengths: Strengths = {}
        for name in ranked:
            strengths |= chosen[family]["strengths"][name]
        rate = chosen[family]["learning_rate"]
        units += [
            _tuning_unit(
                plan, recipe, family, "combination", rate,
                {term: factor * value for term, value in strengths.items()},
            )
            for factor in _tries(FACTORS, plan.tries)
        ]  # fmt: skip
    return units


def _best(tuning: Sequence[Mapping[str, Any]], family: str, name: str) -> Mapping[str, Any] | None:
    """Return the best of an arm's tries: most problems solved, then the lower cross-entropy."""
    mine = [
        record
        for record in tuning
        if record["unit"]["family"] == family and record["unit"]["arm"] == name
    ]
    return max(mine, key=_score) if mine else None


def _score(record: Mapping[str, Any]) -> tuple[float, float]:
    return record["validation"]["solved"], -record["validation"]["ce"]


def _strengths(record: Mapping[str, Any]) -> Strengths:
    return dict(record["unit"]["strengths"])


def _tuning_row(record: Mapping[str, Any]) -> dict[str, Any]:
    unit = record["unit"]
    return {
        "family": unit["family"],
        "arm": unit["arm"],
        "learning_rate": unit["learning_rate"],
        "strengths": _strengths(record),
        **{key: record["validation"][key] for key in ("solved", "ce")},
    }
