"""The tests behind "adds" and "adds nothing" err about as often as they say: by simulation."""

from __future__ import annotations

import numpy as np
import pytest

from rg_helpers.statistics import bootstrap_mean, cluster_weights, equivalence_p_value, holm

PROBLEMS, SAMPLES, STUDIES, MARGIN = 60, 4, 300, 0.1
GROUPS = np.repeat(np.arange(PROBLEMS), SAMPLES)


def differences(truth: float, study: int, count: int = 1):
    """Paired differences whose mean is `truth`, alike within a problem, bootstrapped by problem."""
    generator = np.random.default_rng(study)
    weights = cluster_weights(PROBLEMS, 400, study)
    for _ in range(count):
        shared = np.repeat(generator.normal(0, 0.25, PROBLEMS), SAMPLES)
        values = truth + shared + generator.normal(0, 0.25, len(GROUPS))
        yield bootstrap_mean(values, GROUPS, weights)


@pytest.mark.parametrize("truth", [MARGIN, -MARGIN])
def test_a_gain_of_just_the_margin_is_rarely_called_nothing(truth):
    """Type-I error of the equivalence test at its worst point; four standard errors are 0.05."""
    called = [
        equivalence_p_value(one, MARGIN) < 0.05
        for study in range(STUDIES)
        for one in differences(truth, study)
    ]
    assert np.mean(called) <= 0.05 + 0.05
    assert np.mean(called) > 0, "at the margin it must err sometimes, or it never says anything"


def test_nothing_is_often_called_nothing_and_rarely_something():
    nothing = [one for study in range(STUDIES) for one in differences(0.0, study)]
    assert np.mean([equivalence_p_value(one, MARGIN) < 0.05 for one in nothing]) > 0.5, "power"
    assert np.mean([one.p_value() < 0.05 for one in nothing]) <= 0.05 + 0.05


def test_many_increments_of_nothing_seldom_yield_a_finding():
    plain, corrected = [], []
    for study in range(STUDIES):
        p = [one.p_value() for one in differences(0.0, study, count=6)]
        plain.append(min(p) < 0.05)
        corrected.append(min(holm(p)) < 0.05)
    assert np.mean(corrected) <= 0.05 + 0.05
    assert np.mean(plain) > 0.15, "without correction noise wins often"
