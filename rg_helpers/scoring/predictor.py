"""An error predictor that travels: fitted on one file, saved without pickle, applied to another.

It is the course's logistic regression on standardised columns (`error_prediction.predictors`) as
plain numbers: JSON for the names and how it was made, safetensors for the weights, and beside them
the traces that graph methods were fitted on, so that elsewhere the same heads are chosen and the
same clusters found. Risk is the probability of an error: higher is riskier.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from rg_helpers.artefacts import atomic_path, read_json, write_json
from rg_helpers.error_prediction.entrants import WIDE
from rg_helpers.error_prediction.fit_traces import FitTraces
from rg_helpers.error_prediction.graph_columns import Columns
from rg_helpers.error_prediction.labels import Target
from rg_helpers.error_prediction.predictors import logistic
from rg_helpers.error_prediction.protocol import FOLDS, cross_validated_scores
from rg_helpers.graphs.methods import FitData
from rg_helpers.graphs.step_graph import load_graphs, save_graphs
from rg_helpers.statistics import bootstrap_auroc, cluster_numbers, cluster_weights
from rg_helpers.traces import read_traces, write_traces

RECORD, WEIGHTS = "predictor.json", "predictor.safetensors"
FIT_TRACES, FIT_GRAPHS = "fit.jsonl", "fit_graphs"
ARRAYS = ("median", "mean", "scale", "weights", "intercept")
DRAWS = 2000


@dataclass(frozen=True)
class Making:
    """How a predictor was made; `auroc` is out of fold, with its interval, None if not measured.

    `problem_ids` are those it was fitted on: on them it is not judged.
    """

    target: Target
    methods: tuple[str, ...]
    steps: str
    model: str
    model_hash: str
    solutions: int
    errors: int
    problem_ids: tuple[str, ...]
    auroc: Mapping[str, float] | None = None


@dataclass(frozen=True, eq=False)
class ErrorPredictor:
    """Logistic regression on named columns; float64 (columns,) each, and one intercept.

    A missing value counts as `median`. `fit` is what graph methods were fitted on, None if nothing.
    """

    names: tuple[str, ...]
    median: np.ndarray
    mean: np.ndarray
    scale: np.ndarray
    weights: np.ndarray
    intercept: np.ndarray
    making: Making
    fit: FitTraces | None = None

    def risks(self, columns: Columns) -> np.ndarray:
        """Return the probability of an error: float64 (solutions,).

        Raises `ValueError` for columns it was fitted on and that are not there.
        """
        missing = [name for name in self.names if name not in columns.names]
        if missing:
            raise ValueError(
                f"the predictor reads {len(missing)} columns that are not there, such as "
                f"{missing[0]!r}: score with the model it was fitted with "
                f"({self.making.model}) and its methods ({', '.join(self.making.methods)})"
            )
        values = columns.named(self.names)
        values = np.where(np.isnan(values), self.median, values)
        odds = (values - self.mean) / self.scale @ self.weights + self.intercept
        return 1 / (1 + np.exp(-np.clip(odds, -700, 700)))


def fit_predictor(
    columns: Columns,
    wrong: np.ndarray,
    problem_ids: Sequence[str],
    making: Mapping[str, Any],
    fit: FitTraces | None = None,
    seed: int = 0,
) -> ErrorPredictor:
    """Fit a predictor on all solutions given, and measure its AUROC out of fold, by problem.

    `making` holds what `Making` says of target, methods, steps and model. Raises `ValueError` for
    solutions of one class.
    """
    wrong, ids = np.asarray(wrong, bool), np.array(problem_ids, str)
    if wrong.all() or not wrong.any():
        raise ValueError(
            f"{wrong.sum()} of {len(wrong)} labelled solutions are wrong: a predictor needs both "
            "right and wrong ones"
        )
    pipeline = logistic(WIDE).fit(columns.values, wrong)
    imputer, scaler, regression = (step for _, step in pipeline.steps)
    return ErrorPredictor(
        columns.names,
        imputer.statistics_.astype(np.float64),
        scaler.mean_.astype(np.float64),
        scaler.scale_.astype(np.float64),
        regression.coef_[0].astype(np.float64),
        regression.intercept_.astype(np.float64),
        Making(
            solutions=len(wrong),
            errors=int(wrong.sum()),
            problem_ids=tuple(sorted(set(ids.tolist()))),
            auroc=_out_of_fold(columns, wrong, ids, seed),
            **making,
        ),
        fit,
    )


def save_predictor(folder: str | Path, predictor: ErrorPredictor) -> Path:
    """Write a predictor's files, the record last: without it the folder holds none."""
    folder = Path(folder)
    (folder / RECORD).unlink(missing_ok=True)
    tensors = {name: np.ascontiguousarray(getattr(predictor, name)) for name in ARRAYS}
    with atomic_path(folder / WEIGHTS) as temporary:
        temporary.write_bytes(save_tensors(tensors))
    fit = predictor.fit
    if fit is not None:
        write_traces(folder / FIT_TRACES, fit.data.traces)
        save_graphs(folder / FIT_GRAPHS, fit.data.gold)
    record = {
        "what": "logistic regression on standardised columns; risk of an error",
        "columns": list(predictor.names),
        "making": asdict(predictor.making),
        "fit": None if fit is None else {"gold": fit.gold, "origin": fit.origin},
    }
    return write_json(folder / RECORD, record)


