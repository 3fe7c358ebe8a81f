"""The default report: does a graph tell that a solution is wrong, beyond what is known without it?

One function, any traces: per family of problems every baseline, every graph family, graph networks,
increments and controls on the same folds and draws; then transfer, the first wrong step, the kind
of error, coefficients and correlations. Everything comes back as plain values.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rg_helpers.artefacts import provenance
from rg_helpers.error_prediction.coefficient_table import (
    BESIDE,
    GRAPH_FEATURES,
    coefficient_table,
    correlation_table,
)
from rg_helpers.error_prediction.diagnosis import error_types, first_wrong_steps
from rg_helpers.error_prediction.entrants import (
    default_entrants,
    title,
)
from rg_helpers.error_prediction.evaluation import (
    MARGIN,
    Entrant,
    Evaluated,
    evaluate,
    increments,
    matched_by,
    shuffled_within_problems,
)
from rg_helpers.error_prediction.fit_traces import FitTraces
from rg_helpers.error_prediction.graph_columns import Columns
from rg_helpers.error_prediction.inputs import METHODS, Inputs, prediction_inputs
from rg_helpers.error_prediction.labels import Target
from rg_helpers.error_prediction.metrics import reliability
from rg_helpers.error_prediction.protocol import FOLDS
from rg_helpers.error_prediction.trace_set import TraceSet
from rg_helpers.error_prediction.transfer import difficulty_groups, transfer_matrix
from rg_helpers.error_prediction.uses import uses
from rg_helpers.statistics import DRAWS

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

METRICS = ("auroc", "aupr", "within_problem_auc", "balanced_accuracy", "fpr95", "brier")
LEAST_EACH = 10  # problems with an error, and without one, below which nothing is measured


@dataclass(frozen=True)
class Settings:
    """How the report is measured; everything that changes a figure stands here."""

    target: Target = "wrong_answer"
    methods: tuple[str, ...] = METHODS
    graph_networks: tuple[str, ...] = ("gcn", "gin", "gatv2")
    epochs: int = 20
    folds: int = FOLDS
    draws: int = DRAWS
    side_draws: int = 2000  # of transfer, location, error types and correlations
    fit_problems: int = 40
    margin: float = MARGIN
    seed: int = 0


def predict_report(
    trace_set: TraceSet,
    model: PreTrainedModel | None = None,
    tokenizer: PreTrainedTokenizerFast | None = None,
    settings: Settings | None = None,
    *,
    fit: FitTraces | None = None,
    folder: str | Path | None = None,
    command: str = "predict_report",
    profile: str | None = None,
    progress: bool = True,
    jobs: int = 1,
) -> dict[str, Any]:
    """Return the report on traces; the target (`settings.target`) is named in it.

    Without a `model` only text, form and self-consistency are measured. What the model computes is
    kept below `folder`. `fit` is as in `prediction_inputs`; `jobs` processes share the fits. Raises
    `ValueError` if no trace can be read or none has a label.
    """
    settings = settings or Settings()
    started = time.perf_counter()
    inputs = prediction_inputs(
        trace_set,
        model,
        tokenizer,
        settings.methods,
        fit=fit,
        folder=folder,
        fit_problems=settings.fit_problems,
        seed=settings.seed,
        progress=progress,
    )
    known = np.array([la.target(settings.target) is not None for la in inputs.traces.labels])
    if not known.any():
        raise ValueError(
            f"no trace has a label {settings.target}: add a column to the file (`correct` for "
            "wrong_answer, `first_wrong_step` or `flawed` for flawed), or choose the other target"
        )
    inputs = inputs.where(known)
    return report_of_inputs(
        inputs,
        settings,
        {"given": len(trace_set), "status": trace_set.status_counts},
        time.perf_counter() - started,
        command=command,
        profile=profile,
        progress=progress,
        jobs=jobs,
    )


def report_of_inputs(
    inputs: Inputs,
    settings: Settings,
    given: Mapping[str, Any],
    inputs_seconds: float,
    *,
    command: str,
    profile: str | None = None,
    progress: bool = True,
    jobs: int = 1,
) -> dict[str, Any]:
    """Return the report on inputs of which all have a label.

    `given` says what is known of the traces as they were given, and stands in the report beside the
    number scored; `inputs_seconds` is what the inputs took.
    """
    started = time.perf_counter()
    families = family_reports(inputs, settings, progress, jobs)
    transfer = _transfer(inputs, _moving(inputs, settings), settings, jobs)
    fits_seconds = time.perf_counter() - started
    return {
        "what": "prediction of errors from reasoning graphs, beside what is known without them",
        "target": settings.target,
        "provenance": provenance(command, settings.seed, profile),
        "settings": asdict(settings),
        "traces": {
            **given,
            "scored": len(inputs),
            "problems": len(set(inputs.traces.problem_ids.tolist())),
        },
        "graphs": {
            "fitted_on": inputs.fit_origin,
            "choice": {name: block.choice for name, block in inputs.blocks.items()},
            "skipped": dict(inputs.skipped),
        },
        "families": families,
        "transfer": transfer,
        "cost": {
            "inputs_seconds": inputs_seconds,
            "fits_seconds": fits_seconds,
            "minutes_per_1000_traces": (inputs_seconds + fits_seconds) / 60 * 1000 / len(inputs),
            "jobs": jobs,
        },
    }


def family_reports(
    inputs: Inputs, settings: Settings, progress: bool = True, jobs: int = 1
) -> dict[str, dict[str, Any]]:
    """Return `family_report` of every family of problems, in the order of their first trace."""
    families = inputs.traces.families
    return {
        family: family_report(inputs.where(families == family), settings, progress, jobs)
        for family in dict.fromkeys(families.tolist())
    }


def family_report(
    inputs: Inputs, settings: Settings, progress: bool = True, jobs: int = 1
) -> dict[str, Any]:
    """Return the report of one family; where too little is there, the reason under `skipped`."""
    traces = inputs.traces
    wrong, ids = traces.target(settings.target), traces.problem_ids
    found: dict[str, Any] = {
        "traces": len(traces),
        "problems": len(set(ids.tolist())),
        "errors": int(wrong.sum()),
        "base_rate": float(wrong.mean()),
        "mixed_problems": traces.mixed_problems(settings.target),
    }
    each = [len(set(ids[wrong == side].tolist())) for side in (True, False)]
    if min(each) < max(LEAST_EACH, settings.folds):
        reason = f"{each[0]} problems have a wrong solution and {each[1]} a right one: too few"
        return found | {"skipped": reason}
    entrants = default_entrants(
        inputs, graph_networks=settings.graph_networks, epochs=settings.epochs, seed=settings.seed
    )
    how = {"folds": settings.folds, "seed": settings.seed, "progress": progress, "jobs": jobs}
    measured = evaluate(entrants, wrong, ids, draws=settings.draws, **how)
    # Increments and comparisons with rewired graphs are corrected apart: two families of tests.
    gains, over_rewired = (
        increments(
            {n: one for n, one in measured.items() if (one.entrant.kind == "control") == control},
            settings.margin,
        )
        for control in (False, True)
    )
    rows = [_row(one) for one in measured.values()]
    chosen = _chosen(entrants, inputs)
    found |= {
        "rows": rows,
        "increments": gains,
        "over_rewired": over_rewired,
        "reliability": {one.name: reliability(measured[one.name].scores, wrong) for one in chosen},
        **uses(measured, wrong, ids, settings.side_draws, settings.seed),
    }
    how |= {"draws": settings.side_draws, "progress": False}
    dealt = shuffled_within_problems(wrong, ids, settings.seed)
    found["shuffled_labels"] = _or_reason(
        lambda: [_row(one) for one in evaluate(chosen, dealt, ids, **how).values()]
    )
    found["length_matched"] = _or_reason(lambda: _matched(inputs, chosen, wrong, how))
    table, correlated = _described(inputs)
    found["coefficients"] = _or_reason(lambda: coefficient_table(table, wrong, ids))
    found["correlations"] = correlation_table(
        correlated, wrong, ids, settings.side_draws, settings.seed
    )
    more = {key: how[key] for key in ("folds", "draws", "seed", "jobs")}
    found["first_wrong_step"] = _or_reason(lambda: first_wrong_steps(inputs, **more))
    found["error_types"] = _or_reason(lambda: error_types(inputs, **more))
    return found


def flat_rows(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return every figure of the report with an interval as one row, for a table file."""
    rows: list[dict[str, Any]] = []

    def add(
        family: str, part: str, name: str, metric: str, found: Mapping[str, Any] | None
    ) -> None:
        if found is not None and "value" in found:
            figures = {key: found.get(key) for key in ("value", "low", "high", "n")}
            rows.append({"family": family, "part": part, "name": name, "metric": metric, **figures})

    for family, found in report["families"].items():
        for part in ("rows", "shuffled_labels", "length_matched"):
            for row in found.get(part) or () if not isinstance(found.get(part), Mapping) else ():
                for metric in METRICS:
                    add(family, part, row["name"], metric, row[metric])
        for part in ("increments", "over_rewired"):
            for name, gain in found.get(part, {}).items():
                add(family, part, name, "delta_auroc", gain)
                add(family, part, name, "delta_within_problem_auc", gain["within_problem"])
        located = found.get("first_wrong_step", {})
        for row in located.get("rows", ()):
            for metric in ("f1", "wrong_located", "right_passed"):
                add(family, "first_wrong_step", row["name"], metric, row[metric])
    for part, matrix in report["transfer"].items():
        for row in matrix if isinstance(matrix, list) else ():
            add(row["train"], f"transfer_{part}", row["name"], f"auroc on {row['test']}", row)
    return rows


