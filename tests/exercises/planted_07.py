"""Wrong answers to the exercises of notebook 07."""

from __future__ import annotations

import numpy as np
from planted import rejected
from scipy.stats import spearmanr


def _rows(first, second, targets):
    rows = [(first[t, :t], second[t, :t]) for t in targets]
    return [(a, b) for a, b in rows if np.ptp(a) > 0 and np.ptp(b) > 0]


@rejected(1, "Pearson instead of Spearman")
def sizes_for_ranks(first, second, targets):
    """Correlates sizes where ranks are asked for."""
    return float(np.mean([np.corrcoef(a, b)[0, 1] for a, b in _rows(first, second, targets)]))


@rejected(1, "pooled: correlate within rows")
def pooled_rows(first, second, targets):
    """Ranks the entries of all rows together, so that the length of rows decides."""
    firsts, seconds = zip(*_rows(first, second, targets), strict=True)
    return float(spearmanr(np.concatenate(firsts), np.concatenate(seconds)).statistic)


@rejected(1, "cut it at its target")
def whole_rows(first, second, targets):
    """Lets the zeros of later nodes agree with each other."""
    rows = [(first[t], second[t]) for t in targets]
    rows = [(a, b) for a, b in rows if np.ptp(a) > 0 and np.ptp(b) > 0]
    return float(np.mean([spearmanr(a, b).statistic for a, b in rows]))


@rejected(1, "leave constant rows out of the mean")
def constant_rows_count_as_zero(first, second, targets):
    """Gives a row without a ranking the correlation zero."""
    values = [spearmanr(a, b).statistic for a, b in _rows(first, second, targets)]
    return float(np.sum(values) / len(targets))


def _best(controls):
    return max(controls, key=lambda name: controls[name].mean())


@rejected(2, "do not compare two intervals")
def difference_of_intervals(method, controls):
    """Subtracts the ends of two intervals and throws the pairing away."""
    name = _best(controls)
    (low, high), (least, most) = (
        np.quantile(draws, [0.025, 0.975]) for draws in (method, controls[name])
    )
    return name, low - most, high - least


@rejected(2, "not the best one")
def first_control(method, controls):
    """Compares with the control that happens to come first."""
    name = next(iter(controls))
    return (name, *np.quantile(method - controls[name], [0.025, 0.975]))


@rejected(2, "expected the 2.5 % and 97.5 % quantiles")
def ninety_percent(method, controls):
    """Leaves five per cent out on either side."""
    name = _best(controls)
    return (name, *np.quantile(method - controls[name], [0.05, 0.95]))


@rejected(2, "is the sign right")
def control_minus_method(method, controls):
    """Subtracts the other way round."""
    name = _best(controls)
    return (name, *np.quantile(controls[name] - method, [0.025, 0.975]))


def _places(sample):
    places = {}
    for index, (quantity, _) in enumerate(sample):
        places.setdefault(quantity, index)
    return places


def _common(first, second):
    places = _places(second)
    return [(i, places[name]) for name, i in _places(first).items() if name in places]


@rejected(3, "the same text before it in both")
def every_common_quantity(first, second):
    """Keeps pairs whose texts are the same word for word."""
    return _common(first, second)


@rejected(3, "after different lines")
def step_texts_differ(first, second):
    """Compares the two steps and forgets what stands before them."""
    return [(i, j) for i, j in _common(first, second) if first[i][1] != second[j][1]]


@rejected(3, "worded differently")
def texts_before_the_step(first, second):
    """Compares what stands before the steps and forgets the steps."""
    texts = [[text for _, text in sample] for sample in (first, second)]
    return [(i, j) for i, j in _common(first, second) if texts[0][:i] != texts[1][:j]]


@rejected(3, "only the first step about a quantity")
def all_occurrences(first, second):
    """Pairs every mention of a quantity."""
    texts = [[text for _, text in sample] for sample in (first, second)]
    return [
        (i, j)
        for i, (name, _) in enumerate(first)
        for j, (other, _) in enumerate(second)
        if name == other and texts[0][: i + 1] != texts[1][: j + 1]
    ]
