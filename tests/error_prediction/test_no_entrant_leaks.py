"""No entrant of the report learns from what it is tested on: its labels, features, problems."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from planted_set import TOKENIZER, planted_set
from sklearn.base import BaseEstimator, ClassifierMixin

from rg_helpers.error_prediction.diagnosis import with_context
from rg_helpers.error_prediction.entrants import default_entrants
from rg_helpers.error_prediction.error_type import classify_errors
from rg_helpers.error_prediction.first_wrong_step import NONE, locate
from rg_helpers.error_prediction.inputs import prediction_inputs
from rg_helpers.error_prediction.protocol import fit_and_score, grouped_folds
from rg_helpers.language_model import new_course_model
from rg_helpers.statistics import cluster_numbers

METHODS = ("attention", "text")


@pytest.fixture(scope="module")
def study():
    traces = planted_set("arithmetic", 24, samples=3, seed=1)
    model = new_course_model(0, hidden_size=16, layers=2, heads=2, intermediate_size=32)
    return prediction_inputs(traces, model, TOKENIZER, METHODS, fit_problems=3, progress=False)


def rows_of(features: Any, rows: np.ndarray) -> Any:
    if isinstance(features, Mapping):
        return {name: rows_of(values, rows) for name, values in features.items()}
    return features[rows] if isinstance(features, np.ndarray) else [features[row] for row in rows]


def test_risks_do_not_move_with_labels_or_features_of_the_problems_tested(study):
    wrong = study.traces.target("flawed")
    problems = cluster_numbers(study.traces.problem_ids)
    fold = grouped_folds(wrong, problems, 3)
    fit, test = np.flatnonzero(fold != 0), np.flatnonzero(fold == 0)
    flipped = np.where(fold == 0, ~wrong, wrong)
    copies = np.arange(len(wrong))
    copies[test] = test[0]  # every other tested solution becomes a copy of the first one
    for entrant in default_entrants(study, graph_networks=("gcn",), epochs=1):

        def risks(labels, rows, entrant=entrant):
            features = rows_of(entrant.features, rows)
            return fit_and_score(entrant.predictor, features, labels, problems, fit, test)[0]

        plain = risks(wrong, np.arange(len(wrong)))
        assert np.allclose(risks(flipped, np.arange(len(wrong))), plain), entrant.name
        assert np.allclose(risks(wrong, copies), plain[0]), f"{entrant.name}: fitted on the test"
        assert not np.allclose(risks(flipped[::-1], np.arange(len(wrong))), plain), entrant.name


class Spy(ClassifierMixin, BaseEstimator):
    """Notes whether it scores a problem that it was fitted on; the last column names it."""

    met: list = []  # noqa: RUF012

    def fit(self, rows, labels):
        self.classes_ = np.unique(labels)
        self.known_ = set(rows[:, -1].tolist())
        return self

    def predict_proba(self, rows):
        Spy.met.append(bool(self.known_ & set(rows[:, -1].tolist())))
        return np.full((len(rows), len(self.classes_)), 1 / len(self.classes_))

    def predict(self, rows):
        Spy.met.append(bool(self.known_ & set(rows[:, -1].tolist())))
        return np.full(len(rows), self.classes_[0])


def test_steps_and_error_types_are_fitted_on_other_problems():
    generator = np.random.default_rng(0)
    numbers = np.repeat(np.arange(30), 3)
    ids = [f"p{number}" for number in numbers]
    tables = [np.full((4, 2), float(number)) for number in numbers]
    first = np.where(generator.random(90) < 0.5, generator.integers(0, 4, 90), NONE)
    Spy.met = []
    locate(tables, first, ids, Spy(), folds=3)
    assert len(Spy.met) == 3 * (2 + 1), "two inner folds and the outer one, three times"
    assert not any(Spy.met)
    Spy.met = []
    types = np.array(["arithmetic slip", "wrong operand"])[generator.integers(0, 2, 90)]
    rows = np.stack([table[0] for table in tables])
    classify_errors(rows, types.tolist(), ids, Spy(), folds=3, draws=10)
    assert Spy.met == [False] * 3


def test_the_context_of_a_step_is_what_stands_before_it():
    table = np.random.default_rng(0).normal(size=(6, 3))
    whole = with_context(table)
    for end in range(1, 6):
        assert np.allclose(with_context(table[:end]), whole[:end]), "a later step is read"


def test_inputs_change_nothing_when_labels_do(study):
    turned = replace(study.traces, labels=study.traces.labels[::-1])
    other = default_entrants(replace(study, traces=turned), graph_networks=())
    for one, two in zip(default_entrants(study, graph_networks=()), other, strict=True):
        assert one.name == two.name
        if isinstance(one.features, np.ndarray):
            assert np.array_equal(one.features, two.features, equal_nan=True)
