"""Statistics: against scikit-learn on repeated items, textbook values and simulated coverage."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from rg_helpers.statistics import (
    Bootstrap,
    bootstrap_auroc,
    bootstrap_average_precision,
    bootstrap_mean,
    bootstrap_ratio,
    cluster_bootstrap,
    cluster_numbers,
    cluster_weights,
    equivalence_p_value,
    holm,
    wilson_interval,
)


def items(seed: int, clusters: int = 12, size: int = 200, decimals: int = 1):
    """Scores with many ties, labels, clusters; every cluster and both labels occur."""
    generator = np.random.default_rng(seed)
    owner = np.concatenate([np.arange(clusters), generator.integers(0, clusters, size - clusters)])
    labels = generator.random(size) < 0.3
    labels[:2] = True, False
    return np.round(generator.normal(size=size) + labels, decimals), labels, owner


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 3))
def test_every_draw_equals_scikit_learn_on_the_repeated_items(seed, decimals):
    scores, labels, owner = items(seed, decimals=decimals)
    weights = cluster_weights(12, draws=4, seed=seed)
    auroc = bootstrap_auroc(scores, labels, owner, weights)
    precision = bootstrap_average_precision(scores, labels, owner, weights)
    assert auroc.value == pytest.approx(roc_auc_score(labels, scores))
    assert precision.value == pytest.approx(average_precision_score(labels, scores), abs=1e-6)
    for draw, row in enumerate(weights.astype(int)):
        drawn = np.repeat(np.arange(len(scores)), row[owner])
        truth = labels[drawn], scores[drawn]
        if truth[0].all() or not truth[0].any():
            continue
        assert auroc.draws[draw] == pytest.approx(roc_auc_score(*truth))
        assert precision.draws[draw] == pytest.approx(average_precision_score(*truth), abs=1e-6)


def test_strata_are_compared_within_themselves_only():
    """By explicit loops over all pairs of one stratum, on the repeated items of every draw."""
    scores, labels, owner = items(9, clusters=6, size=60)
    strata = np.random.default_rng(0).integers(0, 4, 60)
    weights = cluster_weights(6, draws=5, seed=2)
    found = bootstrap_auroc(scores, labels, owner, weights, strata)
    everything = np.ones((1, 6))
    for row, value in zip([*everything, *weights], [found.value, *found.draws], strict=True):
        won, total = 0.0, 0.0
        for i in np.flatnonzero(labels):
            for j in np.flatnonzero(~labels & (strata == strata[i])):
                times = row[owner[i]] * row[owner[j]]
                total += times
                won += times * ((scores[i] > scores[j]) + (scores[i] == scores[j]) / 2)
        assert value == pytest.approx(won / total)
    same = bootstrap_auroc(scores, labels, owner, weights, np.zeros(60))
    assert same.value == pytest.approx(roc_auc_score(labels, scores))
    shifted = bootstrap_auroc(scores + 10 * strata, labels, owner, weights, strata)
    assert shifted.value == pytest.approx(found.value)
    with pytest.raises(ValueError, match="no stratum"):
        bootstrap_auroc(scores, labels, owner, weights, np.arange(60))


def test_ratio_and_mean_by_hand():
    weights = np.array([[2, 0], [1, 1], [0, 2]], dtype=np.float32)
    owner = np.array([0, 0, 1])
    mean = bootstrap_mean(np.array([1.0, 2.0, 6.0]), owner, weights)
    assert mean.value == 3
    assert mean.draws.tolist() == [1.5, 3, 6]
    ratio = bootstrap_ratio(np.array([1, 1, 3]), np.array([2, 2, 0]), owner, weights)
    assert ratio.draws[:2].tolist() == [0.5, 1.25]
    assert np.isnan(ratio.draws[2])


def test_generic_bootstrap_gives_the_same_draws_as_the_fast_ones():
    scores, labels, owner = items(5, clusters=30, size=300)
    slow = cluster_bootstrap(lambda i: roc_auc_score(labels[i], scores[i]), owner, 50, seed=3)
    fast = bootstrap_auroc(scores, labels, owner, cluster_weights(30, 50, seed=3))
    assert slow.value == pytest.approx(fast.value)
    assert np.allclose(slow.draws, fast.draws)


def test_weights_are_seeded_resamples():
    weights = cluster_weights(40, 500, seed=1)
    assert weights.shape == (500, 40)
    assert (weights.sum(axis=1) == 40).all()
    assert np.array_equal(weights, cluster_weights(40, 500, seed=1))
    assert not np.array_equal(weights, cluster_weights(40, 500, seed=2))
    assert abs(weights.var(axis=0).mean() - (1 - 1 / 40)) < 0.05


def test_intervals_cover_the_truth_although_items_of_a_cluster_agree():
    """95 % intervals of a mean with strong clusters; forgetting the clusters must fail this."""
    generator = np.random.default_rng(0)
    owner = np.repeat(np.arange(50), 8)
    weights = cluster_weights(50, 400)
    alone = cluster_weights(400, 400)
    covered, covered_by_items = 0, 0
    for _ in range(200):
        values = generator.normal(size=50)[owner] + 0.5 * generator.normal(size=400)
        interval = bootstrap_mean(values, owner, weights).interval()
        covered += interval.low <= 0 <= interval.high
        naive = bootstrap_mean(values, np.arange(400), alone).interval()
        covered_by_items += naive.low <= 0 <= naive.high
    assert 0.89 <= covered / 200 <= 0.99
    assert covered_by_items / 200 < 0.7


def test_auroc_interval_covers_the_truth():
    """Positives N(1, 1), negatives N(0, 1): the true AUROC is Phi(1 / sqrt 2) = 0.7602."""
    generator = np.random.default_rng(1)
    owner = np.repeat(np.arange(40), 10)
    labels = np.tile(np.arange(10) < 3, 40)
    weights = cluster_weights(40, 300)
    covered = 0
    for _ in range(100):
        interval = bootstrap_auroc(generator.normal(size=400) + labels, labels, owner, weights)
        interval = interval.interval()
        covered += interval.low <= 0.7602 <= interval.high
    assert 0.88 <= covered / 100 <= 1


def test_paired_differences_see_what_separate_intervals_miss():
    generator = np.random.default_rng(2)
    level = generator.normal(size=60)
    owner, weights = np.arange(60), cluster_weights(60, 2000)
    better = bootstrap_mean(level + 0.2 + 0.1 * generator.normal(size=60), owner, weights)
    worse = bootstrap_mean(level, owner, weights)
    assert better.interval().low < worse.interval().high
    gap = better.minus(worse)
    assert gap.interval().low > 0.1
    assert gap.p_value() < 0.01
    assert worse.minus(worse).p_value() == 1
    with pytest.raises(ValueError, match="cannot be paired"):
        better.minus(bootstrap_mean(level, owner, cluster_weights(60, 10)))


def test_wilson_against_published_values():
    # Newcombe 1998, Statistics in Medicine 17:857, table I, method 3
    for successes, trials, low, high in [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ]:
        interval = wilson_interval(successes, trials)
        assert (interval.low, interval.high) == pytest.approx((low, high), abs=5e-5)
        assert interval.value == successes / trials
    assert wilson_interval(20, 20).high == 1
    with pytest.raises(ValueError, match="3 successes of 2"):
        wilson_interval(3, 2)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1, 1]
    assert holm([]) == []
    with pytest.raises(ValueError, match="between 0 and 1"):
        holm([0.1, 1.2])


def test_input_that_cannot_be_measured_is_refused():
    weights = cluster_weights(3, 5)
    three = np.arange(3)
    with pytest.raises(ValueError, match="both classes"):
        bootstrap_auroc(np.zeros(3), np.ones(3), three, weights)
    with pytest.raises(ValueError, match="NaN"):
        bootstrap_auroc(np.array([np.nan, 0, 1]), np.array([1, 0, 0]), three, weights)
    with pytest.raises(ValueError, match="cluster_numbers"):
        bootstrap_auroc(np.zeros(3), np.array([1, 0, 0]), three + 5, weights)
    with pytest.raises(ValueError, match="one of each"):
        bootstrap_auroc(np.zeros(2), np.array([1, 0, 0]), three, weights)
    with pytest.raises(ValueError, match="at least 2"):
        cluster_weights(1)
    with pytest.raises(ValueError, match="more problems"):
        Bootstrap(0.5, np.full(9, np.nan), 3).interval()


def test_cluster_numbers_follow_first_appearance():
    assert cluster_numbers(["b", "a", "b", "c"]).tolist() == [0, 1, 0, 2]


def test_equivalence_needs_the_whole_difference_inside_the_margin():
    draws = np.random.default_rng(0).normal(0.0, 0.01, 10_000)
    small = Bootstrap(0.0, draws, 100)
    assert equivalence_p_value(small, 0.05) < 0.001
    assert equivalence_p_value(small, 0.005) > 0.2
    assert equivalence_p_value(Bootstrap(0.1, draws + 0.1, 100), 0.05) > 0.99
    assert equivalence_p_value(Bootstrap(-0.1, draws - 0.1, 100), 0.05) > 0.99
    # One-sided normal tail at the nearer margin: P(N(0.03, 0.01) >= 0.05) = 0.0228.
    shifted = equivalence_p_value(Bootstrap(0.03, draws + 0.03, 100), 0.05)
    assert shifted == pytest.approx(0.0228, abs=0.005)
    with pytest.raises(ValueError, match="smallest difference that would matter"):
        equivalence_p_value(small, 0)


def test_intervals_of_clustered_data_cover_and_tests_hold_their_level():
    """300 simulated studies: 40 problems, 4 traces each, a score that knows nothing or little.

    The AUROC interval must cover 0.5, and "no difference" be rejected, about as often as it says;
    four binomial standard errors of 0.95 in 300 are 0.05.
    """
    generator = np.random.default_rng(1)
    studies, problems, samples = 300, 40, 4
    groups = np.repeat(np.arange(problems), samples)
    covered = rejected = naive_rejected = 0
    for study in range(studies):
        weights = cluster_weights(problems, 400, study)
        wrong = generator.random(len(groups)) < np.repeat(generator.random(problems), samples)
        shared = np.repeat(generator.normal(size=problems), samples)
        first, second = (shared + generator.normal(0, 0.5, len(groups)) for _ in range(2))
        one = bootstrap_auroc(first, wrong, groups, weights)
        interval = one.interval()
        covered += interval.low <= 0.5 <= interval.high
        difference = one.minus(bootstrap_auroc(second, wrong, groups, weights))
        rejected += difference.p_value() < 0.05
        # The same study as if every trace were a problem of its own: too sure of itself.
        alone = cluster_weights(len(groups), 200, study)
        naive = bootstrap_auroc(first, wrong, np.arange(len(groups)), alone).interval()
        naive_rejected += not naive.low <= 0.5 <= naive.high
    assert 0.90 <= covered / studies <= 1
    assert rejected / studies <= 0.10
    assert naive_rejected / studies > 0.12, "ignoring clusters rejects a true 0.5 far too often"
