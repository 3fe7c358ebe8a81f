"""One logistic regression with its coefficients, and every feature's correlation with errors.

This is the table that studies of reasoning graphs print, with what it needs to be honest: standard
errors that know that solutions of one problem are not independent (Liang & Zeger 1986), p-values
corrected for their number (Holm 1979), length and log-probability beside the graph's features, and
columns that repeat others left out by name. It describes the traces it is fitted on and predicts
nothing: for that see `evaluation`. A coefficient is no cause.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import stats

from rg_helpers.error_prediction.graph_columns import Columns
from rg_helpers.statistics import cluster_numbers, cluster_weights, holm

BESIDE = ("length", "mean_log_probability")
GRAPH_FEATURES = (
    "answer_depth",
    "dead_end_share",
    "unused_premise_share",
    "row_entropy_mean",
    "strongest_source_mean",
    "look_back_relative",
    "mass_on_premises",
    "mass_on_question",
    "flow_premise_entropy",
    "flow_step_min",
)
LEAST_CLUSTERS = 30
LARGEST = 10.0  # log-odds a standard deviation; beyond it a coefficient runs off to infinity
REPEATS = 0.95  # share of a column's variance that the columns before it may explain


def coefficient_table(
    columns: Columns, wrong: np.ndarray, problem_ids: Sequence[str]
) -> dict[str, Any]:
    """Fit wrong ~ standardised columns by maximum likelihood; return rows and what to know of it.

    Rows hold `name`, `coefficient` (log-odds a standard deviation) with `low`, `high` at 95 %,
    `odds_ratio`, `standard_error` and `z` (clustered by problem), `p` and `p_holm`. `left_out`
    names columns that are constant or that those before them explain to 95 % or more; the order of
    `columns` decides which one stays. `separating` names columns without a finite coefficient, for
    example one whose large values occur in one class alone (Albert & Anderson 1984); they are left
    out too, one by one. Raises `ValueError` for too few problems or errors, or where
    the classes are separated perfectly.
    """
    wrong, clusters = np.asarray(wrong, bool), cluster_numbers(problem_ids)
    kept, left_out = _independent(columns)
    count = int(clusters.max()) + 1
    rarer = int(min(wrong.sum(), (~wrong).sum()))
    if count < LEAST_CLUSTERS or rarer < 2 * len(kept):
        raise ValueError(
            f"{count} problems and {rarer} traces of the rarer class for {len(kept)} coefficients: "
            f"expected at least {LEAST_CLUSTERS} problems and two such traces a coefficient; give "
            "more traces, or fewer columns"
        )
    fitted, separating = _fitted(columns.values, kept, wrong, clusters), []
    while np.isnan(fitted.bse).any() or np.abs(fitted.params[1:]).max(initial=0) > LARGEST:
        separating.append(kept.pop(int(np.abs(fitted.params[1:]).argmax())))
        fitted = _fitted(columns.values, kept, wrong, clusters)
    intervals = fitted.conf_int()
    names = ["intercept", *(columns.names[index] for index in kept)]
    corrected = [None, *holm(fitted.pvalues[1:])]
    rows = [
        {
            "name": name,
            "coefficient": float(fitted.params[i]),
            "low": float(intervals[i][0]),
            "high": float(intervals[i][1]),
            "odds_ratio": float(np.exp(fitted.params[i])),
            "standard_error": float(fitted.bse[i]),
            "z": float(fitted.tvalues[i]),
            "p": float(fitted.pvalues[i]),
            "p_holm": corrected[i],
        }
        for i, name in enumerate(names)
    ]
    return {
        "rows": rows,
        "left_out": left_out,
        "separating": [columns.names[index] for index in separating],
        "traces": len(wrong),
        "problems": count,
        "errors": int(wrong.sum()),
        "pseudo_r2": float(1 - fitted.deviance / fitted.null_deviance),
        "standard_errors": "clustered by problem",
    }


def correlation_table(
    columns: Columns,
    wrong: np.ndarray,
    problem_ids: Sequence[str],
    draws: int = 2000,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Return each column's rank correlation with being wrong, the strongest first.

    `value` is Pearson's correlation of the column's ranks with the label, with an interval from the
    bootstrap over problems; `within` is the same with every problem's mean taken out of both, so
    that difficulty cannot help. `p` comes from the bootstrap's standard error, `p_holm` is
    corrected for the number of columns; constant columns are left out.
    """
    wrong, clusters = np.asarray(wrong, np.float64), cluster_numbers(problem_ids)
    varying = np.flatnonzero(np.ptp(columns.values, axis=0) > 0)
    ranks = stats.rankdata(columns.values[:, varying], axis=0)
    weights = cluster_weights(int(clusters.max()) + 1, draws, seed).astype(np.float64)
    values, drawn = _correlations(ranks, wrong, clusters, weights)
    inner, _ = _correlations(
        _demeaned(ranks, clusters), _demeaned(wrong[:, None], clusters)[:, 0], clusters, weights[:2]
    )
    error = np.nanstd(drawn, axis=0)
    p = 2 * stats.norm.sf(np.abs(values) / np.where(error > 0, error, np.inf))
    low, high = np.nanquantile(drawn, [0.025, 0.975], axis=0)
    rows = [
        {
            "name": columns.names[column],
            "value": float(values[i]),
            "low": float(low[i]),
            "high": float(high[i]),
            "within": float(inner[i]) if np.isfinite(inner[i]) else None,
            "p": float(p[i]),
            "p_holm": adjusted,
        }
        for (i, column), adjusted in zip(enumerate(varying), holm(p), strict=True)
    ]
    return sorted(rows, key=lambda row: -abs(row["value"]))


