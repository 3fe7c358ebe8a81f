"""Does a predictor work where it was not trained: on another family, on harder problems?

One row trains on all traces of one group and tests on all of another; on the diagonal the risks are
out-of-fold. Problems never stand on both sides. Nothing of the test group is fitted, not even a
scaler: a predictor that leans on what is usual in its own group falls here. What graphs are drawn
with (heads, clusters) was fitted beforehand on the fit traces of all families together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rg_helpers.error_prediction.evaluation import Entrant
from rg_helpers.error_prediction.protocol import (
    FOLDS,
    check_no_leak,
    cross_validated_scores,
    fit_and_score,
)
from rg_helpers.error_prediction.side_by_side import side_by_side
from rg_helpers.statistics import bootstrap_auroc, cluster_numbers, cluster_weights

BINS = 3


def transfer_matrix(
    entrants: Sequence[Entrant],
    wrong: np.ndarray,
    problem_ids: Sequence[str],
    groups: Sequence[str],
    *,
    folds: int = FOLDS,
    draws: int = 2000,
    seed: int = 0,
    jobs: int = 1,
) -> list[dict[str, Any]]:
    """Return rows with `name`, `train`, `test`, AUROC (value, low, high, n problems) and sizes.

    `groups` names each trace's group (family, difficulty). Where a group has fewer traces of a
    class than two a fold, the row says so under `skipped` instead of a value.
    """
    wrong, groups = np.asarray(wrong, bool), np.asarray(groups)
    problems = cluster_numbers(problem_ids)
    names = list(dict.fromkeys(groups.tolist()))
    inside = {name: np.flatnonzero(groups == name) for name in names}
    check_no_leak(problems, cluster_numbers(groups.tolist()))  # a problem is in one group alone
    rows, calls = [], []
    for entrant in entrants:
        for train in names:
            for test in names:
                row = {"name": entrant.name, "train": train, "test": test}
                row |= {"traces_train": len(inside[train]), "traces_test": len(inside[test])}
                rows.append(row)
                both = inside[train], inside[test]
                calls.append((entrant, wrong, problems, *both, folds, draws, seed))
    found = side_by_side(_measured_or_reason, calls, jobs)
    return [row | one for row, one in zip(rows, found, strict=True)]


def _measured_or_reason(*given: Any) -> dict[str, Any]:
    try:
        return _measured(*given)
    except ValueError as error:
        return {"skipped": str(error)}


def difficulty_groups(operations: np.ndarray, bins: int = BINS) -> np.ndarray:
    """Cut problems by their number of operations into groups of similar size: str (traces,).

    Groups are named by their range ("2 to 3 operations"); unknown numbers form "unknown". A number
    of operations is never split between groups.
    """
    operations = np.asarray(operations, float)
    known = np.isfinite(operations)
    named = np.full(len(operations), "unknown", dtype=object)
    if known.any():
        edges = np.unique(np.quantile(operations[known], np.linspace(0, 1, bins + 1)[1:-1]))
        place = np.searchsorted(edges, operations[known], side="left")
        for number in np.unique(place):
            mine = np.flatnonzero(known)[place == number]
            low, high = operations[mine].min(), operations[mine].max()
            span = f"{low:g} to {high:g}" if low < high else f"{low:g}"
            named[mine] = f"{span} operations"
    return named.astype(str)


def _measured(
    entrant: Entrant,
    wrong: np.ndarray,
    problems: np.ndarray,
    fit: np.ndarray,
    test: np.ndarray,
    folds: int,
    draws: int,
    seed: int,
) -> dict[str, Any]:
    clusters = cluster_numbers(problems[test].tolist())
    for side in (fit, test):
        if min(wrong[side].sum(), (~wrong[side]).sum()) < 2 * folds:
            raise ValueError(f"{int(wrong[side].sum())} of {len(side)} traces are wrong: too few")
    if fit is test or np.array_equal(fit, test):
        own = _rows(entrant.features, fit)
        found = cross_validated_scores(
            entrant.predictor, own, wrong[fit], problems[fit], folds=folds, seed=seed
        )
        scores = found.scores
    else:
        scores, _ = fit_and_score(
            entrant.predictor, entrant.features, wrong, problems, fit, test, seed
        )
    weights = cluster_weights(int(clusters.max()) + 1, draws, seed)
    return bootstrap_auroc(scores, wrong[test], clusters, weights).interval().as_dict()


def _rows(features: Any, rows: np.ndarray) -> Any:
    if isinstance(features, Mapping):
        return {name: _rows(values, rows) for name, values in features.items()}
    return features[rows] if isinstance(features, np.ndarray) else [features[row] for row in rows]