def _row(one: Evaluated) -> dict[str, Any]:
    picked = {name: count for name, count in Counter(one.chosen).items() if name}
    return {
        "name": one.entrant.name,
        "title": title(one.entrant.name),
        "kind": one.entrant.kind,
        **one.quality.as_dict(),
        "chosen_in_folds": picked or None,
    }


def _chosen(entrants: Sequence[Entrant], inputs: Inputs) -> list[Entrant]:
    """Return the few entrants that controls, transfer and reliability show."""
    wanted = ["length", "all_baselines", "probe", "lexical"]
    wanted += [f"{name}_logistic" for name in inputs.blocks] + ["graphs_logistic"]
    known = {entrant.name: entrant for entrant in entrants}
    return [known[name] for name in wanted if name in known]


def _moving(inputs: Inputs, settings: Settings) -> list[Entrant]:
    entrants = default_entrants(inputs, graph_networks=(), seed=settings.seed)
    return [e for e in _chosen(entrants, inputs) if e.name != "length"]


def _transfer(
    inputs: Inputs, entrants: Sequence[Entrant], settings: Settings, jobs: int
) -> dict[str, Any]:
    traces = inputs.traces
    wrong, ids = traces.target(settings.target), traces.problem_ids
    groups = {"families": traces.families}
    operations = traces.difficulty
    for family in dict.fromkeys(traces.families.tolist()):
        mine = traces.families == family
        if np.isfinite(operations[mine]).any():
            groups[f"difficulty_{family}"] = np.where(
                mine, difficulty_groups(np.where(mine, operations, np.nan)), ""
            )
    found: dict[str, Any] = {}
    for name, named in groups.items():
        mine = np.flatnonzero(named != "")
        if len(set(named[mine].tolist())) < 2:
            found[name] = {"skipped": "there is only one group"}
            continue
        found[name] = transfer_matrix(
            [_of(entrant, mine) for entrant in entrants],
            wrong[mine],
            ids[mine].tolist(),
            named[mine].tolist(),
            folds=settings.folds,
            draws=settings.side_draws,
            seed=settings.seed,
            jobs=jobs,
        )
    return found


