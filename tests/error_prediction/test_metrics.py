"""Metrics of error prediction against naive loops, scikit-learn and cases done by hand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import (
    average_precision_score,
    balanced_accuracy_score,
    brier_score_loss,
    roc_auc_score,
)

from rg_helpers.error_prediction.metrics import (
    false_positive_rate,
    measure_prediction,
    reliability,
    within_problem_auc,
)
from rg_helpers.statistics import cluster_weights


def drawn(seed: int, problems: int = 30, samples: int = 4):
    generator = np.random.default_rng(seed)
    groups = np.repeat(np.arange(problems), samples)
    wrong = generator.random(len(groups)) < 0.4
    scores = np.round(np.clip(0.3 * wrong + generator.random(len(groups)) * 0.7, 0, 1), 2)
    return scores, wrong, groups


@pytest.mark.parametrize("seed", range(5))
def test_values_agree_with_scikit_learn(seed):
    scores, wrong, groups = drawn(seed)
    found = measure_prediction(scores, wrong, groups, cluster_weights(30, 50, seed))
    assert found.base_rate == pytest.approx(wrong.mean())
    assert found.auroc.value == pytest.approx(roc_auc_score(wrong, scores))
    assert found.aupr.value == pytest.approx(average_precision_score(wrong, scores))
    assert found.brier.value == pytest.approx(brier_score_loss(wrong, scores))
    expected = balanced_accuracy_score(wrong, scores >= 0.5)
    assert found.balanced_accuracy.value == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(5))
def test_draws_are_the_metric_on_the_drawn_problems(seed):
    scores, wrong, groups = drawn(seed, problems=12)
    weights = cluster_weights(12, 20, seed)
    found = measure_prediction(scores, wrong, groups, weights)
    for row, weight in enumerate(weights.astype(int)):
        again = np.concatenate(
            [np.tile(np.flatnonzero(groups == p), weight[p]) for p in range(12)]
        ).astype(int)
        w, s = wrong[again], scores[again]
        expected = balanced_accuracy_score(w, s >= 0.5)
        assert found.balanced_accuracy.draws[row] == pytest.approx(expected)
        assert found.fpr95.draws[row] == pytest.approx(naive_fpr(s, w))
        won = pairs = 0.0
        for p in range(12):
            inside = groups == p
            for error in scores[inside & wrong]:
                for right in scores[inside & ~wrong]:
                    pairs += weight[p]
                    won += weight[p] * ((error > right) + (error == right) / 2)
        assert found.within_problem_auc.draws[row] == pytest.approx(won / pairs)


def naive_fpr(scores, wrong, recall=0.95):
    for threshold in sorted(set(scores), reverse=True):
        if (scores[wrong] >= threshold).mean() >= recall - 1e-12:
            return (scores[~wrong] >= threshold).mean()
    raise AssertionError


def test_a_score_of_difficulty_alone_is_chance_within_problems():
    _, wrong, groups = drawn(0)
    difficulty = np.array([wrong[groups == g].mean() for g in groups])
    weights = cluster_weights(30, 50)
    found = measure_prediction(difficulty, wrong, groups, weights)
    assert found.auroc.value > 0.7
    assert found.within_problem_auc.value == 0.5
    assert np.allclose(found.within_problem_auc.draws, 0.5)


def test_no_problem_with_both_classes_has_no_within_problem_auc():
    groups = np.repeat(np.arange(10), 2)
    wrong = groups % 2 == 0
    scores, weights = np.arange(20) / 20, cluster_weights(10, 200)
    assert within_problem_auc(scores, wrong, groups, weights) is None
    found = measure_prediction(scores, wrong, groups, weights)
    assert found.within_problem_auc is None
    assert found.as_dict()["within_problem_auc"] is None


def test_false_positive_rate_by_hand():
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.5])
    wrong = np.array([True, False, True, False, False])
    found = false_positive_rate(scores, wrong, np.arange(5), cluster_weights(5, 3))
    assert found.value == pytest.approx(1 / 3), "both errors are found at 0.7, with one right one"
    half = false_positive_rate(scores, wrong, np.arange(5), cluster_weights(5, 3), recall=0.5)
    assert half.value == 0


def test_scores_must_be_probabilities():
    scores, wrong, groups = drawn(1)
    for bad in (scores * 3, scores - 1, np.where(scores > 0.5, np.nan, scores)):
        with pytest.raises(ValueError, match="probabilities between 0 and 1"):
            measure_prediction(bad, wrong, groups, cluster_weights(30, 5))


def test_reliability_bins_hold_every_trace_once_and_ties_together():
    generator = np.random.default_rng(0)
    scores = np.round(generator.random(500), 1)
    wrong = generator.random(500) < scores
    rows = reliability(scores, wrong, bins=10)
    assert sum(row["n"] for row in rows) == 500
    assert [row["predicted"] for row in rows] == sorted(row["predicted"] for row in rows)
    assert all(abs(row["predicted"] - row["observed"]) < 0.2 for row in rows)
    constant = reliability(np.full(20, 0.3), np.arange(20) < 5)
    assert constant == [{"predicted": pytest.approx(0.3), "observed": 0.25, "n": 20}]
