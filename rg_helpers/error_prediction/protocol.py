"""Cross-validation that cannot leak: whole problems are held out, and everything is fitted inside.

A predictor is a scikit-learn classifier or pipeline: scalers, selectors and clusterings belong
into it, so that they see training problems alone. Whatever is chosen (a layer, a regularisation)
is chosen by an inner grouped cross-validation of the training problems (Varma & Simon 2006).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.model_selection import StratifiedGroupKFold

from rg_helpers.edge_recovery import auroc

FOLDS = 5
INNER_FOLDS = 3


@dataclass(frozen=True, eq=False)
class OutOfFold:
    """Probabilities of being wrong, each from a fit that never saw the trace's problem.

    `scores` is float64 (traces,), `fold` int64 (traces,) says which fold held the trace out, and
    `chosen` names, for every fold, which candidate the inner folds picked.
    """

    scores: np.ndarray
    fold: np.ndarray
    chosen: tuple[str, ...]


def grouped_folds(
    wrong: np.ndarray, problems: np.ndarray, folds: int = FOLDS, seed: int = 0
) -> np.ndarray:
    """Return the fold of every trace: int64 (traces,); a problem lies in one fold, classes even.

    Raises `ValueError` when there are fewer problems than folds or a fold would miss a class.
    """
    wrong, problems = np.asarray(wrong, bool), np.asarray(problems)
    if len(np.unique(problems)) < folds:
        raise ValueError(
            f"{len(np.unique(problems))} problems cannot fill {folds} folds: give more problems, "
            "or fewer folds"
        )
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    fold = np.full(len(wrong), -1)
    for number, (_, held_out) in enumerate(splitter.split(problems, wrong, problems)):
        fold[held_out] = number
    check_no_leak(problems, fold)
    for number in range(folds):
        rest = wrong[fold != number]
        if rest.all() or not rest.any():
            raise ValueError(
                f"without fold {number} all traces are of one class ({wrong.sum()} of {len(wrong)} "
                "are wrong): give more traces, or fewer folds"
            )
    return fold


def check_no_leak(problems: np.ndarray, fold: np.ndarray) -> None:
    """Raise `ValueError` if a problem lies in two folds: its twin would be trained on."""
    found: dict[Any, int] = {}
    for problem, number in zip(np.asarray(problems).tolist(), np.asarray(fold).tolist()):
        if found.setdefault(problem, number) != number:
            raise ValueError(
                f"problem {problem!r} stands in fold {found[problem]} and in fold {number}: split "
                "by problem (grouped_folds), not by trace"
            )


def cross_validated_scores(
    predictor: BaseEstimator,
    features: np.ndarray | Sequence[Any] | Mapping[str, Any],
    wrong: np.ndarray,
    problems: np.ndarray,
    fold: np.ndarray | None = None,
    folds: int = FOLDS,
    seed: int = 0,
) -> OutOfFold:
    """Return out-of-fold probabilities of being wrong.

    `features` is an array (traces, columns), a sequence of texts or objects (traces,), or a mapping
    name -> such features: then the name whose inner cross-validated AUROC is highest is chosen
    anew within every fold (for example one entry a layer). `fold` fixes the folds, so that several
    predictors are compared on the same ones; without it `grouped_folds` draws them.
    """
    wrong, problems = np.asarray(wrong, bool), np.asarray(problems)
    fold = grouped_folds(wrong, problems, folds, seed) if fold is None else np.asarray(fold)
    check_fit(features, wrong, problems, fold)
    parts = [
        held_out_scores(predictor, features, wrong, problems, fold, number, seed)
        for number in np.unique(fold)
    ]
    return put_together(parts, fold)


def check_fit(features: Any, wrong: np.ndarray, problems: np.ndarray, fold: np.ndarray) -> None:
    """Raise `ValueError` for features of another number of traces, or a problem in two folds."""
    for name, values in _candidates(features).items():
        if len(values) != len(wrong):
            raise ValueError(f"{len(values)} rows of features {name!r} for {len(wrong)} traces")
    check_no_leak(problems, fold)


def held_out_scores(
    predictor: BaseEstimator,
    features: np.ndarray | Sequence[Any] | Mapping[str, Any],
    wrong: np.ndarray,
    problems: np.ndarray,
    fold: np.ndarray,
    number: int,
    seed: int = 0,
) -> tuple[np.ndarray, str]:
    """Return the risks of one fold's traces and the choice, fitted on all other folds."""
    inside, outside = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
    return fit_and_score(predictor, features, wrong, problems, inside, outside, seed)


def put_together(parts: Sequence[tuple[np.ndarray, str]], fold: np.ndarray) -> OutOfFold:
    """Put `held_out_scores` of all folds, in the order of their numbers, into one result."""
    scores = np.full(len(fold), np.nan)
    for number, (held_out, _) in zip(np.unique(fold), parts, strict=True):
        scores[fold == number] = held_out
    return OutOfFold(scores, fold, tuple(name for _, name in parts))


def fit_and_score(
    predictor: BaseEstimator,
    features: np.ndarray | Sequence[Any] | Mapping[str, Any],
    wrong: np.ndarray,
    problems: np.ndarray,
    fit: np.ndarray,
    test: np.ndarray,
    seed: int = 0,
) -> tuple[np.ndarray, str]:
    """Fit on traces `fit`, choices included, and return the risks of traces `test` and the choice.

    `fit` and `test` are indices; the labels of `test` are never read. Raises `ValueError` if a
    problem stands on both sides.
    """
    wrong, problems = np.asarray(wrong, bool), np.asarray(problems)
    both = np.intersect1d(problems[fit], problems[test])
    if len(both):
        raise ValueError(
            f"{len(both)} problems are fitted on and tested, such as {both[0]!r}: split by problem"
        )
    candidates = _candidates(features)
    name = _choose(predictor, candidates, wrong, problems, fit, seed)
    return _fit_predict(predictor, candidates[name], wrong, fit, test), name


def _candidates(features: Any) -> Mapping[str, Any]:
    return features if isinstance(features, Mapping) else {"": features}


def _choose(
    predictor: BaseEstimator,
    candidates: Mapping[str, Any],
    wrong: np.ndarray,
    problems: np.ndarray,
    inside: np.ndarray,
    seed: int,
) -> str:
    if len(candidates) == 1:
        return next(iter(candidates))
    inner = grouped_folds(wrong[inside], problems[inside], INNER_FOLDS, seed)
    reached = {}
    for name, values in candidates.items():
        scores = np.empty(len(inside))
        for number in range(INNER_FOLDS):
            held_out = inner == number
            scores[held_out] = _fit_predict(
                predictor, values, wrong, inside[~held_out], inside[held_out]
            )
        reached[name] = auroc(scores, wrong[inside])
    return max(reached, key=reached.__getitem__)


def _fit_predict(
    predictor: BaseEstimator, values: Any, wrong: np.ndarray, fit: np.ndarray, test: np.ndarray
) -> np.ndarray:
    fitted = clone(predictor).fit(_rows(values, fit), wrong[fit])
    return fitted.predict_proba(_rows(values, test))[:, list(fitted.classes_).index(True)]


def _rows(values: Any, rows: np.ndarray) -> Any:
    return values[rows] if isinstance(values, np.ndarray) else [values[row] for row in rows]
