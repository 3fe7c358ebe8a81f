"""Means over seeds and problems: hand-worked variances, planted effects found, none where none."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from rg_helpers.experiment.crossed import (
    MARGIN,
    crossed_draws,
    crossed_mean,
    crossed_share,
    problem_weights,
    seed_weights,
)


def outcomes(generator, seeds, problems, effect, seed_spread=0.03, problem_spread=0.1):
    """Paired differences: an effect, a part of the seed, a part of the problem, and the rest."""
    return (
        effect
        + generator.normal(0, seed_spread, (seeds, 1))
        + generator.normal(0, problem_spread, (1, problems))
        + generator.normal(0, 0.5, (seeds, problems))
    )


def test_the_variance_is_that_of_the_two_way_table():
    values = np.array([[0.2, 1.0, 0.9, 0.1], [0.5, 1.0, 0.9, 0.6], [0.1, 0.9, 0.4, 0.0]])
    grand = sum(values[s][p] for s in range(3) for p in range(4)) / 12
    seeds = [sum(values[s]) / 4 for s in range(3)]
    problems = [sum(values[s][p] for s in range(3)) / 3 for p in range(4)]
    ms_seed = 4 * sum((m - grand) ** 2 for m in seeds) / 2
    ms_problem = 3 * sum((m - grand) ** 2 for m in problems) / 3
    squares = [
        (values[s][p] - seeds[s] - problems[p] + grand) ** 2 for s in range(3) for p in range(4)
    ]
    ms_rest = sum(squares) / 6
    total = ms_seed + ms_problem - ms_rest
    assert total > max(ms_seed, ms_problem)
    freedom = total**2 / (ms_seed**2 / 2 + ms_problem**2 / 3 + ms_rest**2 / 6)
    error = (total / 12) ** 0.5
    found = crossed_mean(values)
    assert found.value == pytest.approx(grand)
    assert found.high - found.value == pytest.approx(stats.t.ppf(0.975, freedom) * error)
    assert found.value - found.low == pytest.approx(found.high - found.value)
    assert found.p == pytest.approx(2 * stats.t.sf(grand / error, freedom))


def test_no_effect_is_rarely_called_one_and_a_planted_one_is_found():
    generator = np.random.default_rng(0)
    null = [crossed_mean(outcomes(generator, 5, 80, 0.0)).p < 0.05 for _ in range(400)]
    assert np.mean(null) < 0.08
    # seeds that differ much: a test over problems alone would call every second null an effect
    wide = [outcomes(generator, 5, 80, 0.0, seed_spread=0.15) for _ in range(400)]
    assert np.mean([crossed_mean(w).p < 0.05 for w in wide]) < 0.08
    over_problems_alone = [abs(w.mean()) > 1.99 * w.mean(0).std(ddof=1) / np.sqrt(80) for w in wide]
    assert np.mean(over_problems_alone) > 0.2
    planted = [crossed_mean(outcomes(generator, 5, 80, 0.15)) for _ in range(200)]
    assert np.mean([p.p < 0.05 and p.value > 0 for p in planted]) > 0.8
    covered = [p.low <= 0.15 <= p.high for p in planted]
    assert np.mean(covered) > 0.9


def test_equivalence_needs_a_narrow_interval():
    generator = np.random.default_rng(1)
    narrow = crossed_mean(generator.normal(0, 0.05, (5, 200)))
    assert narrow.p_equivalent < 0.05
    assert -MARGIN < narrow.low < narrow.high < MARGIN
    broad = crossed_mean(generator.normal(0, 1.0, (5, 20)))
    assert broad.p_equivalent > 0.05


def test_equal_outcomes_and_one_seed():
    same = crossed_share(np.ones((4, 30)))
    assert same.value == same.high == 1
    assert 0.85 < same.low < 1  # Wilson over 30 problems
    assert crossed_mean(np.zeros((4, 30))).p == 1
    one = crossed_mean(np.array([[0.0, 1.0, 1.0, 0.0, 1.0]]))
    spread = np.array([0, 1, 1, 0, 1]).std(ddof=1) / np.sqrt(5)
    assert one.high - one.value == pytest.approx(2.776445 * spread, rel=1e-5)
    with pytest.raises(ValueError, match="2 problems up"):
        crossed_mean(np.zeros((3, 1)))


def test_draws_are_weighted_means_and_seeds_keep_their_variance():
    generator = np.random.default_rng(2)
    values = generator.random((3, 4))
    by_seed, by_problem = seed_weights(3, 50, 1), problem_weights(4, 50, 2)
    found = crossed_draws(values, by_seed, by_problem)
    for draw in range(50):
        by_hand = sum(
            by_seed[draw, s] * by_problem[draw, p] * values[s, p]
            for s in range(3)
            for p in range(4)
        )
        assert found[draw] == pytest.approx(by_hand / 12)
    means = np.array([0.1, 0.5, 0.2, 0.9, 0.4])
    drawn = seed_weights(5, 40_000, 3) @ means / 5
    assert drawn.var() == pytest.approx(means.var(ddof=1) / 5, rel=0.05)  # unbiased
    assert (seed_weights(1, 3) == 1).all()


def test_two_problems_without_a_difference_are_no_proof_of_equality():
    few, many = crossed_mean(np.zeros((3, 2))), crossed_mean(np.zeros((3, 100)))
    assert few.p_equivalent == pytest.approx(0.95**2)
    assert many.p_equivalent < 0.05
    assert crossed_mean(np.ones((3, 100))).p_equivalent == 1