def _of(entrant: Entrant, rows: np.ndarray) -> Entrant:
    """Return an entrant on some of the traces."""

    def picked(values: Any) -> Any:
        if isinstance(values, Mapping):
            return {name: picked(one) for name, one in values.items()}
        return values[rows] if isinstance(values, np.ndarray) else [values[row] for row in rows]

    return Entrant(entrant.name, entrant.kind, picked(entrant.features), entrant.predictor)


def _matched(
    inputs: Inputs, entrants: Sequence[Entrant], wrong: np.ndarray, how: Mapping[str, Any]
) -> list[dict[str, Any]]:
    steps = inputs.numbers.named(["steps"])[:, 0]
    rows = matched_by(steps, wrong, how["seed"])
    ids = inputs.traces.problem_ids[rows]
    found = evaluate([_of(e, rows) for e in entrants], wrong[rows], ids, **how)
    return [_row(one) | {"traces": len(rows)} for one in found.values()]


def _described(inputs: Inputs) -> tuple[Columns, Columns]:
    """Return the columns of the coefficient table and those of the correlations.

    Both hold the first method's graph features beside the baselines.
    """
    wiring = next(iter(inputs.columns.values()))["wiring"]
    beside = [name for name in BESIDE if name in inputs.numbers.names]
    both = Columns(
        np.hstack([inputs.numbers.values, wiring.values]), (*inputs.numbers.names, *wiring.names)
    )
    named = (*beside, *(name for name in GRAPH_FEATURES if name in wiring.names))
    return Columns(both.named(named), named), both


def _or_reason(measure: Callable[[], Any]) -> Any:
    """Return what can be measured, or why it cannot."""
    try:
        return measure()
    except ValueError as error:
        return {"skipped": str(error)}
