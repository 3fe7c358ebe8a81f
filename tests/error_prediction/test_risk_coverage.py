"""Abstaining and choosing among samples, against sums by hand and a slow reference."""

from __future__ import annotations

import numpy as np
import pytest

from rg_helpers.error_prediction.best_of_samples import (
    ORACLE,
    best_of_samples,
    chosen_right,
)
from rg_helpers.error_prediction.risk_coverage import (
    area_under_risk_coverage,
    risk_at_coverage,
    risk_coverage,
)
from rg_helpers.statistics import cluster_weights


def test_the_curve_of_five_solutions_worked_by_hand():
    risks = np.array([0.1, 0.2, 0.2, 0.7, 0.9])
    wrong = np.array([False, True, False, False, True])
    curve = risk_coverage(risks, wrong)
    assert curve.coverage == pytest.approx([0.2, 0.6, 0.8, 1.0])  # the two 0.2 go together
    assert curve.risk == pytest.approx([0, 1 / 3, 1 / 4, 2 / 5])
    assert curve.at(0.6) == pytest.approx(1 / 3)
    assert curve.at(0.61) == pytest.approx(1 / 4)


def _slow_area(risks, wrong):
    total = 0.0
    for level in np.unique(risks):
        answered = risks <= level
        total += (risks == level).mean() * wrong[answered].mean()
    return total


def test_areas_and_their_draws_equal_a_slow_reference():
    rng = np.random.default_rng(0)
    risks, wrong = rng.integers(0, 6, 40) / 5, rng.random(40) < 0.4
    clusters = np.arange(40) // 4
    weights = cluster_weights(10, 30, seed=1)
    found = area_under_risk_coverage(risks, wrong, clusters, weights)
    assert found.value == pytest.approx(_slow_area(risks, wrong))
    for row, draw in zip(weights.astype(int), found.draws, strict=True):
        rows = np.concatenate([np.tile(np.flatnonzero(clusters == c), row[c]) for c in range(10)])
        assert draw == pytest.approx(_slow_area(risks[rows], wrong[rows]))


def test_a_perfect_score_leaves_the_least_errors():
    rng = np.random.default_rng(1)
    wrong = rng.random(60) < 0.3
    clusters, weights = np.arange(60), cluster_weights(60, 50)
    perfect = risk_at_coverage(wrong.astype(float), wrong, clusters, weights, 0.5)
    useless = risk_at_coverage(np.zeros(60), wrong, clusters, weights, 0.5)
    assert perfect.value == 0
    assert useless.value == pytest.approx(wrong.mean())  # equal risks cannot be told apart
    order = rng.permutation(60).astype(float)
    half = np.sort(order)[29]
    by_hand = wrong[order <= half].mean()
    assert risk_at_coverage(order, wrong, clusters, weights, 0.5).value == pytest.approx(by_hand)


def test_choosing_among_samples_by_hand():
    clusters = np.array([0, 0, 0, 1, 1, 2])
    right = np.array([True, False, False, False, True, False])
    risks = np.array([0.3, 0.3, 0.9, 0.1, 0.2, 0.5])
    assert chosen_right(risks, right, clusters) == pytest.approx([0.5, 0, 0])
    found = best_of_samples({"risk": risks}, right, clusters, cluster_weights(3, 20))
    assert found["any"].value == pytest.approx((1 / 3 + 1 / 2 + 0) / 3)
    assert found["risk"].value == pytest.approx(0.5 / 3)
    assert found[ORACLE].value == pytest.approx(2 / 3)


def test_bad_input_names_the_cure():
    weights = cluster_weights(2, 5)
    with pytest.raises(ValueError, match="one of each"):
        risk_coverage(np.zeros(2), np.zeros(3, bool))
    with pytest.raises(ValueError, match="NaN"):
        risk_coverage(np.array([np.nan]), np.array([True]))
    with pytest.raises(ValueError, match="share that is answered"):
        risk_at_coverage(np.zeros(2), np.zeros(2, bool), np.arange(2), weights, 0.0)
