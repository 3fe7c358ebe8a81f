"""The protocol cannot leak: whole problems are held out and everything is fitted inside."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from rg_helpers.error_prediction.protocol import (
    check_no_leak,
    cross_validated_scores,
    grouped_folds,
)


def drawn(seed: int = 0, problems: int = 60, samples: int = 4):
    generator = np.random.default_rng(seed)
    groups = np.repeat(np.arange(problems), samples)
    hard = np.repeat(generator.random(problems), samples)
    return groups, generator.random(len(groups)) < hard


@pytest.mark.parametrize("seed", range(4))
def test_a_problem_lies_in_one_fold_and_folds_are_even(seed):
    groups, wrong = drawn(seed)
    fold = grouped_folds(wrong, groups, 5, seed)
    for problem in range(60):
        assert len(set(fold[groups == problem])) == 1
    sizes = np.bincount(fold)
    assert sizes.min() >= 40
    rates = [wrong[fold == number].mean() for number in range(5)]
    assert max(rates) - min(rates) < 0.15, "stratified"
    assert (fold == grouped_folds(wrong, groups, 5, seed)).all()
    assert (fold != grouped_folds(wrong, groups, 5, seed + 1)).any()


def test_memorising_problems_gains_nothing_but_an_ungrouped_split_rewards_it():
    groups, wrong = drawn(1)
    one_hot = np.eye(60)[groups]
    memory = LogisticRegression(C=10)
    honest = cross_validated_scores(memory, one_hot, wrong, groups)
    assert len(set(honest.scores.round(6))) <= 5, "an unseen problem tells nothing"
    leaking = np.arange(len(groups)) % 4
    with pytest.raises(ValueError, match="split by problem"):
        cross_validated_scores(memory, one_hot, wrong, groups, fold=leaking)
    naive = cross_validated_scores(memory, one_hot, wrong, np.arange(len(groups)), fold=leaking)
    assert roc_auc_score(wrong, naive.scores) > 0.65, "what the check keeps out is large"


def test_a_problem_on_two_sides_is_named():
    with pytest.raises(ValueError, match="problem 'b' stands in fold 0 and in fold 1"):
        check_no_leak(np.array(["a", "b", "b"]), np.array([0, 0, 1]))


class Spy(TransformerMixin, BaseEstimator):
    """A scaler that keeps which rows it was fitted on (the first column numbers them)."""

    fitted_on: list = []  # noqa: RUF012

    def fit(self, features, wrong=None):
        Spy.fitted_on.append(set(features[:, 0].astype(int)))
        return self

    def transform(self, features):
        return features[:, 1:]


def test_scalers_never_see_the_held_out_problems():
    groups, wrong = drawn(2)
    generator = np.random.default_rng(0)
    features = np.column_stack([np.arange(len(groups)), generator.normal(size=(len(groups), 2))])
    Spy.fitted_on = []
    pipeline = make_pipeline(Spy(), StandardScaler(), LogisticRegression())
    found = cross_validated_scores(pipeline, features, wrong, groups)
    assert len(Spy.fitted_on) == 5
    for number, rows in enumerate(Spy.fitted_on):
        assert rows == set(np.flatnonzero(found.fold != number))


def test_choices_are_made_inside_the_fold():
    groups, wrong = drawn(3, problems=100)
    generator = np.random.default_rng(1)
    noise = {f"layer {i}": generator.normal(size=(len(groups), 3)) for i in range(30)}
    model = make_pipeline(StandardScaler(), LogisticRegression())
    found = cross_validated_scores(model, noise, wrong, groups)
    assert abs(roc_auc_score(wrong, found.scores) - 0.5) < 0.12, "noise stays noise"
    on_test = max(
        roc_auc_score(wrong, cross_validated_scores(model, x, wrong, groups).scores)
        for x in noise.values()
    )
    assert on_test > roc_auc_score(wrong, found.scores), "best on test looks better than it is"
    noise["layer 7"] = noise["layer 7"] + 2 * wrong[:, None]
    assert set(cross_validated_scores(model, noise, wrong, groups).chosen) == {"layer 7"}


def test_scores_do_not_depend_on_the_labels_held_out():
    groups, wrong = drawn(4)
    features = np.random.default_rng(2).normal(size=(len(groups), 3))
    fold = grouped_folds(wrong, groups)
    model = DecisionTreeClassifier(max_depth=3, random_state=0)
    before = cross_validated_scores(model, features, wrong, groups, fold).scores
    flipped = np.where(fold == 0, ~wrong, wrong)
    after = cross_validated_scores(model, features, flipped, groups, fold).scores
    assert (before[fold == 0] == after[fold == 0]).all()
    assert (before[fold != 0] != after[fold != 0]).any()


class Reader(ClassifierMixin, BaseEstimator):
    """A classifier of any objects: long texts are risky."""

    def fit(self, texts, wrong):
        self.classes_ = np.array([False, True])
        return self

    def predict_proba(self, texts):
        risk = np.array([min(1.0, len(text) / 100) for text in texts])
        return np.column_stack([1 - risk, risk])


def test_features_may_be_any_sequence():
    groups, wrong = drawn(5)
    texts = ["x" * int(n) for n in np.random.default_rng(3).integers(1, 100, len(groups))]
    found = cross_validated_scores(Reader(), texts, wrong, groups)
    assert found.scores == pytest.approx([len(text) / 100 for text in texts])


def test_impossible_requests_name_the_cure():
    groups, wrong = drawn(6, problems=4)
    with pytest.raises(ValueError, match="4 problems cannot fill 5 folds"):
        grouped_folds(wrong, groups)
    with pytest.raises(ValueError, match="all traces are of one class"):
        grouped_folds(np.zeros(len(groups), bool), groups, 2)
    with pytest.raises(ValueError, match="3 rows of features"):
        cross_validated_scores(Reader(), ["a"] * 3, wrong, groups, folds=2)
