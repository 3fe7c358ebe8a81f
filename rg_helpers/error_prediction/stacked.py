"""Several sources of evidence in one risk, without the wide ones drowning the narrow ones.

Every source (a few numbers, a probe's hundred columns, a text) has a classifier of its own; a
logistic regression weighs their log-odds (stacking, Wolpert 1992). The log-odds it is fitted on
come from inner folds by problem, since those of a classifier on its own training problems are too
good. With it, "known" and "known + graph" differ by a column or two, not by hundreds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.linear_model import LogisticRegression

from rg_helpers.error_prediction.protocol import INNER_FOLDS, grouped_folds

MOST_CERTAIN = 1e-4


def stack_rows(problems: np.ndarray, *sources: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Return rows for `Stacked`: the trace's problem, then its entry in every source."""
    return list(zip(np.asarray(problems).tolist(), *sources, strict=True))


class Stacked(ClassifierMixin, BaseEstimator):
    """A classifier of `stack_rows`; `predictors` holds one scikit-learn classifier a source.

    A source whose entries are arrays is given to its classifier as one array (rows, columns), any
    other as a list.
    """

    def __init__(
        self, predictors: Sequence[BaseEstimator] = (), folds: int = INNER_FOLDS, seed: int = 0
    ) -> None:
        self.predictors = predictors
        self.folds = folds
        self.seed = seed

    def fit(self, rows: Sequence[tuple[Any, ...]], wrong: np.ndarray) -> Stacked:
        """Fit every source's classifier, and their weights on inner folds by problem."""
        wrong = np.asarray(wrong, bool)
        inner = grouped_folds(wrong, np.array([row[0] for row in rows]), self.folds, self.seed)
        odds = np.empty((len(rows), len(self.predictors)))
        self.fitted_ = []
        for number, predictor in enumerate(self.predictors):
            for fold in range(self.folds):
                fit, test = np.flatnonzero(inner != fold), np.flatnonzero(inner == fold)
                model = clone(predictor).fit(_source(rows, number, fit), wrong[fit])
                odds[test, number] = _log_odds(model, _source(rows, number, test))
            everything = _source(rows, number, range(len(rows)))
            self.fitted_.append(clone(predictor).fit(everything, wrong))
        self.weights_ = LogisticRegression(max_iter=1000).fit(odds, wrong)
        self.classes_ = np.array([False, True])
        return self

    def predict_proba(self, rows: Sequence[tuple[Any, ...]]) -> np.ndarray:
        """Return the probabilities of (right, wrong): float64 (rows, 2)."""
        odds = [
            _log_odds(model, _source(rows, number, range(len(rows))))
            for number, model in enumerate(self.fitted_)
        ]
        return self.weights_.predict_proba(np.column_stack(odds))


def _source(rows: Sequence[tuple[Any, ...]], number: int, chosen: Sequence[int]) -> Any:
    entries = [rows[index][number + 1] for index in chosen]
    return np.stack(entries) if isinstance(entries[0], np.ndarray) else entries


def _log_odds(model: BaseEstimator, values: Any) -> np.ndarray:
    risk = model.predict_proba(values)[:, list(model.classes_).index(True)]
    risk = np.clip(risk, MOST_CERTAIN, 1 - MOST_CERTAIN)
    return np.log(risk / (1 - risk))
