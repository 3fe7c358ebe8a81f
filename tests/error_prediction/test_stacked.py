"""Stacking: a narrow signal survives beside a wide one, and inner folds keep problems whole."""

from __future__ import annotations

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression

from rg_helpers.edge_recovery import auroc
from rg_helpers.error_prediction.lexical import lexical_predictor
from rg_helpers.error_prediction.predictors import logistic
from rg_helpers.error_prediction.protocol import cross_validated_scores
from rg_helpers.error_prediction.stacked import Stacked, stack_rows


def study(seed=0, problems=60, samples=4):
    generator = np.random.default_rng(seed)
    groups = np.repeat(np.arange(problems), samples)
    wrong = generator.random(len(groups)) < 0.5
    narrow = (wrong + generator.normal(0, 0.8, len(wrong)))[:, None]
    wide = generator.normal(size=(len(wrong), 150))
    return groups, wrong, narrow, wide


def test_noise_beside_a_signal_costs_little_and_a_second_signal_adds():
    groups, wrong, narrow, wide = study()
    alone = cross_validated_scores(logistic(), narrow, wrong, groups).scores
    joint = cross_validated_scores(logistic(), np.hstack([narrow, wide]), wrong, groups).scores
    stack = Stacked([logistic(), logistic()])
    rows = stack_rows(groups, narrow, wide)
    stacked = cross_validated_scores(stack, rows, wrong, groups).scores
    assert auroc(joint, wrong) < auroc(alone, wrong) - 0.05, "side by side the noise drowns it"
    assert auroc(stacked, wrong) > auroc(alone, wrong) - 0.02
    texts = ["bad sum" if w else "good sum" for w in wrong]
    better = Stacked([logistic(), lexical_predictor()])
    found = cross_validated_scores(better, stack_rows(groups, narrow, texts), wrong, groups).scores
    assert auroc(found, wrong) > 0.99


class Memory(ClassifierMixin, BaseEstimator):
    """Knows by heart the problems it was fitted on, which the first column numbers."""

    seen: list = []  # noqa: RUF012

    def fit(self, rows, wrong):
        self.known_ = set(rows[:, 0].astype(int).tolist())
        self.classes_ = np.array([False, True])
        return self

    def predict_proba(self, rows):
        Memory.seen.append(bool(self.known_ & set(rows[:, 0].astype(int).tolist())))
        return np.full((len(rows), 2), 0.5)


def test_log_odds_come_from_problems_that_were_not_fitted_on():
    groups, wrong, _, _ = study(1)
    Memory.seen = []
    column = groups[:, None].astype(float)
    Stacked([Memory()]).fit(stack_rows(groups, column), wrong)
    assert Memory.seen == [False, False, False]


def test_one_source_keeps_its_order():
    groups, wrong, narrow, _ = study(2)
    rows = stack_rows(groups, narrow)
    stacked = Stacked([logistic()]).fit(rows, wrong).predict_proba(rows)
    alone = LogisticRegression().fit(narrow, wrong).predict_proba(narrow)
    assert (np.argsort(stacked[:, 1]) == np.argsort(alone[:, 1])).all()
    assert np.allclose(stacked.sum(axis=1), 1)
