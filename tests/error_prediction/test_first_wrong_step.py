"""The first wrong step: planted ones are found, rules are chosen on training problems alone."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from rg_helpers.error_prediction.first_wrong_step import (
    NONE,
    Rule,
    best_rule,
    locate,
    location_quality,
    plain_f1,
    step_risks,
)


def planted(problems=60, samples=3, seed=0, strength=4.0):
    """The first wrong step stands out in column 0; what follows it does so as well."""
    generator = np.random.default_rng(seed)
    ids = [f"p{i}" for i in range(problems) for _ in range(samples)]
    tables, first = [], []
    for _ in ids:
        steps = int(generator.integers(4, 9))
        table = generator.normal(size=(steps, 3))
        at = int(generator.integers(steps)) if generator.random() < 0.5 else NONE
        if at != NONE:
            table[at:, 0] += strength
        tables.append(table)
        first.append(at)
    return tables, np.array(first), ids


def test_planted_errors_are_located_and_noise_is_not():
    tables, first, ids = planted()
    found = locate(tables, first, ids, LogisticRegression(), folds=3)
    assert plain_f1(found.steps, first) > 0.85
    assert [len(risk) for risk in found.risks] == [len(table) for table in tables]
    noise, _, _ = planted(strength=0.0)
    blind = locate([t[:, :2] for t in noise], first, ids, LogisticRegression(), folds=3)
    assert plain_f1(blind.steps, first) < 0.4


def test_labels_held_out_are_never_read():
    tables, first, ids = planted(30)
    before = locate(tables, first, ids, LogisticRegression(), folds=3)
    changed = first.copy()
    changed[0] = 0 if first[0] != 0 else 1  # of the same class, so the folds stay
    if first[0] == NONE:
        pytest.skip("needs a wrong trace")
    after = locate(tables, changed, ids, LogisticRegression(), folds=3)
    assert after.steps[0] == before.steps[0]
    assert (after.risks[0] == before.risks[0]).all()


def test_steps_behind_an_error_are_not_fitted_on():
    tables = [np.array([[0.0], [1.0], [9.0]]), np.array([[0.0], [0.0], [0.0]])] * 2
    seen = []

    class Spy(LogisticRegression):
        def fit(self, rows, labels):
            seen.append((rows[:, 0].tolist(), labels.tolist()))
            return super().fit(rows, labels)

    risks = step_risks(Spy(), tables, np.array([1, NONE, 1, NONE]), [0, 1], [2, 3])
    assert seen == [([0, 1, 0, 0, 0], [False, True, False, False, False])]
    assert [len(risk) for risk in risks] == [3, 3]


def test_rules_and_the_best_of_them():
    risks = np.array([0.1, 0.6, 0.9])
    assert Rule("first above", 0.5)(risks) == 1
    assert Rule("highest above", 0.5)(risks) == 2
    assert Rule("first above", 0.95)(risks) == NONE
    many = [np.array([0.1, 0.6, 0.9]), np.array([0.7, 0.2, 0.8]), np.array([0.1, 0.2, 0.3])] * 4
    truth = np.array([1, 0, NONE] * 4)
    chosen = best_rule(many, truth)
    assert chosen.kind == "first above"
    assert [chosen(risk) for risk in many] == truth.tolist()


def test_f1_is_the_harmonic_mean_of_both_shares():
    first = np.array([2, 1, 0, 3, NONE, NONE])
    named = np.array([2, 1, 1, NONE, NONE, 0])
    quality = location_quality(named, first, list("aabbcc"), draws=300)
    assert quality.wrong_located.value == 0.5
    assert quality.right_passed.value == 0.5
    assert quality.f1.value == plain_f1(named, first) == 0.5
    never = location_quality(np.full(6, NONE), first, list("aabbcc"), draws=300)
    assert never.f1.value == 0
    assert never.right_passed.value == 1
    with pytest.raises(ValueError, match="both classes"):
        location_quality(named, np.full(6, NONE), list("aabbcc"), draws=10)
    with pytest.raises(ValueError, match="expected 0 to 3"):
        locate([np.zeros((4, 1))] * 6, np.array([4, 0, 0, 0, 0, 0]), list("aabbcc"), None)