def _fitted(values: np.ndarray, kept: list[int], wrong: np.ndarray, clusters: np.ndarray) -> Any:
    """Fit the kept columns; standard errors are clustered."""
    try:
        import statsmodels.api as sm
        from statsmodels.tools.sm_exceptions import PerfectSeparationWarning
    except ImportError as error:
        raise ValueError("coefficients need statsmodels: pip install rg_helpers[prediction]") from (
            error
        )

    design = sm.add_constant(_standardised(values[:, kept]), has_constant="add")
    with warnings.catch_warnings():
        warnings.simplefilter("error", PerfectSeparationWarning)
        warnings.simplefilter("ignore", RuntimeWarning)
        try:
            return sm.GLM(wrong.astype(float), design, family=sm.families.Binomial()).fit(
                cov_type="cluster", cov_kwds={"groups": clusters}
            )
        except PerfectSeparationWarning as error:
            raise ValueError(
                "some columns tell right and wrong apart perfectly, so that coefficients have no "
                "finite value: is a label among the columns? Leave it out, or give more traces"
            ) from error


def _independent(columns: Columns) -> tuple[list[int], list[str]]:
    """Return the columns to keep, in order, and the names of those that repeat them."""
    values = _standardised(columns.values)
    kept: list[int] = []
    left_out = []
    for index, name in enumerate(columns.names):
        column = values[:, index]
        rest = column
        if kept:
            before = values[:, kept]
            rest = column - before @ np.linalg.lstsq(before, column, rcond=None)[0]
        if (rest**2).mean() < 1 - REPEATS:
            left_out.append(name)
        else:
            kept.append(index)
    if not kept:
        raise ValueError("every column is constant: there is nothing to fit")
    return kept, left_out


def _standardised(values: np.ndarray) -> np.ndarray:
    spread = values.std(axis=0)
    return (values - values.mean(axis=0)) / np.where(spread > 1e-12, spread, 1)


def _demeaned(values: np.ndarray, clusters: np.ndarray) -> np.ndarray:
    counts = np.bincount(clusters)[:, None]
    sums = np.zeros((len(counts), values.shape[1]))
    np.add.at(sums, clusters, values)
    return values - (sums / counts)[clusters]


def _correlations(
    values: np.ndarray, wrong: np.ndarray, clusters: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return Pearson correlations (columns,) and their bootstrap draws (draws, columns).

    All moments are sums over problems, so a draw is a product with its weights.
    """
    count = weights.shape[1]
    values = values - values.mean(axis=0)  # keeps the moments small

    def sums(rows: np.ndarray) -> np.ndarray:
        found = np.zeros((count, rows.shape[1]))
        np.add.at(found, clusters, rows)
        return found

    y = wrong[:, None]
    parts = [sums(values), sums(values**2), sums(values * y), sums(y), sums(y**2)]
    size = np.bincount(clusters, minlength=count).astype(np.float64)[:, None]

    def correlation(drawn: np.ndarray) -> np.ndarray:
        n = drawn @ size
        x, xx, xy, ys, yy = (drawn @ part / n for part in parts)
        spread = np.maximum(xx - x**2, 0) * np.maximum(yy - ys**2, 0)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(spread > 1e-12, (xy - x * ys) / np.sqrt(spread), np.nan)

    return correlation(np.ones((1, count)))[0], correlation(weights)
