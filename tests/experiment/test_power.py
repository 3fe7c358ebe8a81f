"""Power by simulation: the textbook's formula, planted spreads, worlds of known shares."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from rg_helpers.experiment.crossed import crossed_mean
from rg_helpers.experiment.power import (
    Spread,
    seeds_needed,
    simulate,
    simulated_differences,
    simulated_solved,
    spread_of,
)


def test_planted_spreads_are_found_again():
    planted = Spread(0.06, 0.2, 0.4)
    worlds = simulated_differences(planted, 8, 200, 60, seed=1)
    assert worlds.shape == (60, 8, 200)
    found = [spread_of(world) for world in worlds]
    for part in ("seed", "problem", "rest"):
        variance = np.mean([getattr(one, part) ** 2 for one in found])
        assert variance == pytest.approx(getattr(planted, part) ** 2, rel=0.15), part


def test_hand_worked_spread_and_variances_below_zero():
    table = np.array([[1, 1, 0, 0], [0, 1, 0, -1]])
    # mean squares 1/2 (seeds), 5/6 (problems), 1/6 (rest), worked by hand
    found = spread_of(table)
    assert found.seed**2 == pytest.approx((1 / 2 - 1 / 6) / 4)
    assert found.problem**2 == pytest.approx((5 / 6 - 1 / 6) / 2)
    assert found.rest**2 == pytest.approx(1 / 6)
    assert spread_of(np.array([[1, -1], [-1, 1]])).seed == 0


def test_power_is_the_textbooks_where_problems_alone_vary():
    # one seed: an ordinary t-test over problems
    problems, sd = 30, 0.5
    runs = simulate(Spread(0, 0, sd), 1, problems, draws=1200, seed=2)
    for gain in (0.1, 0.2, 0.3):
        shift = gain / (sd / np.sqrt(problems))
        freedom = problems - 1
        exact = stats.nct.sf(stats.t.ppf(0.975, freedom), freedom, shift)
        assert runs.power(gain) == pytest.approx(exact, abs=0.04)
    assert runs.power(runs.least_gain(0.8)) == pytest.approx(0.8, abs=0.01)
    assert runs.power(0.0) == pytest.approx(0.025, abs=0.015)


def test_equivalence_needs_a_large_experiment():
    spread = Spread(0.01, 0.05, 0.3)
    assert simulate(spread, 10, 400, draws=60).equivalent() > 0.9
    assert simulate(spread, 2, 20, draws=60).equivalent() < 0.1


def test_seeds_needed_and_where_no_number_is_enough():
    luck = Spread(0.05, 0.0, 0.3)
    enough = seeds_needed(luck, 100, gain=0.1, tried=range(2, 20), draws=200)
    assert simulate(luck, enough, 100, 200).least_gain() <= 0.1
    assert enough > 2
    assert simulate(luck, enough - 1, 100, 200).least_gain() > 0.1
    assert seeds_needed(Spread(0, 0.5, 0.1), 20, gain=0.1, draws=60) is None


def test_worlds_have_the_shares_asked_for():
    shares = {"one": 0.2, "other": 0.6}
    worlds = [
        simulated_solved(shares, 4, 50, difficulty=1.0, taste=0.5, luck=0.5, seed=number)
        for number in range(150)
    ]
    for arm, share in shares.items():
        assert np.mean([world[arm] for world in worlds]) == pytest.approx(share, abs=0.02)
    plain = simulated_solved({"a": 0.5, "b": 0.5}, 30, 300, difficulty=2.0, seed=3)
    assert np.corrcoef(plain["a"].mean(0), plain["b"].mean(0))[0, 1] > 0.8  # difficulty is shared
    lucky = simulated_solved({"a": 0.5, "b": 0.5}, 40, 300, luck=1.0, seed=3)
    assert lucky["a"].mean(1).std() > 5 * plain["a"].mean(1).std()  # luck is a seed's own


def test_taste_is_shared_by_seeds_and_not_by_arms():
    def spreads(**options):
        made = simulated_solved({"a": 0.5, "b": 0.5}, 20, 400, seed=4, **options)
        return spread_of(made["a"].astype(float) - made["b"])

    assert spreads(taste=1.0).problem > 0.25
    assert spreads().problem < 0.1
    assert spreads(luck=1.0).seed > 5 * spreads().seed


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="at least 2 of each"):
        spread_of(np.zeros((1, 5)))
    with pytest.raises(ValueError, match="2 at least"):
        simulate(Spread(0.1, 0.1, 0.1), 3, 1)
    with pytest.raises(ValueError, match="share of 1"):
        simulated_solved({"a": 1.0}, 2, 5)


def test_lows_are_those_of_the_experiments_own_test():
    spread = Spread(0.05, 0.1, 0.4)
    runs = simulate(spread, 3, 20, draws=5, seed=9)
    worlds = simulated_differences(spread, 3, 20, 5, seed=9)
    assert runs.lows == pytest.approx([crossed_mean(world).low for world in worlds])
    # a gain shifts the interval by itself
    assert crossed_mean(worlds[0] + 0.3).low == pytest.approx(runs.lows[0] + 0.3)


def test_gains_that_are_seen_are_too_large_where_power_is_low():
    runs = simulate(Spread(0, 0, 0.5), 1, 30, draws=400, seed=4)
    weak, strong = runs.exaggeration(0.05), runs.exaggeration(0.6)
    seen = runs.values[runs.lows + 0.05 > 0] + 0.05
    assert weak == pytest.approx(sum(seen) / len(seen) / 0.05)
    assert weak > 2
    assert strong == pytest.approx(1, abs=0.03)
    assert np.isnan(simulate(Spread(0, 0, 5.0), 1, 4, draws=3, seed=4).exaggeration(1e-6))
    with pytest.raises(ValueError, match="above zero"):
        runs.exaggeration(0.0)