def load_predictor(folder: str | Path) -> ErrorPredictor:
    """Read what `save_predictor` wrote; every fault names the folder and the cure."""
    folder = Path(folder)
    if not (folder / RECORD).is_file():
        raise FileNotFoundError(
            f"{folder} holds no error predictor ({RECORD}): write one with `rgh score "
            "LABELLED.jsonl --model MODEL --out OUT --save-predictor FOLDER`"
        )
    record = read_json(folder / RECORD)
    try:
        arrays = load_tensors((folder / WEIGHTS).read_bytes())
        making = record["making"]
        fit = None
        if record["fit"] is not None:
            traces, bad = read_traces(folder / FIT_TRACES)
            if bad:
                raise ValueError(str(bad[0]))
            data = FitData(tuple(traces), tuple(load_graphs(folder / FIT_GRAPHS)))
            fit = FitTraces(data, record["fit"]["gold"], record["fit"]["origin"])
        lists = {name: tuple(making[name]) for name in ("methods", "problem_ids")}
        found = ErrorPredictor(
            tuple(record["columns"]),
            *(arrays[name] for name in ARRAYS),
            making=Making(**{**making, **lists}),
            fit=fit,
        )
        if any(getattr(found, name).shape != (len(found.names),) for name in ARRAYS[:-1]):
            raise ValueError("weights and columns differ in number")
    except (OSError, KeyError, TypeError, ValueError, SafetensorError, json.JSONDecodeError) as e:
        raise ValueError(f"{folder} holds a damaged error predictor ({e}): save it again") from e
    return found


def measured_risks(
    risks: np.ndarray, wrong: np.ndarray, problem_ids: Sequence[str], seed: int = 0
) -> dict[str, float] | None:
    """Return the AUROC of risks with its interval over problems; None for a single class."""
    wrong = np.asarray(wrong, bool)
    if not len(wrong) or wrong.all() or not wrong.any():
        return None
    problems = cluster_numbers(problem_ids)
    weights = cluster_weights(int(problems.max()) + 1, DRAWS, seed)
    return bootstrap_auroc(risks, wrong, problems, weights).interval().as_dict()


def _out_of_fold(
    columns: Columns, wrong: np.ndarray, ids: np.ndarray, seed: int
) -> dict[str, float] | None:
    try:
        scores = cross_validated_scores(
            logistic(WIDE), columns.values, wrong, ids, folds=FOLDS, seed=seed
        ).scores
    except ValueError:  # too few problems for the folds
        return None
    return measured_risks(scores, wrong, ids.tolist(), seed)
